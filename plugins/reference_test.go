package plugins

import (
	"testing"
	"time"
)

type referenceConfig struct {
	Word  string        `netmon:"word,required,enum=a|b" doc:"A word\n} exporter \"evil\" {"`
	Wait  time.Duration `netmon:"wait,min=1m30s,max=8760h" doc:"How long."`
	Size  Bytes         `netmon:"size,min=1KiB" doc:"How much."`
	Key   string        `netmon:"key,sensitive" doc:"Secret."`
	Store struct {
		Kind string `netmon:"kind,label" doc:"Which."`
		Path string `netmon:"path,format=path" doc:"Where ${it} is."`
	} `netmon:"store" doc:"A block."`
}

func TestReference(t *testing.T) {
	c := referenceConfig{Word: "a", Wait: time.Hour, Size: 64 << 20}
	c.Store.Kind, c.Store.Path = "disk", "${x}"
	schema, err := Schema(&c)
	if err != nil {
		t.Fatal(err)
	}
	const want = `exporter "x" {
  # A word } exporter "evil" { One of a, b. Required.
  word = null
  # How long. From 1m30s to 8760h.
  wait = "1h"
  # How much. At least 1KiB.
  size = "64MiB"
  # Secret. Never printed.
  key = ""

  # A block.
  store "KIND" {
    # KIND: Which. Required.
    # Where ${it} is.
    path = "$${x}"
  }
}
`
	if got := Reference(Explain(`exporter "x"`, schema)); got != want {
		t.Errorf("got\n%s", got)
	}
}
