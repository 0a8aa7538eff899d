//go:build race

package windowlog

const raceEnabled = true
