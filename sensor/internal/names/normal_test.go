package names

import (
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

func TestNormalForm(t *testing.T) {
	long := strings.Repeat("a.", 126) + "b" // 253 characters
	for _, c := range []struct{ in, want string }{
		{"www.Example.COM", "www.example.com"},
		{"example.com.", "example.com"},
		{"localhost", "localhost"},
		{"a_b-c.d-", "a_b-c.d-"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"1.2.3.com", "1.2.3.com"},
		{"3com", "3com"},
		{"0xg", "0xg"},
		{long, long},
		{long + ".", long},
		{strings.Repeat("x", 63) + ".de", strings.Repeat("x", 63) + ".de"},
		{"", ""}, {".", ""}, {"..", ""}, {"a..b", ""}, {".a", ""}, {"a..", ""},
		{long + "c", ""},
		{strings.Repeat("x", 64) + ".de", ""},
		{"de." + strings.Repeat("x", 64), ""},
		{"1.2.3.4", ""}, {"example.4", ""}, {"0x7f000001", ""}, {"a.0X", ""}, {"7", ""},
		{"*.example.com", ""}, {"a b", ""}, {"bücher.de", ""}, {"[::1]", ""}, {"a\x00", ""}, {"a/b", ""}, {"a:80", ""},
		{"a\n", ""}, {"\xff", ""},
	} {
		got, ok := appendNormal([]byte("kept"), []byte(c.in))
		if string(got) != "kept"+c.want || ok != (c.want != "") {
			t.Errorf("%q: %q %v, want %q", c.in, got[4:], ok, c.want)
		}
	}
}

// TestNormalByByte compares with what a slow reading says, of names whose bytes are
// mostly the ones that make a difference.
func TestNormalByByte(t *testing.T) {
	const some = "..--__//AZaz09@[`{:x0\xae\xe1\xb0\x00bcdefgh1234"
	r := rand.New(rand.NewPCG(1, 2))
	valid := 0
	for range 200_000 {
		name := make([]byte, 1+r.IntN(20))
		if r.IntN(50) == 0 {
			name = make([]byte, r.IntN(260))
		}
		few := 6 + r.IntN(len(some)-6)
		for i := range name {
			if name[i] = some[len(some)-1-r.IntN(few)]; r.IntN(2) == 0 {
				name[i] = some[r.IntN(len(some))]
			}
		}
		got, ok := appendNormal([]byte("kept"), name)
		want := strings.TrimSuffix(lower(string(name)), ".")
		last := want[strings.LastIndexByte(want, '.')+1:]
		fine := len(want) <= maxName && validName.MatchString(want) && !number.MatchString(last)
		if !fine {
			want = ""
		} else {
			valid++
		}
		if string(got) != "kept"+want || ok != fine {
			t.Fatalf("%q: %q %v, want %q", name, got[4:], ok, want)
		}
	}
	if valid < 1000 {
		t.Errorf("only %d are valid", valid)
	}
}

var number = regexp.MustCompile(`\A([0-9]+|0x[0-9a-f]*)\z`)

func TestTrimPort(t *testing.T) {
	for in, want := range map[string]string{
		"a.de": "a.de", " \ta.de:80\t": "a.de", "a.de:": "a.de", "a.de:8x": "a.de:8x",
		"a:b:80": "a:b", ":80": "", "": "", "443": "443",
	} {
		if got := trimPort([]byte(in)); string(got) != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

var validName = regexp.MustCompile(`\A[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\z`)

// checkName fails the test where a name that came out is no valid one.
func checkName(t *testing.T, name []byte) {
	t.Helper()
	if len(name) > 253 || !validName.Match(name) {
		t.Fatalf("%q is no valid name", name)
	}
	again, ok := appendNormal(nil, name)
	if !ok || string(again) != string(name) {
		t.Fatalf("%q is not its own normal form: %q", name, again)
	}
}

// checkHarvest fails the test where something in h is out of its bounds.
func checkHarvest(t *testing.T, h *Harvest) {
	t.Helper()
	for _, w := range h.Owns {
		checkName(t, h.Text[w.NameStart:w.NameEnd])
	}
	seen := map[Hint]bool{}
	for _, i := range h.Hints {
		if seen[i] || i.Kind.String() == "" {
			t.Fatalf("hint %+v", i)
		}
		seen[i] = true
	}
	for _, c := range h.Covers {
		checkName(t, h.Text[c.NameStart:c.NameEnd])
	}
	for _, f := range h.Facts {
		checkName(t, h.Text[f.NameStart:f.NameEnd])
		if !learnable(netip.AddrFrom16(f.Address).Unmap().AsSlice()) {
			t.Fatalf("learned %v", f.Address)
		}
		if f.OwnerEnd > f.OwnerStart {
			checkName(t, h.Text[f.OwnerStart:f.OwnerEnd])
		}
	}
}

func FuzzNormal(f *testing.F) {
	f.Add([]byte("Www.Example.COM."))
	f.Fuzz(func(t *testing.T, b []byte) {
		if name, ok := appendNormal(nil, b); ok {
			checkName(t, name)
		}
	})
}
