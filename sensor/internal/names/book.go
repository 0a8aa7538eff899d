package names

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"unsafe"

	"github.com/netmon-sensor/netmon/sensor/internal/index"
	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// ID stands for a name within one Book; 0 is no name. It may be given to another
// name once a Sweep found it unused.
type ID uint32

// Book remembers which names the answers of DNS gave to which addresses, and
// numbers names. The join owns it and calls Learn and Lookup merged in Order, so
// that only the latest answer to each question need be kept. What it knows and
// forgets depends on nothing but those calls.
type Book struct {
	answers   generations[answerKey, answer]   // to one client
	addresses generations[[16]byte, byAddress] // to everyone and to anybody
	covers    generations[ID, uint64]          // Order of the first answer that said so
	turn      uint64                           // answers learned so far: which is later
	seed      maphash.Seed

	ids    index.Index // by the hash of the name
	known  int         // names in use
	names  []string    // by ID
	latest ID          // of Intern
	free   []ID        // the last is used next
	sweep  int         // names in use at which a Sweep is due
	text   int         // bytes of the names
	bound  int         // of names, and by textPerName of their bytes; 0 is none

	// Overflowed counts names that found no room: their flows have none.
	Overflowed uint64

	// Evicted counts answers that were forgotten because there were too many.
	Evicted uint64
}

// answerKey is an address and the client that was told it.
type answerKey [32]byte

func newAnswerKey(address, client *[16]byte) (k answerKey) {
	copy(k[:16], address[:])
	copy(k[16:], client[:])
	return k
}

// A Spot is where a Book keeps what a fact is about.
type Spot struct {
	name, address, answer uint32 // hashes
	id                    ID     // of a name with that hash, once Prefetch came to it
}

type answer struct {
	turn uint64
	id   ID
}

type byAddress struct{ everyone, anybody answer }

// smallestSweep is how many names there are at least before a Sweep is due.
const smallestSweep = 4096

// textPerName is how many bytes a name may have on the average; most have a third.
const textPerName = 64

// nameBound is how many names a Book for so many addresses may know.
func nameBound(maxAddresses int) int {
	if maxAddresses == 0 {
		return 0
	}
	return max(2*maxAddresses, smallestSweep)
}

// NewBook returns a Book that knows names for at most maxAddresses addresses, and
// remembers as many answers to single clients, twice as many names (4096 at least), and
// some cover names; 0 is no bound.
func NewBook(maxAddresses int) *Book {
	b := &Book{
		answers:   newGenerations[answerKey, answer](maxAddresses),
		addresses: newGenerations[[16]byte, byAddress](maxAddresses),
		covers:    newGenerations[ID, uint64](min(maxAddresses, maxCoverNames)),
		names:     make([]string, 1),
		seed:      maphash.MakeSeed(),
		sweep:     smallestSweep,
		bound:     nameBound(maxAddresses),
	}
	b.ids.Reset()
	return b
}

// Spot returns where f, with the Harvest.Text it points into, is looked for.
func (b *Book) Spot(f *Fact, text []byte) Spot {
	k := newAnswerKey(&f.Address, &f.Client)
	return Spot{b.hash(text[f.NameStart:f.NameEnd]), b.hash(k[:16]), b.hash(k[:]), 0}
}

func (b *Book) hash(key []byte) uint32 { return index.Hash(b.seed, key) }

func (b *Book) hashID(id ID) uint32 {
	var k [4]byte
	binary.LittleEndian.PutUint32(k[:], uint32(id))
	return b.hash(k[:])
}

// PrefetchSteps is how many times Prefetch is called for a Spot.
const PrefetchSteps = 3

// Prefetch asks for memory that Learn will need at s. Each step, from 0, reads where
// the one before asked for, so other facts should have their turn between them.
func (b *Book) Prefetch(s *Spot, step int) {
	switch step {
	case 0:
		b.ids.Prefetch(s.name)
		b.addresses.expect(s.address)
		b.answers.expect(s.answer)
	case 1:
		b.addresses.near(s.address)
		b.answers.near(s.answer)
		for id := range b.ids.Slots(s.name) {
			s.id = ID(id)
			prefetch.Line(unsafe.Pointer(&b.names[id]))
			break
		}
	case 2:
		prefetch.Line(unsafe.Pointer(unsafe.StringData(b.names[s.id])))
	}
}

// Learn remembers a fact that belongs at s; text is the Harvest.Text it points into.
func (b *Book) Learn(f *Fact, text []byte, s Spot) {
	b.turn++
	a := answer{turn: b.turn, id: b.intern(text[f.NameStart:f.NameEnd], s.name)}
	if !f.Everyone {
		k := newAnswerKey(&f.Address, &f.Client)
		v, forgotten := b.answers.enter(s.answer, &k)
		*v = a
		b.Evicted += forgotten
	}
	e, forgotten := b.addresses.enter(s.address, &f.Address)
	e.anybody = a
	if f.Everyone {
		e.everyone = a
	}
	b.Evicted += forgotten
}

// Lookup returns the name that the latest answer gave to responder's address:
// that to the initiator or to everyone if there is one, else that to anybody.
func (b *Book) Lookup(initiator, responder [16]byte) (ID, Source) {
	e := b.addresses.get(b.hash(responder[:]), &responder)
	if e == nil {
		return 0, None
	}
	k := newAnswerKey(&responder, &initiator)
	var a answer
	if v := b.answers.get(b.hash(k[:]), &k); v != nil {
		a = *v
	}
	if e.everyone.turn > a.turn {
		a = e.everyone
	}
	if a.turn > 0 {
		return a.id, DNSClient
	}
	return e.anybody.id, DNSAny
}

// Len returns how many addresses have a name.
func (b *Book) Len() int { return b.addresses.len() }

// Names returns how many names are in use.
func (b *Book) Names() int { return b.known }

// Age forgets the answers and covers that were neither given again nor looked up since the
// last call. Called once an hour of packet time, it keeps each for an hour at least.
func (b *Book) Age() {
	b.answers.age()
	b.addresses.age()
	b.covers.age()
}

// Intern returns the ID of name, which must be in its normal form; 0 for "".
func (b *Book) Intern(name []byte) ID { return b.intern(name, b.hash(name)) }

func (b *Book) intern(name []byte, hash uint32) ID {
	if len(name) == 0 {
		return 0
	}
	if b.names[b.latest] == string(name) {
		return b.latest // most messages give a name to several addresses
	}
	if id := b.find(name, hash); id != 0 {
		b.latest = id
		return id
	}
	if b.bound > 0 && (b.known >= b.bound || b.text+len(name) > b.bound*textPerName) {
		b.Overflowed++
		return 0
	}
	s := string(name)
	b.text += len(s)
	var id ID
	if n := len(b.free); n > 0 {
		id = b.free[n-1]
		b.free = b.free[:n-1]
		b.names[id] = s
	} else {
		id = ID(len(b.names))
		b.names = append(b.names, s)
	}
	b.ids.Insert(hash, uint32(id))
	b.known++
	b.latest = id
	return id
}

func (b *Book) find(name []byte, hash uint32) ID {
	for id := range b.ids.Slots(hash) {
		if b.names[id] == string(name) {
			return ID(id)
		}
	}
	return 0
}

// Name returns the name of id, or "" for 0.
func (b *Book) Name(id ID) string { return b.names[id] }

// WantSweep says whether there are so many names that a Sweep is worth its time.
func (b *Book) WantSweep() bool { return b.known >= b.sweep || b.Tight() }

// Tight says whether there is hardly room for more names: then it is time to Age.
func (b *Book) Tight() bool {
	return b.bound > 0 && (b.known >= b.bound*7/8 || b.text >= b.bound*textPerName*7/8)
}

// Sweep frees the IDs in use neither by answers nor by the join, which marks
// its own in live. The next Sweep is due when there are twice as many names as
// this one leaves.
func (b *Book) Sweep(live func(mark func(ID))) {
	used := make([]bool, len(b.names))
	mark := func(id ID) { used[id] = true }
	for _, a := range b.answers.each {
		mark(a.id)
	}
	for _, e := range b.addresses.each {
		mark(e.everyone.id)
		mark(e.anybody.id)
	}
	for id := range b.covers.each {
		mark(*id)
	}
	live(mark)
	b.latest = 0
	b.free = b.free[:0]
	for id := len(b.names) - 1; id > 0; id-- { // the lowest is used first
		if used[id] {
			continue
		}
		if s := b.names[id]; s != "" {
			b.ids.Remove(b.hash([]byte(s)), uint32(id))
			b.known--
			b.text -= len(s)
			b.names[id] = ""
		}
		b.free = append(b.free, ID(id))
	}
	b.trim()
	b.sweep = max(2*b.known, smallestSweep)
}

// trim gives back the memory of IDs beyond the highest in use.
func (b *Book) trim() {
	n := len(b.names)
	for n > 1 && b.names[n-1] == "" {
		n--
	}
	b.free = slices.DeleteFunc(b.free, func(id ID) bool { return int(id) >= n })
	b.names = b.names[:n]
}
