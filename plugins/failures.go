package plugins

import (
	"context"
	"maps"
	"strings"
	"sync"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	maxReasons   = 32 // that are told apart
	maxReason    = 32 // bytes of one
	otherReason  = "other"
	exportFailed = "export"
)

// failures counts attempts to deliver that failed, of all instances of an exporter.
type failures struct {
	mu sync.Mutex // guards n
	n  map[string]uint64
}

func (f *failures) note(reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == nil {
		f.n = map[string]uint64{}
	}
	_, known := f.n[reason]
	if !known && (len(f.n) >= maxReasons-1 || len(reason) == 0 || len(reason) > maxReason || strings.Trim(reason, "abcdefghijklmnopqrstuvwxyz_") != "") {
		reason = otherReason
	}
	f.n[reason]++
}

func (f *failures) all() map[string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.n)
}

func (s *service) Failures(context.Context, *netmonpb.FailuresRequest) (*netmonpb.FailuresResponse, error) {
	return &netmonpb.FailuresResponse{ByReason: s.failures.all()}, nil
}
