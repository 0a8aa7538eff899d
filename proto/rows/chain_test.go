package rows

import (
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

func window() *netmonpb.Window {
	return &netmonpb.Window{
		LogId: []byte("0123456789abcdef"), Sequence: 2, SensorId: "host", StartNs: 1, EndNs: 2,
		PreviousChain: []byte("chain of no. one"),
		Ledger:        &netmonpb.Ledger{Packets: 1, Bytes: 2, Connections: 3},
		Rows:          []*netmonpb.Row{domain("a", 1), domain("b", 2)},
	}
}

func TestSeal(t *testing.T) {
	w := window()
	wire, err := Seal(w)
	if err != nil {
		t.Fatal(err)
	}
	got := &netmonpb.Window{}
	if err := proto.Unmarshal(wire, got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, w) {
		t.Errorf("the encoding decodes to %v, not %v", got, w)
	}
	if err := Verify(got); err != nil {
		t.Error(err)
	}
	// Fixed for ever: a server compares what sensors of other versions sent.
	if chain, want := hex.EncodeToString(w.Chain), "9a6d0e35eb705dd6ced373de46eaa33f"; chain != want {
		t.Errorf("chain is %s, not %s", chain, want)
	}
}

func TestVerifyNoticesEveryField(t *testing.T) {
	fields := window().ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		w := window()
		if _, err := Seal(w); err != nil {
			t.Fatal(err)
		}
		w.ProtoReflect().Clear(fields.Get(i))
		if Verify(w) == nil {
			t.Errorf("a window without %s passes", fields.Get(i).Name())
		}
	}
}
