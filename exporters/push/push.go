// Package push is the exporter `push`: it posts the windows of its sensor to a
// server, one at a time and in order, until the server says that it holds them.
//
// It keeps nothing. After a start it does not know what the server holds: it
// posts what it is given, and the server's answer says where to go on. What the
// server cannot take yet stays in the sensor's log.
package push

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// Exporter posts windows. The SDK calls one method at a time.
type Exporter struct {
	config   *Config
	version  string
	logger   hclog.Logger
	client   *http.Client
	compress *zstd.Encoder // nil: bodies are sent as they are
	target   string        // the URL for log lines
	beats    beats
	jitter   func(limit time.Duration) time.Duration
	failed   func(reason string) // counts for the sensor; from any goroutine

	// What is known of the server. It outlives a call, for the SDK calls again
	// with the same window.
	trouble  trouble   // noTrouble while it takes what it is sent
	since    time.Time // of the trouble
	failures int       // in a row
	rewinds  int       // in a row
	notUntil time.Time // the pause that has been promised
}

// New returns an exporter that has not started.
func New(version string) *Exporter {
	return &Exporter{config: DefaultConfig(), version: version, jitter: fullJitter, failed: func(string) {}}
}

// Plugin describes the program netmon-exporter-push.
func Plugin(version string) plugins.Plugin {
	return plugins.Plugin{
		Type:    "push",
		Version: version,
		Summary: "posts what the sensor counts to a netmon server",
		New:     func() plugins.Exporter { return New(version) },
	}
}

// Config returns a *Config with the defaults.
func (e *Exporter) Config() any { return e.config }

// Check implements plugins.Checker.
func (e *Exporter) Check(baseDir string) error {
	err := e.config.check()
	_, missing := e.config.tlsConfig(baseDir)
	return errors.Join(err, missing)
}

// Start makes the client. It does not try to reach the server: that may come
// later than the sensor.
func (e *Exporter) Start(_ context.Context, host plugins.Host) error {
	security, err := e.config.tlsConfig(host.BaseDir)
	if err != nil {
		return err
	}
	if e.config.Compression == "zstd" {
		e.compress, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
		if err != nil {
			return fmt.Errorf("make zstd encoder: %w", err)
		}
	}
	e.logger = host.Logger
	if host.Failed != nil { // the host may be older
		e.failed = host.Failed
	}
	e.target = withoutSecrets(e.config.URL)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = security
	if e.config.TLS != nil {
		transport.DialTLSContext = e.dialTLS(host.BaseDir)
	}
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 1, 1
	e.client = &http.Client{
		Transport: transport,
		Timeout:   e.config.Timeout,
		// A redirect would turn the post into a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	e.beats.begin(e, host)
	return nil
}

// dialTLS reads the files of the block tls for every connection: what has changed
// since is in use by the next one, and a handshake that fails is followed by one.
func (e *Exporter) dialTLS(baseDir string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		security, err := e.config.tlsConfig(baseDir)
		if err != nil {
			return nil, err
		}
		security.NextProtos = []string{"h2", "http/1.1"}
		return (&tls.Dialer{Config: security}).DialContext(ctx, network, address)
	}
}

// Export posts a window until the server holds it.
func (e *Exporter) Export(ctx context.Context, w *netmonpb.Window) error {
	return e.deliver(ctx, w.LogId, w.Sequence, &netmonpb.PushRequest{Item: &netmonpb.PushRequest_Window{Window: w}})
}

// Install posts a snapshot until the server holds it.
func (e *Exporter) Install(ctx context.Context, s *netmonpb.Snapshot) error {
	return e.deliver(ctx, s.LogId, s.Sequence, &netmonpb.PushRequest{Item: &netmonpb.PushRequest_Snapshot{Snapshot: s}})
}

// Stop ends the connection.
func (e *Exporter) Stop(context.Context) error {
	e.beats.end()
	e.client.CloseIdleConnections()
	if e.compress != nil {
		return e.compress.Close()
	}
	return nil
}

// deliver posts one item until the server acknowledges it, asks to go on
// elsewhere, or ctx ends. Order is kept by not returning before that.
func (e *Exporter) deliver(ctx context.Context, logID []byte, sequence uint64, r *netmonpb.PushRequest) error {
	body, err := proto.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode window %d: %w", sequence, err)
	}
	if e.compress != nil {
		body = e.compress.EncodeAll(body, make([]byte, 0, len(body)/4))
	}
	var last error
	for {
		if err := e.wait(ctx); err != nil {
			return errors.Join(err, last)
		}
		answer := e.post(ctx, body)
		if ctx.Err() != nil && answer.trouble == unreachable {
			return errors.Join(ctx.Err(), last) // that we gave up says nothing about the server
		}
		if answer.trouble == noTrouble {
			answer = judge(answer, logID, sequence)
		}
		e.note(answer)
		switch {
		case answer.trouble != noTrouble:
			last = answer.err
		case answer.rewind != nil:
			return answer.rewind
		default:
			return nil
		}
	}
}

// wait ends when the promised pause is over.
func (e *Exporter) wait(ctx context.Context) error {
	pause := time.Until(e.notUntil)
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// withoutSecrets is the part of a URL that can be shown: a query may hold a key.
func withoutSecrets(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(invalid URL)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// fullJitter spreads the senders that lost the same server.
func fullJitter(limit time.Duration) time.Duration { return rand.N(limit + 1) }
