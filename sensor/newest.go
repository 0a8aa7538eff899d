package sensor

import (
	"cmp"
	"container/heap"
	"slices"
	"sync/atomic"

	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/view"
)

// Bounds of what is kept to be looked at.
const (
	maxNewestFlows   = 100
	maxNewestAnswers = 200
)

// newest is what the pages of the status listener show of the newest window. The join
// fills it while it counts, and hands a copy over; nil keeps nothing.
type newest struct {
	flows   []newestFlow // from maxNewestFlows on a heap, the smallest on top
	answers []newestAnswer
	next    int // of answers to be replaced, once there are maxNewestAnswers
	window  atomic.Pointer[newestWindow]
}

// newestWindow is a copy that nobody changes.
type newestWindow struct {
	end     int64          // Unix nanoseconds
	flows   []newestFlow   // most bytes first
	answers []newestAnswer // newest first
}

type newestFlow struct {
	record flow.Record
	domain string
	iface  string
	source names.Source
}

func (f *newestFlow) bytes() uint64 { return f.record.BytesSent + f.record.BytesReceived }

type newestAnswer struct {
	name            string
	address, client [16]byte
	time            int64
	order           uint64
}

func (s *newest) add(r *flow.Record, f *view.Flow, source names.Source) {
	if s == nil || len(s.flows) == maxNewestFlows && r.BytesSent+r.BytesReceived <= s.flows[0].bytes() {
		return
	}
	one := newestFlow{*r, f.Domain, f.Interface, source}
	if len(s.flows) < maxNewestFlows {
		if s.flows = append(s.flows, one); len(s.flows) == maxNewestFlows {
			heap.Init((*newestHeap)(s))
		}
		return
	}
	s.flows[0] = one
	heap.Fix((*newestHeap)(s), 0)
}

func (s *newest) learned(f *names.Fact, text []byte) {
	if s == nil {
		return
	}
	one := newestAnswer{string(text[f.NameStart:f.NameEnd]), f.Address, f.Client, f.Time, f.Order}
	if len(s.answers) < maxNewestAnswers {
		s.answers = append(s.answers, one)
		return
	}
	s.answers[s.next] = one
	s.next = (s.next + 1) % maxNewestAnswers
}

// cut hands over what was seen until the end of a window.
func (s *newest) cut(end int64) {
	if s == nil {
		return
	}
	w := &newestWindow{end, slices.Clone(s.flows), slices.Clone(s.answers)}
	slices.SortFunc(w.flows, func(a, b newestFlow) int { return cmp.Compare(b.bytes(), a.bytes()) })
	slices.SortFunc(w.answers, func(a, b newestAnswer) int { return cmp.Compare(b.order, a.order) })
	s.flows = s.flows[:0]
	s.window.Store(w)
}

// newestHeap is the flows of a newest, for heap, which neither grows nor shrinks it.
type newestHeap newest

func (h *newestHeap) Len() int           { return len(h.flows) }
func (h *newestHeap) Less(i, j int) bool { return h.flows[i].bytes() < h.flows[j].bytes() }
func (h *newestHeap) Swap(i, j int)      { h.flows[i], h.flows[j] = h.flows[j], h.flows[i] }
func (h *newestHeap) Push(any)           {}
func (h *newestHeap) Pop() any           { return nil }
