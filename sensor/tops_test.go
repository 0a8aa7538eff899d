package sensor

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/sensor/internal/windowlog"
)

// TestTopTag answers who has the newest totals that they are still the newest.
func TestTopTag(t *testing.T) {
	log := windowlog.NewMemory(windowlog.MemoryOptions{SensorID: "lab"})
	s := &status{log: log}
	ask := func(query, tag string) (code int, newTag, end, body string) {
		r := httptest.NewRequest("GET", "/api/v1/domains"+query, nil)
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		w := httptest.NewRecorder()
		s.serveTop(w, r, "domains", tops()["domains"])
		return w.Code, w.Header().Get("ETag"), w.Header().Get("Netmon-Window-End"), w.Body.String()
	}
	seen := map[string]bool{}
	tag := ""
	for end := uint64(1); end < 4; end++ {
		c := &netmonpb.Counters{BytesSent: 40, PacketsSent: 1, Connections: 1}
		if err := log.Append(&netmonpb.Window{EndNs: end, Rows: []*netmonpb.Row{
			{Key: &netmonpb.Key{View: netmonpb.View_VIEW_DOMAINS, Domain: "a.example"}, Counters: c},
			{Key: &netmonpb.Key{View: netmonpb.View_VIEW_ADDRESSES, Address: []byte{192, 0, 2, 1}}, Counters: c},
			{Key: &netmonpb.Key{View: netmonpb.View_VIEW_PROTOCOLS, Protocol: 6}, Counters: c},
		}}); err != nil {
			t.Fatal(err)
		}
		code, newTag, at, body := ask("", tag)
		if code != 200 || seen[newTag] || newTag == "" || at != string('0'+rune(end)) || !strings.Contains(body, "a.example") {
			t.Errorf("window %d: %d, tag %s, end %s: %s", end, code, newTag, at, body)
		}
		tag, seen[newTag] = newTag, true
		if code, again, _, body := ask("", tag); code != 304 || again != tag || body != "" {
			t.Errorf("window %d again: %d, tag %s: %s", end, code, again, body)
		}
	}
	if code, _, _, _ := ask("?limit=0", tag); code != 400 {
		t.Errorf("a bad question with a good tag: %d", code)
	}
}
