package server

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"time"
)

// about is what a sensor says of itself; the store keeps it beside the sensor.
type about struct {
	Version   string    `json:"version,omitempty"`
	StartTime time.Time `json:"start_time,omitzero"`
	Interval  float64   `json:"interval_seconds,omitempty"`
	Addresses []string  `json:"addresses,omitempty"`
}

const maxAddresses = 32

// heartbeat is POST /api/v1/heartbeat: the sensor lives. It is no data: a sensor
// that has sent none is not made known by it.
func (s *service) heartbeat(w http.ResponseWriter, r *http.Request) {
	var known bool
	err := s.body(w, r, func(body []byte) (err error) {
		known, err = s.beat(r, body)
		return err
	})
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, http.StatusOK, map[string]any{"success": true, "known": known, "timestamp": s.now().UTC()})
}

func (s *service) beat(r *http.Request, body []byte) (known bool, err error) {
	var beat struct {
		ID       string `json:"id"`
		Hostname string `json:"hostname"`
		IP       string `json:"ip"`
		about
	}
	if err := checkJSON(body); err != nil {
		return false, err
	}
	if err := json.Unmarshal(body, &beat); err != nil {
		return false, unusable(err)
	}
	if beat.Hostname == "" {
		beat.Hostname = r.Header.Get("X-Hostname")
	}
	if beat.ID == "" {
		beat.ID = r.Header.Get("X-Agent-ID")
	}
	id := reporter(beat.ID, beat.Hostname)
	if beat.IP != "" {
		beat.Addresses = append(beat.Addresses, beat.IP)
	}
	if err := checkHead(make([]byte, logIDSize), id, 1, nil); err != nil {
		return false, refuse(codeInvalid, "id or hostname: %v", err)
	}
	if !printable(beat.Version, maxText) {
		return false, refuse(codeInvalid, "version is longer than %d bytes or not printable", maxText)
	}
	if len(beat.Addresses) > maxAddresses || !(beat.Interval >= 0 && beat.Interval < 1e6) {
		return false, refuse(codeInvalid, "more than %d addresses, or an interval out of range", maxAddresses)
	}
	for i, text := range beat.Addresses {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return false, refuse(codeInvalid, "address %d is none", i)
		}
		beat.Addresses[i] = a.String()
	}
	if err := s.mayPush(r, id, 0, len(body)); err != nil {
		return false, err
	}
	text, err := json.Marshal(beat.about)
	if err != nil {
		return false, unusable(err) // a year beyond 9999
	}
	return s.store.heartbeat(r.Context(), id, text)
}
