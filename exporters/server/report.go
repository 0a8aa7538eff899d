package server

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// A report is the plain JSON that agents of go-net-monitoring post: cumulative
// numbers since the agent began. It becomes a snapshot of a log of its own, which
// replaces what the reports before it said, so that no repeat and no loss of one
// changes a total, whatever the store. The log is named by the agent and the
// report that began it; its sequence is the report's time in microseconds. When a
// number goes down the agent was restarted, and the report begins another log.
type report struct {
	AgentID   string    `json:"agent_id"`
	Hostname  string    `json:"hostname"`
	Timestamp time.Time `json:"timestamp"`
	Metrics   *figures  `json:"metrics"`
}

// figures are nil where the agent says nothing, which is not the same as 0.
type figures struct {
	Timestamp       time.Time                 `json:"timestamp"`
	HostID          string                    `json:"host_id"`
	Hostname        string                    `json:"hostname"`
	Interface       string                    `json:"interface"`
	Connections     *amount                   `json:"total_connections"`
	BytesSent       *amount                   `json:"total_bytes_sent"`
	BytesReceived   *amount                   `json:"total_bytes_received"`
	PacketsSent     *amount                   `json:"total_packets_sent"`
	PacketsReceived *amount                   `json:"total_packets_received"`
	Domains         map[string]amount         `json:"domains_accessed"`
	IPs             map[string]amount         `json:"ips_accessed"`
	Protocols       map[string]amount         `json:"protocol_stats"` // packets
	Ports           map[string]amount         `json:"port_stats"`
	Traffic         map[string]*domainTraffic `json:"domain_traffic"`
	Processes       []process                 `json:"top_processes"`
	Events          []json.RawMessage         `json:"events"` // single packets; they are in the sums already
}

type domainTraffic struct {
	BytesSent       *amount `json:"bytes_sent"`
	BytesReceived   *amount `json:"bytes_received"`
	PacketsSent     *amount `json:"packets_sent"`
	PacketsReceived *amount `json:"packets_received"`
	Connections     *amount `json:"connections"`
}

type process struct {
	Name          string `json:"process_name"`
	Connections   amount `json:"connections"`
	BytesSent     amount `json:"bytes_sent"`
	BytesReceived amount `json:"bytes_received"`
}

// amount is a count as JSON writes it, 150 as well as 1.5e2.
type amount uint64

func (a *amount) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil || f < 0 || f != math.Trunc(f) || f >= 1<<53 {
			return fmt.Errorf("%s is no whole number from 0 to 2^60", brief(string(text)))
		}
		n = uint64(f)
	}
	if n >= maxDelta {
		return fmt.Errorf("%d is not below 2^60", n)
	}
	*a = amount(n)
	return nil
}

// receiveReport takes one report. Every field that has no place here is counted.
func (s *service) receiveReport(w http.ResponseWriter, r *http.Request, body []byte) error {
	p, err := parseReport(body, r.Header)
	if err != nil {
		return err
	}
	id := reporter(p.AgentID, p.Hostname)
	now := s.now()
	if p.Timestamp.IsZero() {
		p.Timestamp = now
	}
	if err := p.check(id, now); err != nil {
		return err
	}
	m := p.Metrics
	n := len(m.Domains) + len(m.IPs) + len(m.Protocols) + len(m.Ports) + len(m.Traffic) + 3*len(m.Processes)
	if n > maxRequestRows {
		return refuse(codeTooLarge, "%d entries are more than %d", n, maxRequestRows)
	}
	if err := s.mayPush(r, id, n, len(body)); err != nil {
		return err
	}
	s.reporting.Lock() // what is held must not change between the look at it and the step
	defer s.reporting.Unlock()
	snapshot, unmapped := s.snapshotOf(p, id)
	held, err := s.take(r.Context(), &netmonpb.PushRequest{Item: &netmonpb.PushRequest_Snapshot{Snapshot: snapshot}})
	if err != nil {
		return err
	}
	message := "Metrics held already"
	if held.applied {
		message = "Metrics received successfully"
		s.unmapped.add(unmapped)
	}
	s.answer(w, http.StatusOK, map[string]any{"success": true, "message": message, "applied": held.applied, "timestamp": now.UTC()})
	return nil
}

// parseReport reads a body: a report, or the figures alone.
func parseReport(body []byte, h http.Header) (*report, error) {
	if err := checkJSON(body); err != nil {
		return nil, err
	}
	p := &report{}
	if err := json.Unmarshal(body, p); err != nil {
		return nil, unusable(err)
	}
	if p.Metrics == nil {
		p.Metrics = &figures{}
		if err := json.Unmarshal(body, p.Metrics); err != nil {
			return nil, unusable(err)
		}
	}
	p.AgentID = cmp.Or(p.AgentID, h.Get("X-Agent-ID"), p.Metrics.HostID)
	p.Hostname = cmp.Or(p.Hostname, p.Metrics.Hostname, h.Get("X-Hostname"))
	if p.Timestamp.IsZero() {
		p.Timestamp = p.Metrics.Timestamp
	}
	if p.AgentID == "" && p.Hostname == "" {
		return nil, refuse(codeMissingAgent, "the report says neither agent_id nor hostname")
	}
	if id := h.Get("X-Agent-ID"); id != "" && id != p.AgentID {
		return nil, refuse(codeInvalid, "X-Agent-ID is not the agent_id of the body")
	}
	return p, nil
}

// reporter is the sensor whose series a report adds to: the host, where it is
// named, for agents change their id with every start.
func reporter(agent, hostname string) string { return cmp.Or(hostname, agent) }

func (p *report) check(id string, now time.Time) error {
	if err := checkHead(make([]byte, logIDSize), id, 1, nil); err != nil {
		return refuse(codeInvalid, "hostname or agent_id: %v", err)
	}
	if !printable(p.AgentID, maxText) || !printable(p.Metrics.Interface, maxName) {
		return refuse(codeInvalid, "agent_id or interface is too long or not printable")
	}
	if p.Timestamp.Year() < 2000 || p.Timestamp.After(now.Add(24*time.Hour)) {
		return refuse(codeInvalid, "timestamp is before the year 2000 or more than a day from now")
	}
	return nil
}

// snapshotOf finds the log that a report belongs to, and what it says of it.
func (s *service) snapshotOf(p *report, id string) (snapshot *netmonpb.Snapshot, unmapped map[string]uint64) {
	at := p.Timestamp.UnixMicro()
	logID := reportLog(p.AgentID, p.Metrics.Interface, at)
	s.store.read(func(st *state) {
		held := st.reportLog(id, logID)
		if held != nil {
			m := mapping{held: held, iface: p.Metrics.Interface}
			m.all(p.Metrics)
			if !m.restarted || at <= int64(held.watermark) {
				logID, snapshot, unmapped = []byte(held.id), m.snapshot(), m.unmapped
				return
			}
		}
		m := mapping{iface: p.Metrics.Interface}
		m.all(p.Metrics)
		snapshot, unmapped = m.snapshot(), m.unmapped
	})
	chain := sha256.Sum256(binary.BigEndian.AppendUint64(logID, uint64(at)))
	snapshot.LogId, snapshot.SensorId, snapshot.Sequence, snapshot.Chain = logID[:logIDSize], id, uint64(at), chain[:16]
	snapshot.EndNs, snapshot.CreatedNs = uint64(at)*1000, binary.BigEndian.Uint64(logID[8:])*1000
	return snapshot, unmapped
}

// reportLog names the log of an agent's interface that began at a time.
func reportLog(agent, iface string, began int64) []byte {
	name := sha256.Sum256(fmt.Appendf(nil, "%q %q", agent, iface))
	return binary.BigEndian.AppendUint64(name[:8:8], uint64(began))
}

// reportLog returns the newest log of the same agent that began by then, or else
// its oldest, which holds more than the report says; nil: there is none.
func (s *state) reportLog(id string, want []byte) (found *log) {
	i, known := slices.BinarySearchFunc(s.sensors, id, (*sensor).compare)
	if !known {
		return nil
	}
	var oldest *log
	for _, l := range s.sensors[i].logs {
		if strings.HasPrefix(l.id, string(want[:8])) {
			if l.id <= string(want) && (found == nil || l.id > found.id) {
				found = l
			}
			if oldest == nil || l.id < oldest.id {
				oldest = l
			}
		}
	}
	if found == nil {
		return oldest
	}
	return found
}

const maxDepth = 32

// checkJSON refuses what parsers read in different ways: repeated names, text
// after the end, and values nested beyond reason.
func checkJSON(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	type level struct {
		names map[string]bool // nil in a list
		name  bool            // one comes next
	}
	var open []level
	for n := 0; ; n++ {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF) && len(open) == 0 && n > 0:
			return nil
		case err != nil:
			return unusable(err)
		case len(open) == 0 && n > 0:
			return refuse(codeInvalid, "there is more than one value")
		}
		delim, _ := token.(json.Delim)
		if n := len(open); n > 0 && delim != '}' && delim != ']' && open[n-1].names != nil {
			top := &open[n-1]
			if name, ok := token.(string); ok && top.name {
				if top.names[name] {
					return refuse(codeInvalid, "the name %s is there twice", brief(name))
				}
				top.names[name] = true
			}
			top.name = !top.name
		}
		switch delim {
		case '{':
			open = append(open, level{map[string]bool{}, true})
		case '[':
			open = append(open, level{})
		case '}', ']':
			open = open[:len(open)-1]
		}
		if len(open) > maxDepth {
			return refuse(codeInvalid, "values are nested deeper than %d", maxDepth)
		}
	}
}

func unusable(err error) *refusal {
	return refuse(codeInvalid, "the body is no JSON of this kind: %s", brief(err.Error()))
}
