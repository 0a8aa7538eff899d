package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// pageShot is the picture of the page that the documents show; -update takes it.
const pageShot = "../../docs/images/page.png"

func TestPageFiles(t *testing.T) {
	s := testService(t, nil)
	for path, kind := range map[string]string{"/": "text/html", "/app.js": "text/javascript", "/chart.js": "text/javascript", "/style.css": "text/css"} {
		w := ask(s, "GET", path, nil, nil)
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) || w.Body.Len() == 0 {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": pagePolicy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if w := ask(s, "GET", path, map[string]string{"If-None-Match": w.Header().Get("ETag")}, nil); w.Code != 304 || w.Body.Len() > 0 {
			t.Errorf("%s again: %d, %d bytes", path, w.Code, w.Body.Len())
		}
	}
	for _, word := range []string{"unsafe", "http:", "https:", "*"} {
		if strings.Contains(pagePolicy, word) {
			t.Errorf("the policy has %s in it", word)
		}
	}
}

// TestPageContrast: text can be read on both grounds, 4.5 to 1 as WCAG 2.2 asks.
func TestPageContrast(t *testing.T) {
	style, err := pageFiles.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(style), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d sets of colours", len(blocks))
	}
	for i, scheme := range []string{"light", "dark"} {
		luminance := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z]+): #([0-9a-f]{6});`).FindAllStringSubmatch(blocks[i][1], -1) {
			n, _ := strconv.ParseUint(m[2], 16, 32) // it is six hex digits
			for at, weight := range map[int]float64{16: 0.2126, 8: 0.7152, 0: 0.0722} {
				c := float64(n>>at&0xff) / 255
				if c = c / 12.92; c > 0.04045/12.92 {
					c = math.Pow((c*12.92+0.055)/1.055, 2.4)
				}
				luminance[m[1]] += weight * c
			}
		}
		for _, text := range []string{"text", "muted", "accent", "received", "sent", "good", "warn", "bad"} {
			for _, ground := range []string{"ground", "surface"} {
				a, b := luminance[text]+0.05, luminance[ground]+0.05
				if ratio := max(a, b) / min(a, b); ratio < 4.5 || len(luminance) < 11 {
					t.Errorf("%s: %s on %s has a contrast of %.2f", scheme, text, ground, ratio)
				}
			}
		}
	}
}

// pageFeed is the sensors behind the page. It belongs to one goroutine.
type pageFeed struct {
	t       *testing.T
	s       *service
	random  *rand.Rand
	windows map[string]uint64 // by sensor
}

// push adds what a sensor saw from start to end.
func (f *pageFeed) push(sensor string, start, end time.Time, rows ...*netmonpb.Row) {
	logID := make([]byte, logIDSize)
	copy(logID, sensor)
	f.windows[sensor]++
	n := f.windows[sensor]
	w := next(sensor, logID, n, nil, rows...)
	if n > 1 {
		w.PreviousChain = chainOf(logID, n-1)
	}
	w.StartNs, w.EndNs = uint64(start.UnixNano()), uint64(end.UnixNano())
	if _, err := f.s.take(context.Background(), windowRequest(w)); err != nil {
		f.t.Error(err)
	}
}

func (f *pageFeed) beat(sensor, version string, interval float64, addresses ...string) {
	body, err := json.Marshal(map[string]any{"id": sensor, "version": version, "interval_seconds": interval, "addresses": addresses})
	if err != nil {
		f.t.Fatal(err)
	}
	if w := ask(f.s, "POST", "/api/v1/heartbeat", nil, body); w.Code != 200 {
		f.t.Errorf("heartbeat of %s: %d %s", sensor, w.Code, w.Body)
	}
}

// usual are the rows of an ordinary sensor; load is in MB/s, more or less.
func (f *pageFeed) usual(iface string, load float64, span time.Duration) []*netmonpb.Row {
	type site struct {
		name     string
		sent     float64 // shares of the load
		received float64
		source   netmonpb.NameSource
	}
	const (
		sni, quic, answer, host = netmonpb.NameSource_NAME_SOURCE_SNI, netmonpb.NameSource_NAME_SOURCE_QUIC_SNI,
			netmonpb.NameSource_NAME_SOURCE_DNS_CLIENT, netmonpb.NameSource_NAME_SOURCE_HTTP_HOST
	)
	sites := []site{
		{"video.example.net", 0.01, 0.34, quic}, {"cdn.example.com", 0.01, 0.21, sni}, {"objects.example.org", 0.19, 0.04, sni},
		{"mirror.example.net", 0.002, 0.08, host}, {"www.example.com", 0.01, 0.05, sni}, {"api.example.org", 0.03, 0.03, sni},
		{"registry.example.com", 0.002, 0.04, sni}, {"git.example.org", 0.008, 0.02, answer}, {"mail.example.org", 0.01, 0.01, sni},
		{"meet.example.net", 0.02, 0.02, quic}, {"login.example.com", 0.002, 0.003, sni}, {"telemetry.example.com", 0.006, 0.0004, sni},
		{"updates.example.net", 0.0004, 0.008, host}, {"search.example.org", 0.0007, 0.004, quic}, {"ntp.example.org", 0.00003, 0.00003, answer},
		{"fonts.example.com", 0.0002, 0.002, sni}, {"maps.example.com", 0.0004, 0.003, sni}, {"static.example.org", 0.0002, 0.004, sni},
		{"push.example.net", 0.0003, 0.0003, sni}, {"status.example.com", 0.0002, 0.0005, sni}, {"wiki.example.org", 0.0003, 0.002, sni},
		{"backup.example.net", 0.05, 0.001, answer}, {"chat.example.com", 0.001, 0.002, sni}, {"docs.example.org", 0.0004, 0.003, sni},
		{unattributed, 0.01, 0.02, netmonpb.NameSource_NAME_SOURCE_NONE},
	}
	var rows []*netmonpb.Row
	var all netmonpb.Counters
	out := netmonpb.Direction_DIRECTION_OUTBOUND
	for _, site := range sites {
		scale := load * 1e6 * span.Seconds() * (0.6 + 0.8*f.random.Float64())
		c := netmonpb.Counters{BytesSent: uint64(site.sent * scale), BytesReceived: uint64(site.received * scale)}
		c.PacketsSent, c.PacketsReceived = c.BytesSent/600+1, c.BytesReceived/1200+1
		c.Connections = uint64(f.random.IntN(4)) + uint64(site.received*20)
		c.Accesses = c.Connections / 3
		k := &netmonpb.Key{View: netmonpb.View_VIEW_DOMAINS, Interface: iface, Direction: out, Domain: site.name, NameSource: site.source}
		rows = append(rows, &netmonpb.Row{Key: k, Counters: &c})
		all.BytesSent, all.BytesReceived = all.BytesSent+c.BytesSent, all.BytesReceived+c.BytesReceived
		all.PacketsSent, all.PacketsReceived = all.PacketsSent+c.PacketsSent, all.PacketsReceived+c.PacketsReceived
		all.Connections += c.Connections
	}
	rows = append(rows, &netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_PROTOCOLS, Interface: iface, Direction: out, Protocol: 6, Application: "https"}, Counters: &all})
	dns := func(resolver byte, kind, rcode uint32, n uint64, buckets ...uint64) {
		c := &netmonpb.Counters{DnsQueries: n}
		if rcode != unanswered {
			c.DnsResponses, c.DnsLatency = n, &netmonpb.Histogram{Buckets: buckets, SumNs: n * 9e6}
		}
		rows = append(rows, &netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_DNS, Interface: iface, Address: []byte{192, 0, 2, resolver}, DnsType: kind, DnsRcode: rcode}, Counters: c})
	}
	dns(53, 1, 0, 14, 6, 3, 2, 1, 1, 1)
	dns(53, 28, 0, 9, 4, 2, 1, 1, 1)
	dns(53, 65, 3, 2, 1, 1)
	dns(54, 1, 0, 5, 0, 0, 0, 1, 2, 1, 0, 1)
	dns(54, 28, 2, 1, 0, 0, 0, 0, 0, 0, 1)
	if f.random.IntN(4) == 0 {
		dns(54, 28, unanswered, 1)
	}
	return rows
}

// pageCoverage is the row that says how much of an interface a sensor sees.
func pageCoverage(iface string, ratio float64) *netmonpb.Row {
	return &netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Interface: iface, Item: "coverage_ratio"}, Gauge: &ratio}
}

// an hour of traffic, as of now.
func (f *pageFeed) hour(now time.Time) {
	const span = 20 * time.Second
	for start := now.Add(20*time.Second - time.Hour); start.Before(now); start = start.Add(span) {
		at := now.Sub(start).Minutes()
		wave := 1.7 + math.Sin(at/9) + 0.4*math.Sin(at/2.3)
		if at > 21 && at < 24 {
			wave += 3 // a large transfer
		}
		f.push("web-1", start, start.Add(span), append(f.usual("eth0", 2*wave, span), pageCoverage("eth0", 1))...)
		f.push("gateway", start, start.Add(span), append(f.usual("wan0", 1+wave, span), pageCoverage("wan0", 0.99974), pageCoverage("lan0", 1))...)
		if at > 13 {
			f.push("office", start, start.Add(span), append(f.usual("enp3s0", 0.3*wave, span), pageCoverage("enp3s0", 0.9981))...)
		}
	}
}

// browser is a page in a real Chromium, and what it complained of.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu        sync.Mutex // guards the rest
	asked     []string
	complains []string
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("NETMON_REQUIRE_NET") == "1" {
			t.Fatal("chromium is missing, and NETMON_REQUIRE_NET=1")
		}
		t.Skip("chromium is missing (Debian: apt install chromium)")
	}
	all, stopAll := chromedp.NewExecAllocator(t.Context(), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(30*time.Second),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	ctx, stop := chromedp.NewContext(all)
	b := &browser{t: t, ctx: ctx}
	t.Cleanup(func() {
		stop()
		stopAll()
	})
	err = chromedp.Listen(ctx, func(event any) { // starts the browser

		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			b.asked = append(b.asked, e.Request.URL)
		case *cdpruntime.EventConsoleAPICalled:
			b.complains = append(b.complains, fmt.Sprintf("console.%s", e.Type))
		case *cdpruntime.EventExceptionThrown:
			b.complains = append(b.complains, e.ExceptionDetails.Text+" "+e.ExceptionDetails.URL)
		case *cdplog.EventEntryAdded:
			b.complains = append(b.complains, e.Entry.Text+" "+e.Entry.URL)
		case *cdppage.EventJavascriptDialogOpening:
			b.complains = append(b.complains, "a dialog: "+e.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, cdplog.Enable, cdp.Empty{})
	b.size(1280, 900)
	return b
}

// do does something in the browser, within its time.
func do[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func call[P, R any](b *browser, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	return do(b, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, command, params) })
}

func (b *browser) open(url string) {
	b.t.Helper()
	do(b, chromedp.Navigate(url))
}

func (b *browser) size(width, height int64) {
	b.t.Helper()
	do(b, chromedp.EmulateViewport(width, height))
}

// text is what an expression of JavaScript is.
func (b *browser) text(expression string) string {
	b.t.Helper()
	return do(b, chromedp.Evaluate[string]("String("+expression+")"))
}

// until waits for an expression to be true.
func (b *browser) until(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); b.text(expression) != "true"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("never true: %s\n%s", expression, b.text("location.hash + document.activeElement.outerHTML + document.body.innerText"))
		}
	}
}

func (b *browser) keys(keys string) {
	b.t.Helper()
	do(b, chromedp.KeyEvent(keys))
}

// tab presses it until the focus is on what a selector names.
func (b *browser) tab(selector string) {
	b.t.Helper()
	for range 60 {
		b.keys(kb.Tab)
		if b.text(fmt.Sprintf("document.activeElement.matches(%q)", selector)) == "true" {
			if b.text("getComputedStyle(document.activeElement).outlineStyle") == "none" {
				b.t.Errorf("the focus cannot be seen on %s", selector)
			}
			return
		}
	}
	b.t.Fatalf("the tab key does not lead to %s", selector)
}

func (b *browser) shot(name string) []byte {
	b.t.Helper()
	png := do(b, chromedp.FullScreenshot(100))
	if folder := os.Getenv("NETMON_SHOTS"); folder != "" {
		if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
			b.t.Error(err)
		}
	}
	return png
}

// fewColours is a picture in the 256 colours that are most frequent in it.
func fewColours(t *testing.T, picture []byte) []byte {
	raw, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	size := raw.Bounds()
	pixels := image.NewNRGBA(size)
	draw.Draw(pixels, size, raw, size.Min, draw.Src)
	counts := map[color.NRGBA]int{}
	for i := 0; i < len(pixels.Pix); i += 4 {
		counts[color.NRGBA{pixels.Pix[i], pixels.Pix[i+1], pixels.Pix[i+2], pixels.Pix[i+3]}]++
	}
	var palette color.Palette
	for _, c := range slices.SortedFunc(maps.Keys(counts), func(a, b color.NRGBA) int { return counts[b] - counts[a] })[:min(256, len(counts))] {
		palette = append(palette, c)
	}
	few := image.NewPaletted(size, palette)
	draw.Draw(few, size, pixels, size.Min, draw.Src)
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, few); err != nil {
		t.Fatal(err)
	}
	return small.Bytes()
}

// quiet fails where the page complained, or asked somebody else.
func (b *browser) quiet(base string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.complains {
		b.t.Errorf("the browser says: %s", c)
	}
	for _, url := range b.asked {
		if !strings.HasPrefix(url, base+"/") && !strings.HasPrefix(url, "data:image/svg+xml,") {
			b.t.Errorf("the page asks for %s", url)
		}
	}
	b.complains = nil
}

// TestPage looks at the page in a real browser, with keys alone. NETMON_SHOTS is a
// folder for pictures of it.
func TestPage(t *testing.T) {
	b := startBrowser(t)
	var ago atomic.Int64 // how far the server's clock is behind
	now := func() time.Time { return time.Now().Add(-time.Duration(ago.Load())) }
	c := DefaultConfig()
	st := newMemory(limits{c.MaxSensors, c.MaxRowsPerSensor, c.MaxRows, c.ForgetAfter}, now)
	s := newService(c, "v1.0.0", hclog.NewNullLogger(), st, now)
	server := httptest.NewServer(s.handler(false))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(s.ending) })

	f := &pageFeed{t: t, s: s, random: rand.New(rand.NewPCG(1, 2)), windows: map[string]uint64{}}
	f.hour(time.Now())
	ago.Store(int64(12 * time.Minute))
	f.beat("office", "v0.9.4", 20, "192.0.2.77")
	ago.Store(0)
	f.beat("web-1", "v1.0.0", 1, "192.0.2.10", "2001:db8::10")
	f.beat("gateway", "v1.0.0", 1, "198.51.100.1")
	feed := make(chan func()) // to the one goroutine that pushes
	fed := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); <-fed })
	go func() {
		defer close(fed)
		last := time.Now()
		for tick := time.NewTicker(time.Second); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				now := time.Now()
				f.push("web-1", last, now, f.usual("eth0", 4, now.Sub(last))...)
				f.push("gateway", last, now, f.usual("wan0", 2, now.Sub(last))...)
				last = now
			case do := <-feed:
				do()
			}
		}
	}()

	const rows = `document.querySelector("#domain-table tbody").rows`
	first := func() string { return b.text(rows + "[0].cells[0].textContent") }
	b.open(server.URL + "/")
	b.until(rows + `.length === 10 && document.querySelector("#sensor-table tbody").rows.length === 3 && document.querySelector("#dns-table tbody").rows.length === 2`)
	b.until(`document.querySelector("#live").textContent === "Live"`)
	if first() != "video.example.net" {
		t.Errorf("the first domain is %s", first())
	}
	if points := b.text(`document.querySelectorAll("#chart path.line").length + " " + document.querySelector("#chart path.line.received").getAttribute("d").split("L").length`); points != "2 360" {
		t.Errorf("lines and points of the chart: %s", points)
	}
	for _, text := range []string{"offline for 12 min", "99.97 %", "99.81 %", "noerror", "servfail"} {
		if !strings.Contains(b.text("document.body.innerText"), text) {
			t.Errorf("the page does not say %q", text)
		}
	}
	b.quiet(server.URL)

	t.Run("keys", func(t *testing.T) {
		b.t = t
		b.tab(".skip")
		b.tab("#host")
		b.tab("#scrub")
		b.keys(kb.ArrowLeft + kb.ArrowLeft)
		b.until(`document.querySelector("#moment").textContent.includes("received")`)
		b.tab("#search")
		b.keys("GIT.")
		b.until(rows + `.length === 1`)
		if first() != "git.example.org" || b.text(`document.querySelector("#said").textContent`) != "1 domain with “GIT.”" {
			t.Errorf("found %s, said %s", first(), b.text(`document.querySelector("#said").textContent`))
		}
		b.keys(strings.Repeat(kb.Backspace, 4))
		b.until(rows + `.length === 10`)
		b.tab(`[data-sort="bytes_sent"]`)
		b.keys(kb.Enter)
		b.until(rows + `[0].cells[0].textContent === "objects.example.org"`)
		if sorted := b.text(`[...document.querySelectorAll("#domain-table th[aria-sort]")].map((th) => th.ariaSort).join()`); sorted != "none,none,none,none,descending,none,none" {
			t.Errorf("aria-sort: %s", sorted)
		}
		b.tab("#domain-table tbody a")
		b.keys(kb.Enter)
		b.until(`document.querySelector("#detail").open && document.querySelector("#detail-table tbody").rows.length === 3`)
		if text := b.text(`document.querySelector("#detail").innerText`); !strings.Contains(text, "objects.example.org") || !strings.Contains(text, "wan0") ||
			!strings.Contains(text, "outbound") || !strings.Contains(text, "TLS name (SNI)") || !strings.Contains(text, "3 sensors") {
			t.Errorf("the detail: %s", text)
		}
		b.shot("detail")
		b.keys(kb.Escape)
		b.until(`!document.querySelector("#detail").open && document.activeElement.textContent === "objects.example.org" && location.hash === ""`)
		b.text(`document.querySelector('[data-sort="bytes"]').click()`)
		b.until(rows + `[0].cells[0].textContent === "video.example.net"`)
		b.quiet(server.URL)
	})

	t.Run("pictures", func(t *testing.T) {
		b.t = t
		b.text("document.activeElement.blur()")
		b.until(fmt.Sprintf(`[...%s].every((row) => row.cells[2].textContent.includes("B/s")) && document.querySelectorAll("#sensor-table tbody")[0].innerText.includes("B/s")`, rows))
		var grounds []string
		for _, scheme := range []string{"light", "dark"} {
			call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			grounds = append(grounds, b.text("getComputedStyle(document.body).backgroundColor"))
			b.size(1040, 900)
			picture := b.shot(scheme)
			if scheme == "light" && *update {
				if picture = fewColours(t, picture); len(picture) > 200_000 {
					t.Errorf("the picture has %d bytes", len(picture))
				}
				if err := os.WriteFile(pageShot, picture, 0o644); err != nil {
					t.Error(err)
				}
			}
			b.size(400, 800)
			b.until(`document.querySelector("#chart").viewBox.baseVal.width < 400`)
			if wide := b.text("document.documentElement.scrollWidth <= 400"); wide != "true" {
				t.Error("at 400 pixels the page is wider")
			}
			b.shot(scheme + "-narrow")
		}
		if grounds[0] == grounds[1] {
			t.Errorf("light and dark are both %s", grounds[0])
		}
		b.size(1280, 900)
	})

	t.Run("structure", func(t *testing.T) {
		b.t = t
		roles := map[string]int{}
		for _, n := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
			if n.Ignored || n.Role == nil {
				continue
			}
			role := strings.Trim(string(n.Role.Value), `"`)
			roles[role]++
			if named := []string{"button", "link", "searchbox", "combobox", "slider", "table", "region", "img", "image", "columnheader", "rowheader", "navigation", "heading"}; slices.Contains(named, role) && (n.Name == nil || strings.Trim(string(n.Name.Value), `"`) == "") {
				t.Errorf("a %s has no name", role)
			}
		}
		for _, role := range []string{"banner", "main", "contentinfo", "navigation", "slider", "searchbox"} {
			if roles[role] != 1 {
				t.Errorf("%d of role %s", roles[role], role)
			}
		}
		if roles["table"] < 3 || roles["heading"] < 6 || roles["columnheader"] < 20 || roles["rowheader"] < 15 {
			t.Errorf("roles: %v", roles)
		}
		if levels := b.text(`[...document.querySelectorAll("h1,h2,h3")].map((h) => h.tagName).join()`); levels != "H1,H2,H2,H2,H2,H2,H2" {
			t.Errorf("headings: %s", levels)
		}
	})

	t.Run("hostile", func(t *testing.T) {
		b.t = t
		const bad = `<img src=x onerror=alert(1)>`
		before := b.text(`document.querySelector("#now-connections").textContent`)
		feed <- func() {
			now := time.Now()
			k := domainKey("live.example.com", netmonpb.NameSource_NAME_SOURCE_SNI)
			k.Interface = `"><script>alert(2)</script>`
			row := rowOf(k, func(c *netmonpb.Counters) { c.BytesSent, c.Connections = 9e13, 9 })
			app := rowOf(&netmonpb.Key{View: netmonpb.View_VIEW_PROTOCOLS, Interface: k.Interface, Direction: k.Direction, Protocol: 6, Application: bad}, func(c *netmonpb.Counters) { c.BytesSent = 9e13 })
			f.push(bad, now.Add(-time.Second), now, row, app, pageCoverage("eth0", math.NaN()))
			f.beat(bad, `</td><script>alert(3)</script>`, 1)
		}
		b.until(rows + `[0].cells[0].textContent === "live.example.com"`) // by itself
		b.until(`document.querySelector("#now-sensors").textContent === "3 of 4"`)
		b.until(fmt.Sprintf(`[...document.querySelectorAll("#sensor-table tbody th")].some((th) => th.textContent === %q)`, bad))
		b.until(fmt.Sprintf(`document.querySelector("#now-connections").textContent !== %q`, before))
		b.text(`document.querySelector("#domain-table tbody a").click()`)
		b.until(`document.querySelector("#detail-table tbody").innerText.includes("<script>alert(2)</script>")`)
		if n := b.text(`document.querySelectorAll("img, body script, iframe, [onerror]").length`); n != "0" {
			t.Errorf("%s elements came out of names", n)
		}
		b.shot("hostile")
		b.text(`document.querySelector("#close").click()`)
		if refused := b.text(`(() => { try { document.body.innerHTML = "x"; return "taken" } catch (e) { return e.name } })()`); refused != "TypeError" {
			t.Errorf("innerHTML is %s", refused)
		}
		b.mu.Lock()
		b.complains = slices.DeleteFunc(b.complains, func(c string) bool { return strings.Contains(c, "TrustedHTML") || strings.Contains(c, "Trusted Type") }) // of the line above
		b.mu.Unlock()
		b.quiet(server.URL)
	})

	// Where there is no room for one more listener, the page asks by itself.
	t.Run("polling", func(t *testing.T) {
		b.t = t
		b.open("about:blank")
		for deadline := time.Now().Add(10 * time.Second); len(s.listening) > 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		}
		for len(s.listening) < cap(s.listening) {
			s.listening <- struct{}{}
		}
		b.open(server.URL + "/")
		b.until(`document.querySelector("#live").textContent === "Every 5 s"`)
		before := b.text(`document.querySelector("#now-bytes").textContent + document.querySelector("#now-connections").textContent`)
		b.until(fmt.Sprintf(`document.querySelector("#now-bytes").textContent + document.querySelector("#now-connections").textContent !== %q`, before))
		if now := b.text(`document.querySelector("#now-received").textContent`); !strings.HasSuffix(now, "B/s") {
			t.Errorf("receiving %s", now)
		}
		b.mu.Lock()
		b.complains = slices.DeleteFunc(b.complains, func(c string) bool { return strings.Contains(c, strconv.Itoa(http.StatusServiceUnavailable)) })
		b.mu.Unlock()
		b.quiet(server.URL)
	})
}
