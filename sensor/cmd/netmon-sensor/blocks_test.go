package main

import (
	"regexp"
	"strings"
)

// A codeBlock is what stands between two fences of a page.
type codeBlock struct {
	language, text string
	line           int    // of the opening fence, from 1
	notRun         string // the reason, where a comment right before it says so
}

var fence = regexp.MustCompile("(?ms)^```(\\w*)\\n(.*?)^```$")

// notRun marks a block of commands that no test runs: <!-- not run: why -->
var notRun = regexp.MustCompile(`<!-- not run: ([^>]+) -->\n\n?$`)

func codeBlocks(page string) (blocks []codeBlock) {
	for _, at := range fence.FindAllStringSubmatchIndex(page, -1) {
		b := codeBlock{language: page[at[2]:at[3]], text: page[at[4]:at[5]], line: strings.Count(page[:at[0]], "\n") + 1}
		if m := notRun.FindStringSubmatch(page[:at[0]]); m != nil {
			b.notRun = m[1]
		}
		blocks = append(blocks, b)
	}
	return blocks
}
