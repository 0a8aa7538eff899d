package server

import (
	"bytes"
	"fmt"
	"regexp"
	"testing"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// interrupted is a store whose writers always use the chance when a reader breathes.
type interrupted struct {
	*memory
	write func()
}

func (i *interrupted) read(f func(*state)) {
	i.memory.read(func(st *state) {
		breathe := st.breathe
		st.breathe = func(meanwhile func()) {
			breathe(func() {
				meanwhile()
				i.write()
			})
		}
		f(st)
	})
}

// A window that comes while its sensor is copied is shown in all of the sensor's
// series or in none; it waits for atATime of them, or where windows come all the
// time, for the sensor.
func TestScrapeIsOfOneMoment(t *testing.T) {
	const domains = 5 * atATime
	for _, most := range []int{0, 1, 2, 3, 1000} { // windows that come meanwhile
		s := testService(t, nil)
		store := &interrupted{memory: s.store.(*memory)}
		s.store = store
		sequence := uint64(0)
		push := func() {
			sequence++
			w := next("h", aLog, sequence, chainOf(aLog, sequence-1))
			for i := range domains {
				w.Rows = append(w.Rows, domainRow(fmt.Sprintf("www%d.example.com", i), 1, 1))
			}
			w.Rows = append(w.Rows, rowOf(&netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Item: "frames_total"}, func(c *netmonpb.Counters) { c.Value = 1 }))
			mustTake(t, s, windowRequest(w))
		}
		push()
		store.write = func() {
			if sequence <= uint64(most) {
				push()
			}
		}
		var body bytes.Buffer
		p := newPicture(families())
		p.take(s)
		if err := (&renderer{families: families()}).render(&output{to: &body}, p); err != nil {
			t.Fatal(err)
		}
		for family, per := range map[string]uint64{
			"network_domain_bytes_sent_total": 1, "network_domain_bytes_received_total": 1, "netmon_frames_total": 1,
			"network_attributed_bytes_total": 2 * domains,
		} {
			lines := regexp.MustCompile(`(?m)^`+family+`\{.*\} (\d+)$`).FindAllStringSubmatch(body.String(), -1)
			if len(lines) != domains && len(lines) != 1 {
				t.Errorf("%d windows meanwhile: %s has %d series", most, family, len(lines))
			}
			for _, line := range lines {
				if want := fmt.Sprint(per * p.sum.sensors[0].watermark); line[1] != want {
					t.Fatalf("%d windows meanwhile: %s, the others say %s", most, line[0], want)
				}
			}
		}
		if came := int(sequence) - 1; came != min(most, attempts) {
			t.Errorf("%d windows came meanwhile, of %d", came, most)
		}
	}
}
