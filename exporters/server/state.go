package server

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	// liveLogs of a sensor keep their rows apart, so that a snapshot can replace
	// them: the log in use, and the one before it, of which a last window may
	// still be under way. Older ones are folded into what the series say.
	liveLogs = 2

	// keptLogs of a sensor are remembered with their watermark, so that nothing
	// of them is counted twice.
	keptLogs = 64

	// spareRows is the room for rows (other) beyond a budget.
	spareRows = 4096

	otherName    = "(other)"
	unattributed = "(unattributed)"
)

// state is what a server knows of its sensors. It is plain data under the
// store's lock: writers have it alone, readers share it.
type state struct {
	limits  limits
	now     func() time.Time
	sensors []*sensor // sorted by id; replaced, never changed, as readers that breathe go on with it
	rows    int       // of all sensors
	room    room      // of the change at hand
	// listening is since when sensors can be heard; zero: for ever.
	listening time.Time
	scratch   []byte // of writers
	// breathe is for readers who go on afterwards: what they found so far is of the
	// moment before. It calls its argument without the lock.
	breathe func(meanwhile func())
	// Rows that found no room and were added to rows (other), and series that gave
	// their name up, in this process.
	overflowed, buried uint64
}

// room is how many rows a sensor may have; what is beyond adds to rows (other).
type room struct {
	log    int // in one log
	sensor int // in all its logs: what other sensors leave of the bound for all
}

// sensor is everything that is exported under one label host.
type sensor struct {
	id     string
	logs   []*log // the newest last
	groups [numGroups]group
	series int               // in all groups and items
	rows   int               // in all logs
	steps  uint64            // changes so far
	sums   sums              // of everything that was added
	items  map[string]*group // the view `sensor`, by item
	seen   time.Time
	about  []byte // what it said of itself in its last heartbeat
}

// log is the effect of windows 1..watermark.
type log struct {
	id          string
	watermark   uint64
	chain       []byte
	ledger      *uint64           // bytes that the windows add up to, as the sensor says; nil: it does not
	bytes       map[view]uint64   // that they add up to here
	rows        map[string]*row   // by rows.AppendKey
	parts       map[*series]*part // what this log adds to each series
	end         uint64            // of the newest window, packet time
	step        uint64            // sensor.steps when it was last changed
	sums        sums              // of everything that was added
	folded      bool              // rows of earlier windows are no longer told apart
	conflicting bool
}

type view = netmonpb.View

// row is a key that lives in a log: where its counters go.
type row struct {
	key   string
	parts [maxFeeds]*part
}

// part is what one log adds to one series, through one row or several.
type part struct {
	series *series
	counts counts
	rows   int // of the log that lead here
}

// nothing is what a reader does while writers are let in, if it does nothing.
func nothing() {}

func newState(l limits, now func() time.Time) state {
	return state{limits: l, now: now}
}

// find returns nil for what is not known.
func (s *state) find(id string, logID []byte) (*sensor, *log) {
	sensor := s.sensor(id)
	if sensor == nil {
		return nil, nil
	}
	for _, l := range sensor.logs {
		if l.id == string(logID) {
			return sensor, l
		}
	}
	return sensor, nil
}

func (s *sensor) compare(id string) int { return cmp.Compare(s.id, id) }

// open begins a log that is not known yet.
func (s *state) open(id string, logID []byte) (*sensor, *log) {
	i, known := slices.BinarySearchFunc(s.sensors, id, (*sensor).compare)
	if !known {
		s.sensors = slices.Insert(slices.Clone(s.sensors), i, newSensor(strings.Clone(id)))
	}
	sensor := s.sensors[i]
	l := &log{
		id:    string(logID),
		bytes: map[view]uint64{}, rows: map[string]*row{}, parts: map[*series]*part{},
	}
	sensor.endGauges() // those of the log before are of a process that has ended
	sensor.logs = append(sensor.logs, l)
	s.foldOld(sensor)
	return sensor, l
}

// foldOld folds the logs that did not change for longest, all but liveLogs, and
// forgets all but keptLogs. The newest has not been heard of yet, and stays.
func (s *state) foldOld(sensor *sensor) {
	old := slices.Clone(sensor.logs[:len(sensor.logs)-1])
	slices.SortFunc(old, func(a, b *log) int { return cmp.Compare(a.step, b.step) })
	for i := range max(0, len(old)-liveLogs+1) {
		s.fold(sensor, old[i])
	}
	if len(sensor.logs) > keptLogs {
		sensor.logs = slices.DeleteFunc(sensor.logs, func(l *log) bool { return l == old[0] })
	}
}

// fold makes what a log added part of its sensor's base: the series keep it, but
// which of it came from this log is forgotten.
func (s *state) fold(sensor *sensor, l *log) {
	s.count(sensor, -len(l.rows))
	for series, p := range l.parts {
		series.rows -= p.rows
	}
	clear(l.rows)
	clear(l.parts)
	l.folded = true
}

// count notes that a sensor has n rows more.
func (s *state) count(sensor *sensor, n int) {
	sensor.rows += n
	s.rows += n
}

// empty takes out of the series what a log added to them.
func (s *state) empty(sensor *sensor, l *log) {
	s.count(sensor, -len(l.rows))
	sensor.sums.subtract(&l.sums)
	l.sums = sums{}
	for series, p := range l.parts {
		series.rows -= p.rows
		series.counts.subtract(&p.counts)
	}
	clear(l.rows)
	clear(l.parts)
	clear(l.bytes)
}

// sensor returns nil for one that is not known.
func (s *state) sensor(id string) *sensor {
	if i, known := slices.BinarySearchFunc(s.sensors, id, (*sensor).compare); known {
		return s.sensors[i]
	}
	return nil
}

// adopt takes in a sensor that was decoded, in place of the one held.
func (s *state) adopt(one *sensor) {
	s.remove(one.id)
	i, _ := slices.BinarySearchFunc(s.sensors, one.id, (*sensor).compare)
	s.sensors = slices.Insert(slices.Clone(s.sensors), i, one)
	s.rows += one.rows
}

// remove is store.remove.
func (s *state) remove(id string) (known bool) {
	i, known := slices.BinarySearchFunc(s.sensors, id, (*sensor).compare)
	if known {
		s.rows -= s.sensors[i].rows
		s.sensors = slices.Delete(slices.Clone(s.sensors), i, i+1)
	}
	return known
}

// heartbeat is store.heartbeat.
func (s *state) heartbeat(id string, about []byte) (known bool) {
	sensor := s.sensor(id)
	if sensor == nil {
		return false
	}
	sensor.seen = s.now()
	if about != nil {
		sensor.about = slices.Clone(about)
	}
	return true
}

// grace is how long after its start a server forgets nobody: while it was away no
// sensor could be heard.
const grace = 10 * time.Minute

// isSilent tells whether a sensor was not heard of for so long that it is to be
// forgotten.
func (s *state) isSilent(sensor *sensor) bool {
	now := s.now()
	return s.limits.forgetAfter > 0 && sensor.seen.Before(now.Add(-s.limits.forgetAfter)) && s.listening.Before(now.Add(-grace))
}

// silent lists the sensors that are to be forgotten.
func (s *state) silent() (ids []string) {
	for _, sensor := range s.sensors {
		if s.isSilent(sensor) {
			ids = append(ids, sensor.id)
		}
	}
	return ids
}
