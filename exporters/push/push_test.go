package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

var aLog = bytes.Repeat([]byte{0xa1}, 16)

// script is a server that gives the answers it was told to, in order, then the last again.
type script struct {
	answers []reply
	asked   []asked
	start   time.Time
}

type reply struct {
	status int
	header string // Retry-After
	body   string
	err    error
}

type asked struct {
	at      time.Duration
	request *http.Request
	body    []byte
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a := s.answers[min(len(s.asked), len(s.answers)-1)]
	s.asked = append(s.asked, asked{time.Since(s.start), r, body})
	if a.err != nil {
		return nil, a.err
	}
	h := http.Header{}
	if a.header != "" {
		h.Set("Retry-After", a.header)
	}
	return &http.Response{StatusCode: a.status, Header: h, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

// held is the acknowledgement of windows 1..n.
func held(n uint64) reply {
	text, err := protojson.Marshal(&netmonpb.PushResponse{LogId: aLog, Watermark: n, Applied: true})
	if err != nil {
		panic(err)
	}
	return reply{status: 200, body: string(text)}
}

func says(status int, code string, expected int) reply {
	return reply{status: status, body: fmt.Sprintf(`{"error":{"code":%q,"message":"because","expected":%d}}`, code, expected)}
}

// started is an exporter that talks to a script; its pauses are the longest ones.
func started(t *testing.T, s *script, edit func(*Config)) (*Exporter, *bytes.Buffer) {
	t.Helper()
	e := New("test")
	e.config.Heartbeat = 0
	if edit != nil {
		edit(e.config)
	}
	if err := e.Check(""); err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: log, DisableTime: true})
	if err := e.Start(t.Context(), plugins.Host{Logger: logger}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	e.client.Transport = s
	e.jitter = func(limit time.Duration) time.Duration { return limit }
	s.start = time.Now()
	return e, log
}

func window(n uint64) *netmonpb.Window {
	return &netmonpb.Window{LogId: aLog, Sequence: n, SensorId: "h"}
}

func TestBackoff(t *testing.T) {
	refusal := says(400, "INVALID_REQUEST", 0)
	tests := []struct {
		name    string
		answers []reply
		want    []time.Duration // when each post is made
		log     string          // the lines, without time
	}{
		{"at once", []reply{held(1)}, []time.Duration{0}, ""},
		{"held more", []reply{held(9)}, []time.Duration{0}, ""},
		{
			"network", []reply{{err: errors.New("no route")}, {err: errors.New("no route")}, {err: errors.New("no route")}, held(1)},
			[]time.Duration{0, 250 * time.Millisecond, 750 * time.Millisecond, 1750 * time.Millisecond},
			"[WARN]  the server cannot be reached: url=http://localhost:8080/api/v1/metrics cause=\"no route\"\n[INFO]  pushing again: url=http://localhost:8080/api/v1/metrics after=1.75s\n",
		},
		{"longest pause", slicesRepeat(says(500, "INTERNAL_ERROR", 0), 10, held(1)), []time.Duration{
			0, 250e6, 750e6, 1750e6, 3750e6, 7750e6, 15750e6, 31750e6, 61750e6, 91750e6, 121750e6,
		}, ""},
		{"Retry-After", []reply{{status: 429, header: "17"}, {status: 503, header: "2"}, held(1)}, []time.Duration{0, 17 * time.Second, 19 * time.Second}, ""},
		{"Retry-After is bounded", []reply{{status: 503, header: "99999999"}, held(1)}, []time.Duration{0, time.Hour}, ""},
		{"login", []reply{{status: 401}, {status: 401}, held(1)}, []time.Duration{0, 250e6, 750e6}, ""},
		{"another's id", []reply{says(403, "IDENTITY_MISMATCH", 0), held(1)}, []time.Duration{0, 30e9},
			"[ERROR] the server forbids us to push for this sensor: url=http://localhost:8080/api/v1/metrics cause=\"status 403: IDENTITY_MISMATCH: because\"\n[INFO]  pushing again: url=http://localhost:8080/api/v1/metrics after=30s\n"},
		{"refused", []reply{refusal, refusal, held(1)}, []time.Duration{0, 30e9, 60e9},
			"[ERROR] the server refuses what we send: url=http://localhost:8080/api/v1/metrics cause=\"status 400: INVALID_REQUEST: because\"\n[INFO]  pushing again: url=http://localhost:8080/api/v1/metrics after=1m0s\n"},
		{"conflict", []reply{says(409, "CONFLICT", 0), held(1)}, []time.Duration{0, 30e9}, ""},
		{"redirect", []reply{{status: 302}, held(1)}, []time.Duration{0, 30e9}, ""},
		{"a proxy's 200", []reply{{status: 200, body: "<html>"}, held(1)}, []time.Duration{0, 30e9}, ""},
		{"an empty 200", []reply{{status: 200, body: "{}"}, held(1)}, []time.Duration{0, 30e9}, ""},
		{"another log", []reply{{status: 200, body: `{"logId":"AAAA","watermark":"5"}`}, held(1)}, []time.Duration{0, 30e9}, ""},
		{"too little", []reply{{status: 200, body: `{"logId":"oaGhoaGhoaGhoaGhoaGhoQ==","watermark":"0"}`}, held(1)}, []time.Duration{0, 30e9}, ""},
	}
	reasonOf := map[string]string{
		"network": "unreachable", "longest pause": "server_error", "Retry-After": "busy", "Retry-After is bounded": "busy",
		"login": "unauthorized", "another's id": "forbidden", "refused": "refused", "conflict": "conflict", "redirect": "no_netmon",
		"a proxy's 200": "no_netmon", "an empty 200": "no_netmon", "another log": "no_netmon", "too little": "no_netmon",
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: test.answers}
				e, log := started(t, s, nil)
				counted := map[string]int{}
				e.failed = func(reason string) { counted[reason]++ }
				if err := e.Export(t.Context(), window(1)); err != nil {
					t.Fatal(err)
				}
				failures := map[string]int{}
				if n := len(test.answers) - 1; n > 0 { // all but the last
					failures[reasonOf[test.name]] = n
				}
				if !maps.Equal(counted, failures) {
					t.Errorf("counted %v, want %v", counted, failures)
				}
				var got []time.Duration
				for _, a := range s.asked {
					got = append(got, a.at)
				}
				if fmt.Sprint(got) != fmt.Sprint(test.want) {
					t.Errorf("posts at %v, want %v", got, test.want)
				}
				if test.log != "" && log.String() != test.log {
					t.Errorf("log:\n%swant:\n%s", log, test.log)
				}
			})
		})
	}
}

func slicesRepeat(r reply, n int, last reply) []reply {
	var all []reply
	for range n {
		all = append(all, r)
	}
	return append(all, last)
}

func TestRewind(t *testing.T) {
	tests := []struct {
		answer reply
		after  uint64
	}{
		{says(409, "OUT_OF_SEQUENCE", 17), 16},
		{says(409, "OUT_OF_SEQUENCE", 1), 0},
		{says(409, "UNKNOWN_LOG", 0), 0},
	}
	for _, test := range tests {
		e, _ := started(t, &script{answers: []reply{test.answer}}, nil)
		var rewind *plugins.Rewind
		if err := e.Export(t.Context(), window(20)); !errors.As(err, &rewind) || rewind.After != test.after {
			t.Errorf("%s: %v", test.answer.body, err)
		}
	}
}

// TestBackAndForth: two servers behind one address each know nothing of what the
// other was sent. That must not become a loop at full speed.
func TestBackAndForth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []reply{says(409, "UNKNOWN_LOG", 0)}}
		e, log := started(t, s, nil)
		circles := 0
		e.failed = func(reason string) {
			if reason == "circling" {
				circles++
			}
		}
		for range 10 {
			var rewind *plugins.Rewind
			if err := e.Export(t.Context(), window(20)); !errors.As(err, &rewind) {
				t.Fatal(err)
			}
		}
		if last := s.asked[9].at; last < 15*time.Second {
			t.Errorf("ten rewinds within %v", last)
		}
		if n := strings.Count(log.String(), "back and forth"); n != 1 {
			t.Errorf("said %d times:\n%s", n, log)
		}
		if circles != 10-freeRewinds {
			t.Errorf("counted %d times", circles)
		}
	})
}

// TestPauseOutlivesTheCall: the SDK ends a call after a minute and makes another
// with the same window; the server's wish to be left alone still holds.
func TestPauseOutlivesTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []reply{{status: 503, header: "100"}, held(1)}}
		e, _ := started(t, s, nil)
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			err := e.Export(ctx, window(1))
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		if err := e.Export(t.Context(), window(1)); err != nil {
			t.Fatal(err)
		}
		if len(s.asked) != 2 || s.asked[1].at != 100*time.Second {
			t.Errorf("%d posts, the last at %v", len(s.asked), s.asked[len(s.asked)-1].at)
		}
	})
}

func TestFullJitter(t *testing.T) {
	var sum time.Duration
	for range 1000 {
		d := fullJitter(time.Second)
		if d < 0 || d > time.Second {
			t.Fatal(d)
		}
		sum += d
	}
	if mean := sum / 1000; mean < 400*time.Millisecond || mean > 600*time.Millisecond {
		t.Errorf("the mean is %v", mean)
	}
}

// TestRequest looks at what is sent.
func TestRequest(t *testing.T) {
	for _, compression := range []string{"zstd", "none"} {
		for _, auth := range []*Auth{nil, {Username: "u", Password: "p"}, {BearerToken: "t"}} {
			s := &script{answers: []reply{held(7)}}
			e, _ := started(t, s, func(c *Config) { c.Compression, c.Auth = compression, auth })
			snapshot := &netmonpb.Snapshot{LogId: aLog, Sequence: 7, SensorId: "h"}
			if err := e.Install(t.Context(), snapshot); err != nil {
				t.Fatal(err)
			}
			r, body := s.asked[0].request, s.asked[0].body
			if compression == "zstd" {
				d, err := zstd.NewReader(bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if body, err = io.ReadAll(d); err != nil {
					t.Fatal(err)
				}
				d.Close()
			}
			var got netmonpb.PushRequest
			if err := proto.Unmarshal(body, &got); err != nil || !proto.Equal(got.GetSnapshot(), snapshot) {
				t.Errorf("%s: %v %v", compression, &got, err)
			}
			wantAuth := ""
			switch {
			case auth != nil && auth.BearerToken != "":
				wantAuth = "Bearer t"
			case auth != nil:
				wantAuth = "Basic dTpw"
			}
			if h := r.Header; r.Method != "POST" || h.Get("Content-Type") != "application/x-protobuf" || h.Get("Authorization") != wantAuth ||
				(h.Get("Content-Encoding") == "zstd") != (compression == "zstd") || h.Get("User-Agent") != "netmon-exporter-push/test" {
				t.Errorf("%s %v", r.Method, h)
			}
		}
	}
}
