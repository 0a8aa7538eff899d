package names

import "slices"

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

	ids    map[string]ID
	names  []string // by ID
	latest ID       // of Intern
	free   []ID     // the last is used next
	sweep  int      // names in use at which a Sweep is due
	text   int      // bytes of the names
	bound  int      // of names, and by textPerName of their bytes; 0 is none

	// Overflowed counts names that found no room: their flows have none.
	Overflowed uint64

	// Evicted counts answers that were forgotten because there were too many.
	Evicted uint64
}

type answerKey struct{ address, client [16]byte }

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
	return &Book{
		answers:   newGenerations[answerKey, answer](maxAddresses),
		addresses: newGenerations[[16]byte, byAddress](maxAddresses),
		covers:    newGenerations[ID, uint64](min(maxAddresses, maxCoverNames)),
		ids:       map[string]ID{},
		names:     make([]string, 1),
		sweep:     smallestSweep,
		bound:     nameBound(maxAddresses),
	}
}

// Learn remembers a fact; text is the Harvest.Text it points into.
func (b *Book) Learn(f *Fact, text []byte) {
	b.turn++
	a := answer{turn: b.turn, id: b.Intern(text[f.NameStart:f.NameEnd])}
	e, _ := b.addresses.get(f.Address)
	e.anybody = a
	if f.Everyone {
		e.everyone = a
	} else {
		b.Evicted += b.answers.put(answerKey{f.Address, f.Client}, a)
	}
	b.Evicted += b.addresses.put(f.Address, e)
}

// Lookup returns the name that the latest answer gave to responder's address:
// that to the initiator or to everyone if there is one, else that to anybody.
func (b *Book) Lookup(initiator, responder [16]byte) (ID, Source) {
	e, ok := b.addresses.get(responder)
	if !ok {
		return 0, None
	}
	a, _ := b.answers.get(answerKey{responder, initiator})
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
func (b *Book) Names() int { return len(b.ids) }

// Age forgets the answers and covers that were neither given again nor looked up since the
// last call. Called once an hour of packet time, it keeps each for an hour at least.
func (b *Book) Age() {
	b.answers.age()
	b.addresses.age()
	b.covers.age()
}

// Intern returns the ID of name, which must be in its normal form; 0 for "".
func (b *Book) Intern(name []byte) ID {
	if len(name) == 0 {
		return 0
	}
	if b.names[b.latest] == string(name) {
		return b.latest // most messages give a name to several addresses
	}
	if id, ok := b.ids[string(name)]; ok {
		b.latest = id
		return id
	}
	if b.bound > 0 && (len(b.ids) >= b.bound || b.text+len(name) > b.bound*textPerName) {
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
	b.ids[s], b.latest = id, id
	return id
}

// Name returns the name of id, or "" for 0.
func (b *Book) Name(id ID) string { return b.names[id] }

// WantSweep says whether there are so many names that a Sweep is worth its time.
func (b *Book) WantSweep() bool { return len(b.ids) >= b.sweep || b.Tight() }

// Tight says whether there is hardly room for more names: then it is time to Age.
func (b *Book) Tight() bool {
	return b.bound > 0 && (len(b.ids) >= b.bound*7/8 || b.text >= b.bound*textPerName*7/8)
}

// Sweep frees the IDs in use neither by answers nor by the join, which marks
// its own in live. The next Sweep is due when there are twice as many names as
// this one leaves.
func (b *Book) Sweep(live func(mark func(ID))) {
	used := make([]bool, len(b.names))
	mark := func(id ID) { used[id] = true }
	for _, m := range []map[answerKey]answer{b.answers.young, b.answers.old} {
		for _, a := range m {
			mark(a.id)
		}
	}
	for _, m := range []map[[16]byte]byAddress{b.addresses.young, b.addresses.old} {
		for _, e := range m {
			mark(e.everyone.id)
			mark(e.anybody.id)
		}
	}
	for _, m := range []map[ID]uint64{b.covers.young, b.covers.old} {
		for id := range m {
			mark(id)
		}
	}
	live(mark)
	b.latest = 0
	b.free = b.free[:0]
	for id := len(b.names) - 1; id > 0; id-- { // the lowest is used first
		if used[id] {
			continue
		}
		delete(b.ids, b.names[id])
		b.text -= len(b.names[id])
		b.names[id] = ""
		b.free = append(b.free, ID(id))
	}
	b.trim()
	b.sweep = max(2*len(b.ids), smallestSweep)
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

// generations is a map that forgets what is not used: what get or put touched is
// young, and ageing forgets all that is not.
type generations[K comparable, V any] struct {
	young, old map[K]V
	half       int // most entries of each; 0 is no bound
}

func newGenerations[K comparable, V any](max int) generations[K, V] {
	g := generations[K, V]{young: map[K]V{}, old: map[K]V{}}
	if max > 0 {
		g.half = (max + 1) / 2
	}
	return g
}

func (g *generations[K, V]) len() int { return len(g.young) + len(g.old) }

// get returns the value of k. Finding it in the old generation makes it young as
// soon as there is room: a look-up forgets nothing.
func (g *generations[K, V]) get(k K) (V, bool) {
	if v, ok := g.young[k]; ok {
		return v, true
	}
	v, ok := g.old[k]
	if ok && (g.half == 0 || len(g.young) < g.half) {
		delete(g.old, k)
		g.young[k] = v
	}
	return v, ok
}

// put sets the value of k and returns how many entries had to be forgotten.
func (g *generations[K, V]) put(k K, v V) (forgotten uint64) {
	if g.half > 0 && len(g.young) >= g.half {
		if _, ok := g.young[k]; !ok {
			delete(g.old, k)
			forgotten = uint64(len(g.old))
			g.age()
		}
	}
	delete(g.old, k)
	g.young[k] = v
	return forgotten
}

func (g *generations[K, V]) age() {
	clear(g.old)
	g.young, g.old = g.old, g.young
}
