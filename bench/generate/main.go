// Command generate writes the captures of the performance tables.
//
//	go run ./bench/generate [-dir .cache/bench] [SCENE ...]
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/netmon-sensor/netmon/bench/traffic"
)

func main() {
	dir := flag.String("dir", ".cache/bench", "folder to write into")
	flag.Parse()
	scenes := traffic.Scenes()
	if flag.NArg() > 0 {
		scenes = nil
	}
	for _, name := range flag.Args() {
		s, ok := traffic.Find(name)
		if !ok {
			fmt.Fprintf(os.Stderr, "generate: no scene %q\n", name)
			os.Exit(2)
		}
		scenes = append(scenes, s)
	}
	for _, s := range scenes {
		path, err := s.File(*dir)
		if err != nil {
			fmt.Fprintf(os.Stderr, "generate: %v\n", err)
			os.Exit(1)
		}
		fmt.Println(path)
	}
}
