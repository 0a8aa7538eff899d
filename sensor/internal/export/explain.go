package export

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/netmon-sensor/netmon/plugins"
)

// explainStart says why there was no handshake; go-plugin's own words are for
// those who know go-plugin.
func (p *process) explainStart(ctx context.Context, err error) error {
	r := p.runner
	r.mu.Lock()
	first, spoke := r.first, r.spoke
	r.mu.Unlock()
	parts := strings.Split(first, "|")
	switch {
	case isHandshake(first) && parts[1] != strconv.Itoa(plugins.ProtocolVersion):
		return fmt.Errorf("it speaks version %s of the exporter protocol, this sensor version %d: install an exporter of the sensor's release",
			parts[1], plugins.ProtocolVersion)
	case isHandshake(first):
		return err
	case spoke:
		return fmt.Errorf("it printed %q where the handshake belongs: it is no exporter, or prints to standard output before plugins.Serve", clip(first))
	}
	return p.explain(ctx, err)
}

// explain prefers the reason why a call failed to how it failed.
func (p *process) explain(ctx context.Context, err error) error {
	switch s, ok := status.FromError(err); {
	case !ok, s.Code() == codes.Unavailable, s.Code() == codes.Canceled, s.Code() == codes.DeadlineExceeded:
		select {
		case <-p.runner.done:
		case <-ctx.Done():
		case <-time.After(time.Second): // a connection breaks before the process is seen to die, or our time is up
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case isClosed(p.runner.done):
		if p.runner.exit != nil && p.runner.ID() == "0" {
			return p.runner.exit // it never ran
		}
		return p.runner.death()
	}
	if s, ok := status.FromError(err); ok {
		return errors.New(clean(s.Message()))
	}
	return err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func clip(text string) string {
	if len(text) > 80 {
		return text[:80] + "..."
	}
	return text
}
