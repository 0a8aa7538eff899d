package push

import (
	"time"

	"github.com/netmon-sensor/netmon/plugins"
)

// trouble is what keeps the server from taking a window. A change of it is
// logged, and nothing else.
type trouble string

const (
	noTrouble    trouble = ""
	unreachable  trouble = "the server cannot be reached"
	unauthorized trouble = "the server refuses our credentials"
	forbidden    trouble = "the server forbids us to push for this sensor"
	busy         trouble = "the server asks us to wait"
	broken       trouble = "the server has an error"
	refused      trouble = "the server refuses what we send"
	conflicting  trouble = "the server holds other windows under our identity"
	strange      trouble = "what answers is not a netmon server"
	circling     trouble = "the server sends us back and forth"
)

const (
	firstPause = 250 * time.Millisecond
	lastPause  = 30 * time.Second
	longPause  = time.Hour // the most that a Retry-After is obeyed for

	// freeRewinds may follow one another at once: the server was restarted, the
	// snapshot follows, windows follow it. More look like two servers that
	// take turns behind one address.
	freeRewinds = 3
)

// reason is the word under which the sensor counts a trouble.
func (t trouble) reason() string {
	return map[trouble]string{
		unreachable: "unreachable", unauthorized: "unauthorized", forbidden: "forbidden", busy: "busy", broken: "server_error",
		refused: "refused", conflicting: "conflict", strange: "no_netmon", circling: "circling",
	}[t]
}

// missedBeat is the reason for a heartbeat that did not arrive.
const missedBeat = "heartbeat"

// loud says whether it takes a person to end the trouble. It is tried again
// slowly, for the person may have done it.
func (t trouble) loud() bool {
	return t == forbidden || t == refused || t == conflicting || t == strange
}

// answer is what came of one post.
type answer struct {
	trouble    trouble
	err        error           // of the trouble, fit for a log: no secrets, bounded
	rewind     *plugins.Rewind // nil: acknowledged
	retryAfter time.Duration   // what the server asked for

	status int
	body   []byte // of a 200, bounded
}

// note draws the consequences of an answer: the pause before the next post, and
// a line in the log when things have changed.
func (e *Exporter) note(a answer) {
	if a.trouble == noTrouble {
		e.failures = 0
		e.notUntil = time.Time{}
		if a.rewind == nil {
			e.rewinds = 0
		} else if e.rewinds++; e.rewinds > freeRewinds {
			e.notUntil = time.Now().Add(e.jitter(backoff(e.rewinds - freeRewinds)))
			a.trouble, a.err = circling, a.rewind
		}
	} else {
		e.failures++
		pause := lastPause
		if !a.trouble.loud() {
			pause = e.jitter(backoff(e.failures))
		}
		e.notUntil = time.Now().Add(max(pause, min(a.retryAfter, longPause)))
	}
	if a.trouble != noTrouble {
		e.failed(a.trouble.reason())
	}
	e.report(a)
}

// backoff is the longest pause after so many failures in a row.
func backoff(failures int) time.Duration {
	if failures > 10 { // far beyond lastPause
		return lastPause
	}
	return min(firstPause<<(failures-1), lastPause)
}

// report logs a change of state.
func (e *Exporter) report(a answer) {
	if a.trouble == e.trouble {
		return
	}
	switch {
	case a.trouble == noTrouble && a.rewind != nil:
		return // not over before something is acknowledged
	case a.trouble == noTrouble:
		e.logger.Info("pushing again", "url", e.target, "after", time.Since(e.since).Round(time.Millisecond))
	case a.trouble.loud():
		e.logger.Error(string(a.trouble), "url", e.target, "cause", a.err)
	default:
		e.logger.Warn(string(a.trouble), "url", e.target, "cause", a.err)
	}
	if e.trouble == noTrouble {
		e.since = time.Now()
	}
	e.trouble = a.trouble
}
