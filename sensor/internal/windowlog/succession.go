package windowlog

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
	"github.com/netmon-sensor/netmon/proto/rows"
)

// succession is what a sensor that goes on with a log has to say on behalf of the
// one before it, whose views are gone: the rows of the log that the new views do
// not know. Append's caller owns it.
//
// The first window ends the gauges and says for how long nothing was counted. The
// other rows stay, so that a counter goes on where it was, until the views use
// their keys again or the idle timeout is over. So the totals have at most twice
// the rows of the views.
type succession struct {
	heirless map[string]*netmonpb.Row // inherited, not used since
	maxRows  int                      // of a view
	idle     int64                    // nanoseconds
	opened   int64                    // Unix nanoseconds
	ended    int64                    // of the last window before
	clean    bool                     // the sensor before was stopped, not killed
	began    bool
}

// inherit notes the rows of the log.
func (s *succession) inherit(all []*netmonpb.Row) {
	s.heirless = make(map[string]*netmonpb.Row, len(all))
	for _, r := range all {
		if !standsForMany(r.Key) {
			s.heirless[rows.Key(r.Key)] = r
		}
	}
}

// standsForMany tells (other), (retired) and their like, which never retire.
func standsForMany(k *netmonpb.Key) bool {
	return strings.HasPrefix(k.Domain, "(") || strings.HasPrefix(k.Item, "(")
}

// speak adds to a window what is to be said with it.
func (s *succession) speak(w *netmonpb.Window) {
	if s.heirless == nil {
		return
	}
	for _, r := range w.Rows {
		delete(s.heirless, rows.Key(r.Key))
	}
	end := func(key string, r *netmonpb.Row) {
		w.Rows = append(w.Rows, &netmonpb.Row{Key: r.Key, Retired: true})
		delete(s.heirless, key)
	}
	if !s.began {
		s.began = true
		s.tellGap(w)
		for key, r := range s.heirless {
			if r.Gauge != nil {
				end(key, r)
			}
		}
		s.crop(end)
	}
	if s.idle > 0 && int64(w.EndNs)-s.opened >= s.idle {
		for key, r := range s.heirless {
			if r.Key.View != netmonpb.View_VIEW_SENSOR { // a few, and none of them idles
				end(key, r)
			}
		}
		s.heirless = nil
	}
}

// tellGap counts the time in which there was no sensor, or none that got as far as
// the log, in whole seconds begun.
func (s *succession) tellGap(w *netmonpb.Window) {
	gap := max(s.opened, int64(w.StartNs)) - s.ended
	if gap <= 0 {
		gap = 0
	}
	detail := "killed"
	if s.clean {
		detail = "stopped"
	}
	for item, n := range map[string]uint64{"log_gaps_total": 1, "log_gap_seconds_total": uint64((gap + int64(time.Second) - 1) / int64(time.Second))} {
		w.Rows = append(w.Rows, &netmonpb.Row{
			Key:      &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Item: item, Detail: detail},
			Counters: &netmonpb.Counters{Value: n},
		})
	}
}

// crop ends the lightest of the inherited rows of each view beyond its budget:
// sensors that are killed one after the other must not make the log grow.
func (s *succession) crop(end func(string, *netmonpb.Row)) {
	views := map[netmonpb.View][]string{}
	for key, r := range s.heirless {
		views[r.Key.View] = append(views[r.Key.View], key)
	}
	weight := func(key string) uint64 {
		c := s.heirless[key].GetCounters()
		return c.GetBytesSent() + c.GetBytesReceived() + c.GetDnsQueries()
	}
	for view, keys := range views {
		if excess := len(keys) - s.maxRows; excess > 0 && view != netmonpb.View_VIEW_SENSOR {
			slices.SortFunc(keys, func(a, b string) int {
				return cmp.Or(cmp.Compare(weight(a), weight(b)), strings.Compare(a, b))
			})
			for _, key := range keys[:excess] {
				end(key, s.heirless[key])
			}
		}
	}
}
