package sensor

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"

	"github.com/netmon-sensor/netmon/proto/rows"
	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/names"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// report adds up a whole capture: what replay prints. It belongs to the join.
type report struct {
	flows pieces[reportFlow]
	live  []pieces[liveFlow] // per shard, by slot: where the slot's flow stands in flows
	keep  bool               // whole flows, too, not only their sums
	sums  reportSums

	frames                   [packet.NumReasons]uint64
	linkBytes, ipBytes       uint64
	dnsQueries, dnsResponses uint64
	rcodes                   [16]uint64
}

type liveFlow struct {
	generation uint32
	index      uint32 // into flows, plus 1
}

// reportFlow is a flow.Record without what only the table needs.
type reportFlow struct {
	initiator, responder         [16]byte
	initiatorPort, responderPort uint16
	version, protocol            uint8
	source                       names.Source
	name                         names.ID
	start                        int64
	order                        uint64
	sent, received               traffic
}

type traffic struct{ packets, bytes uint64 }

func (t *traffic) add(o traffic) {
	t.packets += o.packets
	t.bytes += o.bytes
}

// newReport returns a report that keeps flows, or only their sums where it can.
func newReport(shards int, keep bool) *report {
	return &report{
		live: make([]pieces[liveFlow], shards), keep: keep,
		sums: reportSums{v4: newAddressSums(), v6: newAddressSums()},
	}
}

// add sums a record into its flow and takes over the flow's name, which may
// have been found since the record before.
func (p *report) add(shard int, r *flow.Record, n *flowName) {
	if r.Counted && r.Ended { // all of the flow
		var f *reportFlow
		if p.keep {
			f = p.flows.at(p.flows.n)
		} else {
			f = p.sums.next()
		}
		f.begin(r)
		f.take(r, n)
		return
	}
	l := p.live[shard].at(int(r.Slot))
	if l.index == 0 || l.generation != r.Generation {
		*l = liveFlow{r.Generation, uint32(p.flows.n) + 1}
		p.flows.at(p.flows.n).begin(r)
	}
	p.flows.at(int(l.index-1)).take(r, n)
}

// begin makes f the flow of a record, with nothing sent yet. Field by field: a whole
// one would be put together elsewhere and copied.
func (f *reportFlow) begin(r *flow.Record) {
	f.initiator, f.responder = r.Initiator, r.Responder
	f.initiatorPort, f.responderPort = r.InitiatorPort, r.ResponderPort
	f.version, f.protocol, f.start, f.order = r.Version, r.Protocol, r.Start, r.Order
	f.sent, f.received = traffic{}, traffic{}
}

func (f *reportFlow) take(r *flow.Record, n *flowName) {
	f.name, f.source = n.name, n.source
	f.sent.add(traffic{r.PacketsSent, r.BytesSent})
	f.received.add(traffic{r.PacketsReceived, r.BytesReceived})
}

// addShard takes over what a harvest says beside its records.
func (p *report) addShard(h *harvest) {
	for i := range h.counts {
		c := &h.counts[i]
		for r, n := range c.frames {
			p.frames[r] += n
		}
		p.linkBytes += c.linkBytes
		p.ipBytes += c.ipBytes
	}
	s := &h.names.Stats
	p.dnsQueries += s.DNSQueries
	p.dnsResponses += s.DNSResponses
	for i, n := range s.DNSRcodes {
		p.rcodes[i] += n
	}
}

// The JSON of DEFINITIONS section 8.
type (
	reportJSON struct {
		Schema       string         `json:"schema"`
		Totals       totalsJSON     `json:"totals"`
		Unattributed domainJSON     `json:"unattributed"`
		Protocols    []protocolJSON `json:"protocols"`
		DNS          dnsJSON        `json:"dns"`
		Capture      captureJSON    `json:"capture"`
	}
	totalsJSON struct {
		Frames      uint64 `json:"frames"`
		IPPackets   uint64 `json:"ip_packets"`
		IPBytes     uint64 `json:"ip_bytes"`
		LinkBytes   uint64 `json:"link_bytes"`
		NonIP       uint64 `json:"non_ip_frames"`
		Malformed   uint64 `json:"malformed_frames"`
		Unsupported uint64 `json:"unsupported_frames"`
		Flows       uint64 `json:"flows"`
		Connections uint64 `json:"connections"`
	}
	domainJSON struct {
		Name            string `json:"name,omitempty"`
		BytesSent       uint64 `json:"bytes_sent"`
		BytesReceived   uint64 `json:"bytes_received"`
		PacketsSent     uint64 `json:"packets_sent"`
		PacketsReceived uint64 `json:"packets_received"`
		Connections     uint64 `json:"connections"`
	}
	protocolJSON struct {
		Proto       string `json:"proto"`
		Number      uint8  `json:"number"`
		Packets     uint64 `json:"packets"`
		IPBytes     uint64 `json:"ip_bytes"`
		Connections uint64 `json:"connections"`
	}
	dnsJSON struct {
		Queries   uint64            `json:"queries"`
		Responses uint64            `json:"responses"`
		Rcodes    map[string]uint64 `json:"rcodes"`
	}
	captureJSON struct {
		Error *string `json:"reader_error"`
	}
	flowJSON struct {
		Proto           string      `json:"proto"`
		Initiator       string      `json:"initiator"`
		InitiatorPort   uint16      `json:"initiator_port"`
		Responder       string      `json:"responder"`
		ResponderPort   uint16      `json:"responder_port"`
		Start           json.Number `json:"start_ts_ns"`
		PacketsSent     uint64      `json:"packets_sent"`
		PacketsReceived uint64      `json:"packets_received"`
		BytesSent       uint64      `json:"bytes_sent"`
		BytesReceived   uint64      `json:"bytes_received"`
		Name            *string     `json:"name"`
		Source          string      `json:"source"`
	}
)

// write prints the report. Everything in it has an order of its own, so that
// the same capture always prints the same bytes.
func (p *report) write(w io.Writer, name func(names.ID) string, file *capture.File, withFlows bool) error {
	out := p.summary()
	if damage := file.Damage(); damage != nil {
		s := damage.Error()
		out.Capture.Error = &s
	}
	head, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(w, 1<<16)
	b.Write(head[:len(head)-len("\n}")])
	domains := p.sums.domainsInOrder(name)
	lines(b, "domains", len(domains), func(i int, line []byte) []byte {
		id := domains[i].at
		d := p.sums.domains.at(id).json(name(names.ID(id)))
		return d.append(line)
	})
	ips := p.sums.ipsInOrder()
	lines(b, "ips", len(ips), func(i int, line []byte) []byte {
		p.sums.touchIP(ips, i)
		ip, version := p.sums.ip(ips[i].at)
		return ip.append(line, version)
	})
	if withFlows {
		sorted := slices.SortedFunc(p.flows.each(), func(a, b *reportFlow) int { return cmp.Compare(a.order, b.order) })
		lines(b, "flows", len(sorted), func(i int, line []byte) []byte {
			encoded, failed := json.Marshal(sorted[i].json(name, file))
			err = errors.Join(err, failed)
			return append(line, encoded...)
		})
	}
	b.WriteString("\n}\n")
	return errors.Join(err, b.Flush())
}

// lines adds a list of n to an object that is being written, an entry on each line.
// There may be millions: none of them waits in memory for the others.
func lines(b *bufio.Writer, name string, n int, encode func(i int, line []byte) []byte) {
	fmt.Fprintf(b, ",\n %q: [", name)
	separator := "\n  "
	var line []byte
	for i := range n {
		line = encode(i, append(line[:0], separator...))
		b.Write(line)
		separator = ",\n  "
	}
	b.WriteString("\n ]")
}

// append encodes d as encoding/json does, without reflection: there may be millions.
// No name has a byte that needs escaping.
func (d *domainJSON) append(b []byte) []byte {
	b = append(append(append(b, `{"name":"`...), d.Name...), '"')
	b = number(b, `,"bytes_sent":`, d.BytesSent)
	b = number(b, `,"bytes_received":`, d.BytesReceived)
	b = number(b, `,"packets_sent":`, d.PacketsSent)
	b = number(b, `,"packets_received":`, d.PacketsReceived)
	return append(number(b, `,"connections":`, d.Connections), '}')
}

// append does the same for an address.
func (s *addressSum) append(b []byte, version uint8) []byte {
	b = append(addressOf(s.address, version).AppendTo(append(b, `{"ip":"`...)), '"')
	b = number(b, `,"packets_out":`, s.out.packets)
	b = number(b, `,"packets_in":`, s.in.packets)
	b = number(b, `,"bytes_out":`, s.out.bytes)
	return append(number(b, `,"bytes_in":`, s.in.bytes), '}')
}

func number(b []byte, key string, n uint64) []byte {
	return strconv.AppendUint(append(b, key...), n, 10)
}

// json is f as it is printed.
func (f *reportFlow) json(name func(names.ID) string, file *capture.File) *flowJSON {
	j := &flowJSON{
		Proto:     rows.ProtocolName(uint32(f.protocol)),
		Initiator: address(f.initiator, f.version), InitiatorPort: f.initiatorPort,
		Responder: address(f.responder, f.version), ResponderPort: f.responderPort,
		Start:       unixNano(file, f.start),
		PacketsSent: f.sent.packets, PacketsReceived: f.received.packets,
		BytesSent: f.sent.bytes, BytesReceived: f.received.bytes,
		Source: sourceName(f.source),
	}
	if f.name != 0 {
		s := name(f.name)
		j.Name = &s
	}
	return j
}

// unixNano prints the time of a packet in Unix nanoseconds, which may be more than
// 64 bits hold.
func unixNano(file *capture.File, time int64) json.Number {
	seconds, ns := file.Unix(time)
	if seconds == 0 {
		return json.Number(strconv.FormatInt(ns, 10))
	}
	n := new(big.Int).SetUint64(seconds)
	return json.Number(n.Mul(n, big.NewInt(1e9)).Add(n, big.NewInt(ns)).String())
}

func (f *reportFlow) connections() uint64 {
	if packet.HasPorts(f.protocol) && (f.initiatorPort != 0 || f.responderPort != 0) {
		return 1
	}
	return 0
}
