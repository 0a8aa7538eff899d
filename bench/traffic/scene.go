// Package traffic makes captures that are known to the byte: the same scene is
// the same packets on every machine and in every year.
package traffic

import (
	"iter"
	"math"
	"math/rand/v2"
)

// A Scene describes a capture.
type Scene struct {
	Name    string
	Flows   int // five-tuples beside those of DNS
	Packets int
	Domains int
	Sizes   Sizes
	Even    bool    // packets go over all flows in turn, the worst for caches; else a few flows have most
	DNS     float64 // share of flows that a DNS exchange comes before
	TLS     float64 // share of TCP flows that start with a ClientHello
	UDP     float64 // share of flows that are UDP
	IPv6    float64 // share of flows
	Gaps    bool    // TCP numbers segments by their place in the capture, as simple generators do: each skips or repeats some
}

// Sizes is how long the packets are.
type Sizes int

const (
	IMIX  Sizes = iota // 7 without payload : 4 of 576 : 1 of 1500 bytes
	Small              // 60-byte frames, 64 with the FCS
	Full               // 1500 bytes down, acknowledgements up
)

// Scenes are those of the tables in docs/performance.md.
func Scenes() []Scene {
	return []Scene{
		{Name: "imix", Flows: 10_000, Packets: 2_000_000, Domains: 2000, DNS: 0.3, TLS: 0.7, UDP: 0.15, IPv6: 0.2},
		{Name: "gaps", Flows: 10_000, Packets: 2_000_000, Domains: 2000, DNS: 0.3, TLS: 0.7, UDP: 0.15, IPv6: 0.2, Gaps: true},
		{Name: "million", Flows: 1_000_000, Packets: 4_000_000, Domains: 1000, Sizes: Small, Even: true, UDP: 0.2},
		{Name: "dns", Flows: 1_000_000, Packets: 3_000_000, Domains: 100_000, Even: true, DNS: 1, IPv6: 0.3},
		{Name: "tls", Flows: 250_000, Packets: 1_000_000, Domains: 100_000, Even: true, TLS: 1, IPv6: 0.2},
		{Name: "full", Flows: 1000, Packets: 200_000, Domains: 500, Sizes: Full, TLS: 0.7, IPv6: 0.2},
	}
}

// Find returns the scene of a name.
func Find(name string) (Scene, bool) {
	for _, s := range Scenes() {
		if s.Name == name {
			return s, true
		}
	}
	return Scene{}, false
}

// interval is the time between two packets, in nanoseconds: 100 000 in a second.
const interval = 10_000

// flow is what is remembered of one: a million of them are a scene.
type flow struct {
	domain         int32
	sent           uint8     // packets so far, up to 255
	answer         uint8     // which of the domain's addresses
	seq            [2]uint32 // next sequence number, up and down
	v6, udp        bool
	dnsFirst, ours bool // ours: starts with a ClientHello
}

// Frames yields every frame with its time in nanoseconds since the first. A
// frame is valid until the next one.
func (s Scene) Frames() iter.Seq2[int64, []byte] {
	return func(yield func(int64, []byte) bool) {
		r := rand.New(rand.NewPCG(1, 2))
		flows := s.flows(r)
		w := writer{random: r}
		count := 0
		emit := func(frame []byte) bool {
			count++
			return count <= s.Packets && yield(int64(count-1)*interval, frame)
		}
		known := 0 // flows that have begun
		newShare := min(1, 1.25*float64(s.Flows)/float64(s.Packets))
		for turn := 0; ; turn++ {
			k := 0
			switch {
			case s.Even:
				k = int(uint64(turn) % uint64(s.Flows) * prime % uint64(s.Flows))
			case known < s.Flows && (known == 0 || r.Float64() < newShare):
				k = known
				known++
			default: // the busy ones are spread over the order of arrival
				x := r.Float64()
				k = (int(float64(known)*(x*x*x))*7919 + 13) % known
			}
			f := &flows[k]
			if f.sent == 0 && f.dnsFirst {
				if !emit(w.query(k, f)) || !emit(w.response(k, f)) {
					return
				}
			}
			if !emit(w.packet(&s, k, f)) {
				return
			}
			f.sent = min(f.sent, 254) + 1
		}
	}
}

// prime has no factor in common with the numbers of flows, so that its multiples
// visit all of them.
const prime = 2654435761

func (s Scene) flows(r *rand.Rand) []flow {
	flows := make([]flow, s.Flows)
	for i := range flows {
		x := r.Float64()
		flows[i] = flow{
			domain:   int32(float64(s.Domains) * (x * x * math.Sqrt(x))), // a few have most
			answer:   uint8(r.IntN(addresses)),
			v6:       r.Float64() < s.IPv6,
			dnsFirst: r.Float64() < s.DNS,
			udp:      r.Float64() < s.UDP,
			ours:     r.Float64() < s.TLS,
		}
	}
	return flows
}
