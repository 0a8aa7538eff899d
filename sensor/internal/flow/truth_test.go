package flow_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netmon-sensor/netmon/sensor/internal/capture"
	"github.com/netmon-sensor/netmon/sensor/internal/flow"
	"github.com/netmon-sensor/netmon/sensor/internal/packet"
)

// truthFlow is a flow as the oracle writes it down.
type truthFlow struct {
	Number        uint8       `json:"number"`
	Initiator     string      `json:"initiator"`
	InitiatorPort uint16      `json:"initiator_port"`
	Responder     string      `json:"responder"`
	ResponderPort uint16      `json:"responder_port"`
	Start         json.Number `json:"start_ts_ns"`
	PacketsSent   uint64      `json:"packets_sent"`
	PacketsRecvd  uint64      `json:"packets_received"`
	BytesSent     uint64      `json:"bytes_sent"`
	BytesRecvd    uint64      `json:"bytes_received"`
}

type truthTotals struct {
	Frames      uint64 `json:"frames"`
	IPPackets   uint64 `json:"ip_packets"`
	IPBytes     uint64 `json:"ip_bytes"`
	NonIP       uint64 `json:"non_ip_frames"`
	Malformed   uint64 `json:"malformed_frames"`
	Unsupported uint64 `json:"unsupported_frames"`
	Flows       uint64 `json:"flows"`
	Connections uint64 `json:"connections"`
}

type truth struct {
	Totals truthTotals `json:"totals"`
	Flows  []truthFlow `json:"flows"`
}

// TestTruth compares every shared capture with what the oracle says of it: with
// one harvest at the end, and with many, counters held and not.
func TestTruth(t *testing.T) {
	root := "."
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		root = filepath.Join(root, "..")
	}
	files, _ := filepath.Glob(filepath.Join(root, "../shared/pcaps/*.truth.json"))
	if len(files) == 0 {
		t.Skip("the shared captures are absent: ../shared/pcaps beside the repository")
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var want truth
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		path := strings.TrimSuffix(name, ".truth.json")
		for _, epoch := range []time.Duration{0, time.Second} {
			for _, hold := range []time.Duration{0, 3 * time.Second} {
				t.Run(filepath.Base(path)+"/"+epoch.String()+"/"+hold.String(), func(t *testing.T) {
					got := replay(t, path, int64(epoch), int64(hold))
					if got.Totals != want.Totals {
						t.Errorf("totals\n got %+v\nwant %+v", got.Totals, want.Totals)
					}
					compareFlows(t, got.Flows, want.Flows)
				})
			}
		}
	}
}

func compareFlows(t *testing.T, got, want []truthFlow) {
	t.Helper()
	order := func(a, b truthFlow) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Initiator, b.Initiator),
			cmp.Compare(a.InitiatorPort, b.InitiatorPort), cmp.Compare(a.Responder, b.Responder),
			cmp.Compare(a.ResponderPort, b.ResponderPort), cmp.Compare(a.Number, b.Number),
			cmp.Compare(a.BytesSent, b.BytesSent), cmp.Compare(a.BytesRecvd, b.BytesRecvd))
	}
	slices.SortFunc(got, order)
	slices.SortFunc(want, order)
	if len(got) != len(want) {
		t.Fatalf("%d flows, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("flow\n got %+v\nwant %+v", got[i], want[i])
		}
	}
}

// replay decodes a capture, harvests at the end of every epoch (0: only at the
// end of the file) and adds the records up.
func replay(t *testing.T, path string, epoch, hold int64) (got truth) {
	t.Helper()
	file, err := capture.OpenFile(path, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := file.Sources()[0]
	defer src.Close()

	table := flow.New(flow.Options{HoldNS: hold, KeepIdle: true})
	var reasons [packet.NumReasons]uint64
	var records []flow.Record
	cut := int64(0)
	for {
		block, err := src.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range block {
			if epoch != 0 && p.Clock-cut >= epoch {
				records = table.Harvest(records, p.Clock, false)
				cut = p.Clock
			}
			var h packet.Header
			reason := h.Decode(packet.Link(p.Link), p.Data, p.Length)
			reasons[reason]++
			got.Totals.Frames++
			if reason != packet.Decoded {
				continue
			}
			got.Totals.IPPackets++
			got.Totals.IPBytes += uint64(h.Bytes)
			flow.Arrive(table, &h, p.Interface, p.Time, p.Order)
		}
	}
	records = table.Harvest(records, src.Clock(), true)
	if n := table.Len(); n != 0 {
		t.Errorf("%d flows are left after the flush", n)
	}
	got.Totals.NonIP = reasons[packet.NotIP]
	got.Totals.Malformed = reasons[packet.Malformed]
	got.Totals.Unsupported = reasons[packet.Unsupported]
	got.Flows = sum(t, file, records)
	got.Totals.Flows = uint64(len(got.Flows))
	for _, f := range got.Flows {
		if packet.HasPorts(f.Number) && (f.InitiatorPort != 0 || f.ResponderPort != 0) {
			got.Totals.Connections++
		}
	}
	return got
}

// sum adds up the records of each flow.
func sum(t *testing.T, file *capture.File, records []flow.Record) []truthFlow {
	t.Helper()
	type id struct{ slot, generation uint32 }
	flows := map[id]*truthFlow{}
	for _, r := range records {
		k := id{r.Slot, r.Generation}
		f := flows[k]
		if r.Born != (f == nil) {
			t.Errorf("record %+v: the first of its flow: %t", r, f == nil)
		}
		if f == nil {
			f = &truthFlow{
				Number:    r.Protocol,
				Initiator: address(r.Initiator, r.Version), InitiatorPort: r.InitiatorPort,
				Responder: address(r.Responder, r.Version), ResponderPort: r.ResponderPort,
				Start: unixNano(file, r.Start),
			}
			flows[k] = f
		}
		f.PacketsSent += r.PacketsSent
		f.PacketsRecvd += r.PacketsReceived
		f.BytesSent += r.BytesSent
		f.BytesRecvd += r.BytesReceived
	}
	var all []truthFlow
	for _, f := range flows {
		all = append(all, *f)
	}
	return all
}

// unixNano is a time in a file as the oracle writes it down, without bounds.
func unixNano(file *capture.File, time int64) json.Number {
	seconds, ns := file.Unix(time)
	n := new(big.Int).SetUint64(seconds)
	return json.Number(n.Mul(n, big.NewInt(1e9)).Add(n, big.NewInt(ns)).String())
}

func address(a [16]byte, version uint8) string {
	ip := netip.AddrFrom16(a)
	if version == 4 {
		ip = ip.Unmap()
	}
	return ip.String()
}
