package top

import (
	"math"
	"time"

	"github.com/netmon-sensor/netmon/proto/rows"
)

// A rate is what a row grew by, per second.
type rate struct {
	known                                                           bool
	bytes, bytesSent, bytesReceived, packets, connections, accesses float64
}

// A history holds the samples that rates are taken from, the oldest first.
type history struct {
	over    time.Duration // how far apart the samples of a rate should be
	samples []*sample
}

// retired is the row that takes over the values of rows which are idle. It has no
// traffic of its own.
const retired = "(retired)"

// add takes the next sample. A peer that counts less than before has begun anew, and
// so do the rates.
func (h *history) add(s *sample) {
	if last := h.last(); last != nil {
		switch {
		case s.at.Equal(last.at):
			return // no window since
		case s.at.Before(last.at), s.sum.Bytes < last.sum.Bytes, packets(&s.sum) < packets(&last.sum):
			h.samples = nil
		}
	}
	h.samples = append(h.samples, s)
	for len(h.samples) > 2 && s.at.Sub(h.samples[1].at) >= h.over {
		h.samples = h.samples[1:]
	}
}

func (h *history) last() *sample {
	if len(h.samples) == 0 {
		return nil
	}
	return h.samples[len(h.samples)-1]
}

// span is the time that rates are taken over; 0 while there are none.
func (h *history) span() time.Duration {
	if len(h.samples) < 2 {
		return 0
	}
	return h.last().at.Sub(h.samples[0].at)
}

// sum is the rate of everything.
func (h *history) sum() rate {
	if h.span() == 0 {
		return rate{}
	}
	return between(h.samples[0].sum, h.last().sum, h.span())
}

// of is the rate of a row.
func (h *history) of(name string) rate {
	if h.span() == 0 || name == retired {
		return rate{}
	}
	now, here := h.last().rows[name]
	was, before := h.samples[0].rows[name]
	switch {
	case !here:
		return rate{}
	case before && grew(&was, &now):
	case before || h.samples[0].whole:
		was = rows.Volume{} // it is new, or was retired and came back: it began at nothing
	default:
		return rate{} // it may have been beyond the end of the list
	}
	return between(was, now, h.span())
}

func grew(was, now *rows.Volume) bool {
	return now.BytesSent >= was.BytesSent && now.BytesReceived >= was.BytesReceived &&
		packets(now) >= packets(was) && now.Connections >= was.Connections && now.Accesses >= was.Accesses
}

func packets(v *rows.Volume) uint64 { return v.PacketsSent + v.PacketsReceived }

func between(was, now rows.Volume, span time.Duration) rate {
	per := func(was, now uint64) float64 { return math.Max(float64(now)-float64(was), 0) / span.Seconds() }
	return rate{
		known: true,
		bytes: per(was.Bytes, now.Bytes), bytesSent: per(was.BytesSent, now.BytesSent), bytesReceived: per(was.BytesReceived, now.BytesReceived),
		packets:     per(packets(&was), packets(&now)),
		connections: per(was.Connections, now.Connections), accesses: per(was.Accesses, now.Accesses),
	}
}
