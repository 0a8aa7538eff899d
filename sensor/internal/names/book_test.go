package names

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// learn tells a Book of an answer to client, or to everyone where that is 0.
func learn(b *Book, client, address byte, name string) {
	f := Fact{Address: addr(address), Client: addr(client), NameEnd: uint32(len(name))}
	if client == 0 {
		f.Client, f.Everyone = [16]byte{}, true
	}
	text := []byte(name)
	b.Learn(&f, text, b.Spot(&f, text))
}

func wantLookup(t *testing.T, b *Book, initiator, responder byte, name string, source Source) {
	t.Helper()
	id, got := b.Lookup(addr(initiator), addr(responder))
	if b.Name(id) != name || got != source {
		t.Errorf("%d -> %d: %q (%s), want %q (%s)", initiator, responder, b.Name(id), sourceNames[got], name, sourceNames[source])
	}
}

func TestLookup(t *testing.T) {
	b := NewBook(0)
	wantLookup(t, b, 1, 9, "", None)
	learn(b, 2, 9, "second")
	wantLookup(t, b, 1, 9, "second", DNSAny)
	wantLookup(t, b, 2, 9, "second", DNSClient)
	learn(b, 1, 9, "first")
	wantLookup(t, b, 1, 9, "first", DNSClient)
	wantLookup(t, b, 2, 9, "second", DNSClient)
	wantLookup(t, b, 3, 9, "first", DNSAny)
	learn(b, 0, 9, "all")
	wantLookup(t, b, 1, 9, "all", DNSClient)
	wantLookup(t, b, 3, 9, "all", DNSClient)
	learn(b, 1, 9, "again")
	wantLookup(t, b, 1, 9, "again", DNSClient)
	wantLookup(t, b, 2, 9, "all", DNSClient)
	wantLookup(t, b, 3, 9, "all", DNSClient)
	wantLookup(t, b, 9, 1, "", None)
}

// TestBookMatchesReference compares with the definition, read word by word over
// all facts ever learned.
func TestBookMatchesReference(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	b := NewBook(0)
	type fact struct {
		client, address byte
		name            string
	}
	var all []fact
	for i := range 5000 {
		if r.IntN(2) == 0 {
			f := fact{byte(r.IntN(4)), byte(10 + r.IntN(6)), fmt.Sprint("n", i%700, ".example")}
			all = append(all, f)
			learn(b, f.client, f.address, f.name)
			continue
		}
		client, address := byte(1+r.IntN(5)), byte(10+r.IntN(6))
		name, source := "", None
		for _, f := range slices.Backward(all) {
			if f.address != address {
				continue
			}
			if f.client == client || f.client == 0 {
				name, source = f.name, DNSClient
				break
			}
			if source == None {
				name, source = f.name, DNSAny
			}
		}
		wantLookup(t, b, client, address, name, source)
		if i%500 == 0 {
			b.Sweep(func(func(ID)) {})
		}
	}
}

func TestBookForgetsByDisuse(t *testing.T) {
	b := NewBook(0)
	learn(b, 1, 8, "unused")
	learn(b, 1, 9, "used")
	b.Age()
	wantLookup(t, b, 1, 9, "used", DNSClient)
	b.Age()
	wantLookup(t, b, 1, 9, "used", DNSClient)
	wantLookup(t, b, 1, 8, "", None)
	b.Age()
	b.Age()
	wantLookup(t, b, 1, 9, "", None)
	if b.Len() != 0 {
		t.Errorf("%d addresses left", b.Len())
	}
}

func TestBookIsBounded(t *testing.T) {
	const most = 100
	b := NewBook(most)
	for i := range 1000 {
		f := Fact{Client: addr(1), NameEnd: 1}
		f.Address[0], f.Address[1] = byte(i>>8), byte(i)
		text := []byte("a")
		b.Learn(&f, text, b.Spot(&f, text))
		if b.Len() > most || b.answers.len() > most {
			t.Fatalf("%d addresses, %d answers", b.Len(), b.answers.len())
		}
	}
	if kept := uint64(b.Len() + b.answers.len()); b.Evicted+kept != 2000 {
		t.Errorf("%d evicted and %d kept of 2000", b.Evicted, kept)
	}
	f := [16]byte{0: 999 >> 8, 1: 999 & 255}
	if _, source := b.Lookup(addr(1), f); source != DNSClient {
		t.Error("the latest answer is forgotten")
	}
}

func TestSweepFreesIDs(t *testing.T) {
	b := NewBook(0)
	var own []ID
	for i := 0; !b.WantSweep(); i++ {
		id := b.Intern(fmt.Appendf(nil, "own%d", i))
		if i%10 == 0 {
			own = append(own, id)
		}
	}
	learn(b, 1, 9, "answer")
	live := func(mark func(ID)) {
		for _, id := range own {
			mark(id)
		}
	}
	b.Sweep(live)
	if b.Names() != len(own)+1 || b.WantSweep() {
		t.Errorf("%d names left, want %d", b.Names(), len(own)+1)
	}
	wantLookup(t, b, 1, 9, "answer", DNSClient)
	for i, id := range own {
		if want := fmt.Sprintf("own%d", i*10); b.Name(id) != want || b.Intern([]byte(want)) != id {
			t.Fatalf("ID %d is %q, want %q", id, b.Name(id), want)
		}
	}
	if id := b.Intern([]byte("new")); id != 2 {
		t.Errorf("a new name has ID %d, want the lowest free one", id)
	}
	own = nil
	b.Age()
	b.Age()
	b.Sweep(live)
	if b.Names() != 0 || len(b.names) != 1 || len(b.free) != 0 {
		t.Errorf("%d names, %d IDs, %d free", b.Names(), len(b.names), len(b.free))
	}
	if b.Intern(nil) != 0 || b.Name(0) != "" {
		t.Error("no name is not 0")
	}
}

func TestPatterns(t *testing.T) {
	p, err := NewPatterns([]string{"exact.example", "*.below.example", ".Both.example.", "com"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"exact.example": true, "a.exact.example": false, "xexact.example": false, "example": false, "": false,
		"below.example": false, "a.below.example": true, "a.b.below.example": true, "abelow.example": false,
		"both.example": true, "a.both.example": true, "aboth.example": false,
		"com": true, "a.com": false,
	} {
		if got := p.Match(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	for _, bad := range []string{"", "*", "*.", ".", "*..a", "a.*", "a b", "**.a", "192.0.2.1", "http://a/"} {
		if _, err := NewPatterns([]string{bad}); err == nil {
			t.Errorf("%q is taken for a pattern", bad)
		}
	}
	if (*Patterns)(nil).Match("a") {
		t.Error("no patterns match")
	}
}
