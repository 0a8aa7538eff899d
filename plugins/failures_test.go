package plugins

import (
	"fmt"
	"strings"
	"testing"
)

func TestFailuresAreBounded(t *testing.T) {
	var f failures
	for _, reason := range []string{"", "Upper", "two words", "\xff", strings.Repeat("a", maxReason+1)} {
		f.note(reason)
	}
	for i := range 1000 {
		f.note("reason_" + strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprint(i)))
	}
	all, sum := f.all(), uint64(0)
	for _, n := range all {
		sum += n
	}
	if len(all) > maxReasons || len(all) < maxReasons-1 || sum != 1005 || all[otherReason] < 5 {
		t.Errorf("%d reasons, %d failures, %d of them of others", len(all), sum, all[otherReason])
	}
}
