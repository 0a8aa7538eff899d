// Package top shows in a terminal who a host talks to at the moment: the domains,
// addresses and protocols that a sensor or a server lists, with rates. It asks over
// HTTP, as anybody could, and is no part of a running sensor.
package top

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/netmon-sensor/netmon/proto/rows"
)

// Bounds of what is asked for and read.
const (
	maxRows    = 10_000   // what an answer may list: the API's own bound
	maxAnswer  = 32 << 20 // bytes of an answer
	maxSecret  = 64 << 10 // bytes of a token file
	askTimeout = 10 * time.Second
)

// views are the lists that there are, as the API and the flags call them.
func views() []string { return []string{"domains", "addresses", "protocols"} }

// Peer says whom to ask. The token is sent to nobody else: redirects are not
// followed.
type Peer struct {
	URL       string // of a sensor's status listener or a server
	Host      string // one sensor of a server; "": all
	Token     string // sent as a bearer token; "": none
	TokenFile string // where Token is read from
	CAFile    string // PEM certificates to trust instead of the system's
}

// source asks a peer.
type source struct {
	client *http.Client
	base   *url.URL
	shown  string // base without password
	host   string
	token  string

	mu     sync.Mutex // guards newest: a question may outlive its round
	newest map[string]tagged
}

// tagged is the newest answer about a view, with the tag by which the peer tells
// whether it has a newer one.
type tagged struct {
	tag string
	*sample
}

func newSource(p Peer) (*source, error) {
	base, err := url.Parse(p.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("-url %q: want http://HOST:PORT or https://HOST:PORT", shownURL(base, p.URL))
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	s := &source{newest: map[string]tagged{}, base: base, shown: base.Redacted(), host: p.Host, token: strings.TrimSpace(p.Token)}
	if p.TokenFile != "" {
		text, err := readFile(p.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("-token-file: %w", err)
		}
		s.token = strings.TrimSpace(string(text))
	}
	if strings.ContainsFunc(s.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("the token has spaces, line ends or letters beyond ASCII in it")
	}
	if s.token != "" && base.Scheme == "http" && !loopback(base.Hostname()) {
		return nil, fmt.Errorf("a token for %s would be readable on its way: use https", s.shown)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if p.CAFile != "" {
		text, err := readFile(p.CAFile)
		if err != nil {
			return nil, fmt.Errorf("-ca-file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("-ca-file: %s has no certificate in PEM", p.CAFile)
		}
	}
	if loopback(base.Hostname()) {
		transport.Proxy = nil
	}
	s.client = &http.Client{
		Transport: transport, Timeout: askTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// shownURL is what may be repeated of something that is no good URL.
func shownURL(u *url.URL, text string) string {
	if u != nil {
		return u.Redacted()
	}
	_, after, found := strings.Cut(text, "@")
	if found {
		return "..." + after
	}
	return text
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(text) > maxSecret {
		err = fmt.Errorf("%s has more than %d bytes", path, maxSecret)
	}
	return text, err
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// item is one row of an answer.
type item struct {
	Domain   string `json:"domain"`
	Address  string `json:"address"`
	Protocol string `json:"protocol"`
	rows.Volume
}

// A sample is what a peer has counted so far, by name.
type sample struct {
	at    time.Time // of these totals: the end of the sensor's newest window, else when the answer came
	rows  map[string]rows.Volume
	whole bool // no row is missing
	total int  // rows that there are
	sum   rows.Volume
}

// windowEnd is the header in which a sensor says when its newest window ended, in
// nanoseconds since 1970.
const windowEnd = "Netmon-Window-End"

// ask fetches the totals of a view. The error names the peer.
func (s *source) ask(ctx context.Context, view string) (*sample, error) {
	found, err := s.fetch(ctx, view)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.shown, err)
	}
	return found, nil
}

func (s *source) fetch(ctx context.Context, view string) (*sample, error) {
	u := s.base.JoinPath("/api/v1", view)
	query := url.Values{"limit": {strconv.Itoa(maxRows)}}
	if s.host != "" {
		query.Set("host", s.host)
	}
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	s.mu.Lock()
	known := s.newest[view]
	s.mu.Unlock()
	if known.tag != "" {
		request.Header.Set("If-None-Match", known.tag)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, cause(err)
	}
	defer answer.Body.Close()
	body := io.LimitReader(answer.Body, maxAnswer)
	if answer.StatusCode == http.StatusNotModified && known.tag != "" {
		return known.sample, nil
	}
	if answer.StatusCode != http.StatusOK {
		return nil, refusal(answer.StatusCode, body)
	}
	var list struct {
		Domains, Addresses, Protocols []item
		Total                         *int
		Sum                           rows.Volume
	}
	if err := json.NewDecoder(body).Decode(&list); err != nil || list.Total == nil {
		return nil, errors.New("the answer is no list of traffic: is this a netmon sensor or server?")
	}
	out := &sample{at: time.Now(), rows: map[string]rows.Volume{}, total: *list.Total, sum: list.Sum}
	if ns, err := strconv.ParseInt(answer.Header.Get(windowEnd), 10, 64); err == nil && ns > 0 {
		out.at = time.Unix(0, ns)
	}
	for _, items := range [][]item{list.Domains, list.Addresses, list.Protocols} {
		for i := range items {
			one := &items[i]
			out.rows[one.Domain+one.Address+one.Protocol] = one.Volume
		}
	}
	out.whole = len(out.rows) >= out.total
	s.mu.Lock()
	s.newest[view] = tagged{answer.Header.Get("ETag"), out}
	s.mu.Unlock()
	return out, nil
}

// cause is an error of the client without the URL, whose query says nothing.
func cause(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("no answer within %v", askTimeout)
	}
	return err
}

// refusal is what a peer that does not answer says why.
func refusal(status int, body io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(body, 4096))
	if err != nil {
		text = nil
	}
	var envelope struct{ Error struct{ Message string } }
	why := strings.TrimSpace(string(text))
	if json.Unmarshal(text, &envelope) == nil && envelope.Error.Message != "" {
		why = envelope.Error.Message
	}
	why, _, _ = strings.Cut(why, "\n")
	if len(why) > 200 {
		why = why[:200]
	}
	help := ""
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		help = " (give a token: -token-file FILE, or NETMON_TOKEN in the environment)"
	}
	return fmt.Errorf("refused with %d %s: %s%s", status, http.StatusText(status), Clean(why), help)
}
