package sensor

import (
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
)

// accessGap separates accesses: a connection counts as one when it begins more
// than this after the previous beginning of one from its client to its domain.
const accessGap = int64(30 * time.Second)

// maxAccesses bounds how many recent pairs of client and domain are remembered.
// Beyond it every connection of a further pair counts as an access.
const maxAccesses = 1 << 18

// accesses remembers when each client last began a connection to each domain;
// for flows without a name, to each address.
type accesses struct {
	last       map[accessKey]int64
	overflowed uint64
	swept      int64
}

type accessKey struct {
	client    [16]byte
	responder [16]byte // zero where the flow has a name
	name      names.ID
}

// begin notes a connection and tells whether it is an access.
func (a *accesses) begin(r *flow.Record, name names.ID) bool {
	k := accessKey{client: r.Initiator, name: name}
	if name == 0 {
		k.responder = r.Responder
	}
	last, known := a.last[k]
	if !known && len(a.last) >= maxAccesses {
		a.overflowed++
		return true
	}
	a.last[k] = max(r.Start, last)
	return !known || r.Start-last > accessGap
}

// forget drops what can no longer change an answer.
func (a *accesses) forget(now int64) {
	if now-a.swept < accessGap && now >= a.swept {
		return
	}
	a.swept = now
	for k, last := range a.last {
		if now-last > 2*accessGap {
			delete(a.last, k)
		}
	}
}

func (a *accesses) names(mark func(names.ID)) {
	for k := range a.last {
		if k.name != 0 {
			mark(k.name)
		}
	}
}
