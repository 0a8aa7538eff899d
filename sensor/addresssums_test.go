package sensor

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/netmon-sensor/netmon/sensor/internal/names"
)

// randomAddress returns one of n addresses, which the version tells apart in part only.
func randomAddress(random *rand.Rand, n uint64, version uint8) (a [16]byte) {
	i := random.Uint64N(n)
	switch {
	case version == 4, i%4 == 0: // mapped
		binary.BigEndian.PutUint64(a[8:], 0xffff<<32|i*2654435761&0xffffffff)
	case i%4 == 1:
		binary.BigEndian.PutUint64(a[:], 0x20010db8<<32)
		binary.BigEndian.PutUint64(a[8:], i)
	case i%4 == 2:
		binary.BigEndian.PutUint64(a[:], i*0x9e3779b97f4a7c15)
	default: // with zeros to leave out, here or there
		binary.BigEndian.PutUint16(a[i>>2%8*2:], uint16(i))
	}
	return a
}

// TestSumsAgainstMaps adds flows up in maps as well, and sorts by whole texts.
func TestSumsAgainstMaps(t *testing.T) {
	type key struct {
		address [16]byte
		version uint8
	}
	for seed, addresses := range []uint64{1, 40, 5000, 300000} {
		random := rand.New(rand.NewPCG(uint64(seed), 1))
		ips, domains := map[key]addressSum{}, map[int]domainSum{}
		p := newReport(1, false)
		name := func(id int) string { return fmt.Sprintf("host-%d.%d.example.com", id%10, id) }
		for range 200000 {
			f := reportFlow{version: 4, protocol: 6}
			if random.IntN(2) == 0 {
				f.version = 6
			}
			f.initiator = randomAddress(random, addresses, f.version)
			f.responder = randomAddress(random, addresses, f.version)
			f.name = 7 * names.ID(random.IntN(3000))
			f.sent, f.received = traffic{1, random.Uint64N(100)}, traffic{random.Uint64N(2), random.Uint64()}
			*p.sums.next() = f

			add := func(a [16]byte, out, in traffic) {
				s := ips[key{a, f.version}]
				s.address = a
				s.out.add(out)
				s.in.add(in)
				ips[key{a, f.version}] = s
			}
			add(f.initiator, f.sent, f.received)
			add(f.responder, f.received, f.sent)
			d := domains[int(f.name)]
			d.sent.add(f.sent)
			d.received.add(f.received)
			domains[int(f.name)] = d
		}
		p.sums.add()

		var want, got []string
		for k, s := range ips {
			want = append(want, fmt.Sprint(address(k.address, k.version), " ", s))
		}
		slices.Sort(want)
		for _, k := range p.sums.ipsInOrder() {
			s, version := p.sums.ip(k.at)
			got = append(got, fmt.Sprint(address(s.address, version), " ", *s))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d addresses: the sums or their order differ", addresses)
		}

		want, got = nil, nil
		for id, d := range domains {
			if id != 0 {
				want = append(want, fmt.Sprint(name(id), " ", d))
			}
		}
		slices.Sort(want)
		for _, k := range p.sums.domainsInOrder(func(id names.ID) string { return name(int(id)) }) {
			got = append(got, fmt.Sprint(name(k.at), " ", *p.sums.domains.at(k.at)))
		}
		if !slices.Equal(got, want) || *p.sums.domains.at(0) != domains[0] {
			t.Error("the sums by domain or their order differ")
		}
	}
}

// TestSameHash: addresses with one hash, the last there is, are told apart, and
// probing goes round.
func TestSameHash(t *testing.T) {
	s := newAddressSums()
	for round := range 2 {
		for i := range 300 {
			a := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}).As16()
			hash := ^uint32(i % 3)
			sum := s.sum(s.guess(hash), &a, hash)
			sum.out.packets++
			if sum.address != a || sum.out.packets != uint64(round)+1 {
				t.Fatalf("round %d: address %d has the sum %v", round, i, *sum)
			}
		}
	}
}

// BenchmarkSums times adding up a flow, among so many addresses.
func BenchmarkSums(b *testing.B) {
	for _, n := range []uint32{1 << 10, 1 << 14, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			flows := make([]reportFlow, 1<<20)
			for i := range flows {
				f := &flows[i]
				f.version, f.protocol = 4, 6
				f.initiator[10], f.initiator[11] = 0xff, 0xff
				f.responder[10], f.responder[11] = 0xff, 0xff
				binary.BigEndian.PutUint32(f.initiator[12:], random.Uint32N(n))
				binary.BigEndian.PutUint32(f.responder[12:], random.Uint32N(n))
				f.sent, f.received = traffic{1, 40}, traffic{1, 40}
			}
			p := newReport(1, false)
			for _, f := range flows {
				*p.sums.next() = f
			}
			i := 0
			for b.Loop() {
				*p.sums.next() = flows[i%len(flows)]
				i++
			}
		})
	}
}

// BenchmarkOrder times putting addresses into the order of their texts.
func BenchmarkOrder(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	p := newReport(1, false)
	for range 1 << 20 {
		f := reportFlow{version: 4}
		binary.BigEndian.PutUint64(f.initiator[8:], 0xffff<<32|uint64(random.Uint32()))
		f.responder = f.initiator
		if random.IntN(2) == 0 {
			f.version = 6
			binary.BigEndian.PutUint64(f.responder[:], 0x20010db800000000|random.Uint64N(16))
		}
		*p.sums.next() = f
	}
	p.sums.add()
	for b.Loop() {
		p.sums.ipsInOrder()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(p.sums.v4.sums.n+p.sums.v6.sums.n), "ns/address")
}
