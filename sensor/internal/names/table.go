package names

import (
	"github.com/netmon-sensor/netmon/sensor/internal/index"
	"github.com/netmon-sensor/netmon/sensor/internal/prefetch"
)

// A table is a map for millions of entries that are far from any cache: it can be
// asked early for what will be looked up, new entries are written one after the
// other, and the collector need not follow any. The caller hashes the keys, so that
// nobody outside can foresee it; the zero key stands for no entry.
type table[K comparable, V any] struct {
	index  index.Index
	chunks [][]entry[K, V]
	used   uint32 // entries so far, removed ones included
	n      int
}

const entriesPerChunk = 512

type entry[K comparable, V any] struct {
	key   K
	value V
}

func (t *table[K, V]) at(i uint32) *entry[K, V] {
	return &t.chunks[i/entriesPerChunk][i%entriesPerChunk]
}

// find returns where the entry of k stands, and whether there is one.
func (t *table[K, V]) find(hash uint32, k *K) (uint32, bool) {
	if t.n == 0 {
		return 0, false
	}
	for i := range t.index.Slots(hash) {
		if t.at(i).key == *k {
			return i, true
		}
	}
	return 0, false
}

// add adds an entry of k, which must not be there, and returns its value.
func (t *table[K, V]) add(hash uint32, k *K, v *V) *V {
	if t.used%entriesPerChunk == 0 && int(t.used/entriesPerChunk) == len(t.chunks) {
		t.chunks = append(t.chunks, make([]entry[K, V], entriesPerChunk))
	}
	e := t.at(t.used)
	e.key, e.value = *k, *v
	t.index.Insert(hash, t.used)
	t.used++
	t.n++
	return &e.value
}

// remove takes out the entry at i. Its place is free when the table is cleared.
func (t *table[K, V]) remove(hash, i uint32) {
	t.index.Remove(hash, i)
	t.at(i).key = *new(K)
	t.n--
}

// clear takes out every entry and keeps their memory.
func (t *table[K, V]) clear() {
	t.index.Reset()
	t.used, t.n = 0, 0
}

// expect asks for where find begins.
func (t *table[K, V]) expect(hash uint32) {
	if t.n > 0 {
		t.index.Prefetch(hash)
	}
}

// near asks for the entry that find will most likely return.
func (t *table[K, V]) near(hash uint32) {
	if t.n == 0 {
		return
	}
	for i := range t.index.Slots(hash) {
		prefetch.Value(t.at(i))
		return
	}
}

// each yields every key with its value.
func (t *table[K, V]) each(yield func(*K, *V) bool) {
	for i := range t.used {
		if e := t.at(i); e.key != *new(K) && !yield(&e.key, &e.value) {
			return
		}
	}
}

// tableCeiling bounds the memory of a table of so many entries of a size.
func tableCeiling(entries int, size uintptr) int64 {
	n := int64(entries) + entriesPerChunk
	return index.Ceiling(n) + n*int64(size) + Grown(n/entriesPerChunk*24)
}

// generations is a table that forgets what is not used: what get or put touched is
// young, and ageing forgets all that is not.
type generations[K comparable, V any] struct {
	young, old table[K, V]
	half       int // most entries of each; 0 is no bound
}

func newGenerations[K comparable, V any](max int) generations[K, V] {
	var g generations[K, V]
	g.young.clear()
	g.old.clear()
	if max > 0 {
		g.half = (max + 1) / 2
	}
	return g
}

func (g *generations[K, V]) len() int { return g.young.n + g.old.n }

// get returns the value of k, or nil; it is valid until the next enter. Finding it in
// the old generation makes it young where there is room: a look-up forgets nothing.
func (g *generations[K, V]) get(hash uint32, k *K) *V {
	if i, ok := g.young.find(hash, k); ok {
		return &g.young.at(i).value
	}
	i, ok := g.old.find(hash, k)
	if !ok {
		return nil
	}
	v := &g.old.at(i).value
	if !g.full() {
		g.old.remove(hash, i)
		v = g.young.add(hash, k, v)
	}
	return v
}

// enter returns the value of k, which is empty where there was none, and how many
// entries had to be forgotten for it.
func (g *generations[K, V]) enter(hash uint32, k *K) (v *V, forgotten uint64) {
	if i, ok := g.young.find(hash, k); ok {
		return &g.young.at(i).value, 0
	}
	var was V
	if i, ok := g.old.find(hash, k); ok {
		was = g.old.at(i).value
		g.old.remove(hash, i)
	}
	if g.full() {
		forgotten = uint64(g.old.n)
		g.age()
	}
	return g.young.add(hash, k, &was), forgotten
}

func (g *generations[K, V]) full() bool { return g.half > 0 && g.young.n >= g.half }

func (g *generations[K, V]) age() {
	g.old.clear()
	g.young, g.old = g.old, g.young
}

func (g *generations[K, V]) expect(hash uint32) {
	g.young.expect(hash)
	g.old.expect(hash)
}

func (g *generations[K, V]) near(hash uint32) {
	g.young.near(hash)
	g.old.near(hash)
}

func (g *generations[K, V]) each(yield func(*K, *V) bool) {
	for _, t := range []*table[K, V]{&g.young, &g.old} {
		for k, v := range t.each {
			if !yield(k, v) {
				return
			}
		}
	}
}
