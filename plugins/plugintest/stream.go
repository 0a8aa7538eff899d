package plugintest

import (
	"errors"
	"fmt"
	"io"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// stream is an open Export stream.
type stream struct {
	*peer
	netmonpb.ExporterService_ExportClient
	last uint64 // acknowledged
}

func (p *peer) open() *stream {
	p.Helper()
	s, err := p.Export(p.ctx)
	if err != nil {
		p.Fatalf("export: %v", err)
	}
	return &stream{peer: p, ExporterService_ExportClient: s}
}

// begin brings the exporter to where it can go on, and returns after which window
// that is: an exporter with state gets a snapshot first.
func (s *stream) begin() (after uint64) {
	s.Helper()
	if !s.described.WantsSnapshot {
		return 0
	}
	s.snapshot(5)
	s.acknowledged(5)
	return 5
}

func (s *stream) send(r *netmonpb.ExportRequest) {
	s.Helper()
	if err := s.Send(r); err != nil {
		_, err = s.Recv()
		s.Fatalf("send: %v", err)
	}
}

func (s *stream) window(n uint64, rows int) {
	s.Helper()
	s.send(&netmonpb.ExportRequest{Item: &netmonpb.ExportRequest_Window{Window: window(n, rows)}})
}

func (s *stream) snapshot(n uint64) {
	s.Helper()
	w := window(n, 3)
	s.send(&netmonpb.ExportRequest{Item: &netmonpb.ExportRequest_Snapshot{Snapshot: &netmonpb.Snapshot{
		LogId: w.LogId, Sequence: n, SensorId: w.SensorId, EndNs: w.EndNs, Chain: w.Chain, Ledger: w.Ledger,
		Rows: w.Rows, CreatedNs: epoch,
	}}})
}

// acknowledged waits until everything through n is.
func (s *stream) acknowledged(n uint64) {
	s.Helper()
	for s.last < n {
		answer, err := s.Recv()
		if err != nil {
			s.Fatalf("window %d: %v", n, err)
		}
		ack, ok := answer.Result.(*netmonpb.ExportResponse_Acknowledged)
		if !ok {
			s.Fatalf("window %d: the answer is %v", n, answer)
		}
		if ack.Acknowledged < s.last || ack.Acknowledged > n {
			s.Fatalf("acknowledged %d after %d, sent %d", ack.Acknowledged, s.last, n)
		}
		s.last = ack.Acknowledged
	}
}

func (s *stream) close() {
	s.Helper()
	if err := s.CloseSend(); err != nil {
		s.Fatal(err)
	}
	if answer, err := s.Recv(); !errors.Is(err, io.EOF) {
		s.Fatalf("at the end of the stream: %v, %v", answer, err)
	}
}

// epoch is when the log of the suite begins, Unix nanoseconds.
const epoch = 1_700_000_000_000_000_000

func logID() []byte { return []byte("plugintest's log") }

// window makes a window whose rows are of every view, with the names that stand
// for no domain and addresses of both kinds.
func window(n uint64, rows int) *netmonpb.Window {
	w := &netmonpb.Window{
		LogId: logID(), Sequence: n, SensorId: "plugintest",
		StartNs: epoch + n*5e9, EndNs: epoch + (n+1)*5e9,
		PreviousChain: chain(n - 1), Chain: chain(n),
		Ledger: &netmonpb.Ledger{Packets: 10 * n, Bytes: 5000 * n, Connections: n},
	}
	names := []string{"www.example.com", "(unattributed)", "(other)", "xn--bcher-kva.example"}
	for i := range rows {
		key := &netmonpb.Key{Interface: "eth0", Direction: netmonpb.Direction(1 + i%5)}
		switch i % 5 {
		case 0:
			key.View, key.Domain = netmonpb.View_VIEW_DOMAINS, names[i/5%len(names)]
			key.NameSource = netmonpb.NameSource(1 + i%6)
			if i >= 100 {
				key.Domain = fmt.Sprintf("host-%d.example.com", i)
			}
		case 1:
			key.View, key.Address = netmonpb.View_VIEW_ADDRESSES, []byte{192, 0, byte(i >> 8), byte(i)}
		case 2:
			key.View, key.Protocol, key.Application = netmonpb.View_VIEW_PROTOCOLS, 6, "https"
		case 3:
			key.View, key.Address, key.DnsType = netmonpb.View_VIEW_DNS, make([]byte, 16), 28
			key.Direction = 0
		case 4:
			key.View, key.Item, key.Shard = netmonpb.View_VIEW_SENSOR, "capture_packets_total", uint32(i)
			key.Direction = 0
		}
		w.Rows = append(w.Rows, &netmonpb.Row{Key: key, Counters: &netmonpb.Counters{
			BytesSent: 1000, BytesReceived: 4000, PacketsSent: 5, PacketsReceived: 5, Connections: 1, Accesses: 1, Value: 7,
		}})
	}
	return w
}

func chain(n uint64) []byte { return fmt.Appendf(nil, "%016d", n) }
