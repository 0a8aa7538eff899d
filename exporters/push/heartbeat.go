package push

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/netmon-sensor/netmon/plugins"
)

// maxAddresses of this machine are told.
const maxAddresses = 16

// beats tells the server every now and then that the sensor lives, also while
// windows wait. They carry no data: what becomes of one matters to nobody.
type beats struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

func (b *beats) begin(e *Exporter, host plugins.Host) {
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	target := heartbeatURL(e.config.URL)
	if e.config.Heartbeat == 0 || target == "" {
		return
	}
	started := time.Now()
	b.done.Go(func() {
		tick := time.NewTicker(e.config.Heartbeat)
		defer tick.Stop()
		for {
			if err := e.beat(ctx, target, host, started); err != nil && ctx.Err() == nil {
				e.failed(missedBeat)
				e.logger.Debug("heartbeat failed", "url", withoutSecrets(target), "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

func (b *beats) end() {
	b.stop()
	b.done.Wait()
}

// heartbeatURL is beside the URL for windows, or "" where that does not end as
// netmon's does.
func heartbeatURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || !strings.HasSuffix(u.Path, "/metrics") {
		return ""
	}
	u.Path = strings.TrimSuffix(u.Path, "metrics") + "heartbeat"
	return u.String()
}

func (e *Exporter) beat(ctx context.Context, target string, host plugins.Host, started time.Time) error {
	body, err := json.Marshal(map[string]any{
		"id": host.SensorID, "version": e.version, "start_time": started.UTC(),
		"interval_seconds": host.Interval.Seconds(), "addresses": addresses(),
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	e.introduce(r, "application/json")
	answer, err := e.client.Do(r)
	if err != nil {
		return plainError(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", answer.StatusCode, brief(text))
	}
	return err
}

// addresses are those of this machine that others can reach.
func addresses() []string {
	out := []string{}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return out
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() && len(out) < maxAddresses {
			out = append(out, p.Addr().String())
		}
	}
	return out
}
