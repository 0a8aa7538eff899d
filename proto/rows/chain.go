package rows

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// chainSize is how much of a SHA-256 a chain is.
const chainSize = 16

// fieldChain is the number of Window.chain.
const fieldChain = 7

// Seal sets the chain of a window that is otherwise complete, previous_chain
// included, and returns its encoding.
//
// chain is the first 16 bytes of SHA-256(previous_chain || content), where content
// is the deterministic protobuf encoding of the window with an empty chain: fields
// in the order of their numbers, no field with its default. It covers the
// ledger, the previous chain and every row. The first window of a log has an empty
// previous_chain.
func Seal(w *netmonpb.Window) ([]byte, error) {
	w.Chain = nil
	content, err := encode(w)
	if err != nil {
		return nil, err
	}
	w.Chain = chain(w.PreviousChain, content)
	content = protowire.AppendTag(content, fieldChain, protowire.BytesType)
	return protowire.AppendBytes(content, w.Chain), nil
}

// Verify checks that the chain of w is the one Seal gives it. It does not know
// whether previous_chain is that of the window before.
func Verify(w *netmonpb.Window) error {
	content, err := encode(&netmonpb.Window{
		LogId: w.LogId, Sequence: w.Sequence, SensorId: w.SensorId,
		StartNs: w.StartNs, EndNs: w.EndNs, PreviousChain: w.PreviousChain,
		Ledger: w.Ledger, Rows: w.Rows,
	})
	if err != nil {
		return err
	}
	if want := chain(w.PreviousChain, content); !bytes.Equal(w.Chain, want) {
		return fmt.Errorf("window %d: chain is %x, content says %x", w.Sequence, w.Chain, want)
	}
	return nil
}

func encode(w *netmonpb.Window) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode window %d: %w", w.Sequence, err)
	}
	return b, nil
}

func chain(previous, content []byte) []byte {
	h := sha256.New()
	h.Write(previous)
	h.Write(content)
	return h.Sum(nil)[:chainSize]
}
