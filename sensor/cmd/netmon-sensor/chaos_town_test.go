package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// chaosTime is how long the storm lasts, chaosSeed what it is drawn from.
	chaosTime = "NETMON_CHAOS"
	chaosSeed = "NETMON_CHAOS_SEED"

	// calmWithin bounds what exporters and pushes take to go on: they wait for up to
	// half a minute after many failures in a row.
	calmWithin = 2 * time.Minute
)

// A storm is three sensors, each with traffic of its own that nothing disturbs, an
// exporter of its own, and two pushes: to a pair of servers on one Redis, and to a
// server on a disk. Between each push and its servers is a proxy.
//
//	station 1..3: sensor -- exporter server
//	                     -- push pair --- proxy --- server a, server b --- redis
//	                     -- push disk --- proxy --- server disk
type storm struct {
	t        testing.TB
	began    time.Time
	hub      *host
	redis    *redisServer
	pair     []*server
	disk     *server
	proxies  map[string]*proxy
	stations []*station

	mu   sync.Mutex // guards done
	done map[string]int
}

// TestChaosTown lets everything that may fail do so, drawn from a seed, and then
// rest. Every server has every counter of every sensor exactly as the sensor's own
// exporter has it, these have what the kernel and the visitors counted, and no
// counter fell at any scrape in between (P5).
func TestChaosTown(t *testing.T) {
	t.Parallel()
	needTools(t, "redis-server", "redis-cli", "nft", "curl")
	length, seed := 25*time.Second, rand.Uint64()
	var err error
	if text := os.Getenv(chaosTime); text != "" {
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", chaosTime, err)
		}
	}
	if text := os.Getenv(chaosSeed); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", chaosSeed, err)
		}
	}
	t.Logf("%s=%v %s=%d", chaosTime, length, chaosSeed, seed)
	s := newStorm(t, seed)
	var watches []func()
	for _, v := range s.servers() {
		watches = append(watches, s.watch("server "+v.name, v.scrape))
	}
	for _, st := range s.stations {
		watches = append(watches, s.watch(st.name+"'s own exporter", st.own))
		st.open()
	}
	s.blow(length, rand.New(rand.NewPCG(seed, 0)))
	s.calm()
	s.rest()
	for _, end := range watches {
		end()
	}
	s.tell()
}

func newStorm(t testing.TB, seed uint64) *storm {
	t.Helper()
	s := &storm{t: t, began: time.Now(), hub: newHost(t), done: map[string]int{}}
	s.redis = &redisServer{t: t, hub: s.hub, dir: tempDir(t)}
	s.redis.start()
	redis := `storage "redis" {
    addresses = ["127.0.0.1:6379"]
    timeout   = "1s"
  }`
	s.pair = []*server{newServer(s.hub, "a", 8001, redis), newServer(s.hub, "b", 8002, redis)}
	disk := smallDisk(t)
	s.disk = newServer(s.hub, "disk", 8003, fmt.Sprintf("storage \"disk\" {\n    path = %q\n  }", disk+"/store"))
	s.disk.disk = disk
	s.proxies = map[string]*proxy{
		"pair": newProxy(t, s.hub, seed, ":7001", s.pair[0].address(), s.pair[1].address()),
		"disk": newProxy(t, s.hub, seed+1, ":7002", s.disk.address()),
	}
	for _, v := range s.servers() {
		v.up()
	}
	for i := range 3 {
		s.stations = append(s.stations, newStation(t, s.hub, i+1))
	}
	return s
}

func (s *storm) servers() []*server { return append(slices.Clone(s.pair), s.disk) }

// log tells what happens, and counts it.
func (s *storm) log(kind, format string, args ...any) {
	s.t.Helper()
	s.mu.Lock()
	s.done[kind]++
	s.mu.Unlock()
	s.t.Logf("%6.1fs  %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// atOnce is how many events there are at a time.
const atOnce = 4

// blow lets events happen until the time is over, all kinds before the first comes
// again. Their order is the seed's; how far one gets before the next is not.
func (s *storm) blow(length time.Duration, random *rand.Rand) {
	s.t.Helper()
	var mu sync.Mutex // guards what follows, and random
	var deck []event
	held := map[string]bool{}
	draw := func() (e event, own *rand.Rand, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(deck) < atOnce {
			more := s.events()
			random.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
			deck = append(deck, more...)
		}
		i := slices.IndexFunc(deck, func(e event) bool {
			return !slices.ContainsFunc(e.holds, func(what string) bool { return held[what] })
		})
		if i < 0 {
			return event{}, nil, false
		}
		e = deck[i]
		deck = slices.Delete(deck, i, i+1)
		for _, what := range e.holds {
			held[what] = true
		}
		return e, rand.New(rand.NewPCG(random.Uint64(), 0)), true
	}
	release := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		for _, what := range e.holds {
			delete(held, what)
		}
	}
	var all sync.WaitGroup
	end := time.Now().Add(length)
	for range atOnce {
		all.Go(func() {
			for time.Now().Before(end) && !s.t.Failed() {
				if e, own, ok := draw(); ok {
					e.happen(own)
					release(e)
				}
				time.Sleep(poll)
			}
		})
	}
	all.Wait()
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// calm ends what may still go on, and the traffic.
func (s *storm) calm() {
	s.t.Helper()
	s.log("calm", "calm")
	for _, p := range s.proxies {
		p.turn(fair)
	}
	for _, st := range s.stations {
		st.close()
	}
}

// rest waits until everything is where it belongs, and compares.
func (s *storm) rest() {
	s.t.Helper()
	for _, st := range s.stations {
		own := st.rest()
		st.check(own)
		for _, v := range s.servers() {
			eventually(s.t, calmWithin, "server "+v.name+" has what the exporter of "+st.name+" has", func() error {
				page, err := v.scrape()
				if err != nil {
					return err
				}
				return differ(own, page.of(st.name))
			})
		}
		s.log("exact", "%s is exact on %d servers: %d counters", st.name, len(s.servers()), len(own.counters()))
	}
}

// tell logs the figures of the run.
func (s *storm) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(s.done)) {
		s.t.Logf("%5d  %s", s.done[kind], kind)
	}
	for name, p := range s.proxies {
		p.mu.Lock()
		s.t.Logf("pushes to %s that were bent: %v", name, p.counts)
		p.mu.Unlock()
	}
	for _, st := range s.stations {
		sent, received := st.meter.read()
		s.t.Logf("%s: %d rounds of visits, %d packets, %d bytes", st.name, st.rounds, sent.Packets+received.Packets, sent.Bytes+received.Bytes)
	}
}

// watch scrapes each second until the function it returns is called. A sensor may be
// absent from a page, but no counter of it may be lower than, or gone from, the page
// before that had it.
func (s *storm) watch(name string, get func() (scrape, error)) (stop func()) {
	end := make(chan struct{})
	var ended sync.WaitGroup
	pages := 0
	ended.Go(func() {
		before := map[string]scrape{}
		for {
			if page, err := get(); err == nil {
				pages++
				for _, st := range s.stations {
					now := page.of(st.name)
					if len(now.counters()) == 0 {
						continue
					}
					if err := fell(before[st.name], now); err != nil {
						s.t.Errorf("%6.1fs  %s, %s: %v", time.Since(s.began).Seconds(), name, st.name, err)
					}
					before[st.name] = now
				}
			}
			select {
			case <-end:
				return
			case <-time.After(time.Second):
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(end)
		ended.Wait()
		s.t.Logf("%s was scraped %d times", name, pages)
		if pages < 5 && !s.t.Failed() {
			s.t.Errorf("%s: only %d scrapes were answered", name, pages)
		}
	})
	s.t.Cleanup(stop)
	return stop
}

// of is what a page says of one sensor.
func (s scrape) of(sensor string) scrape {
	part := scrape{s.text, map[string]sample{}}
	for series, x := range s.samples {
		if x.labels["host"] == sensor {
			part.samples[series] = x
		}
	}
	return part
}

// smallDisk is a folder with little room.
func smallDisk(t testing.TB) (dir string) {
	t.Helper()
	dir = tempDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		missing(t, fmt.Sprintf("needs CAP_SYS_ADMIN to mount a small tmpfs: %v", err))
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// A redisServer is on the hub's loopback. It syncs its append-only file before it
// answers.
type redisServer struct {
	t       testing.TB
	hub     *host
	dir     string
	running *program
}

func (r *redisServer) start() {
	r.t.Helper()
	r.running = start(r.t, "redis", r.hub.command("redis-server", "--bind", "127.0.0.1", "--dir", r.dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning"))
	eventually(r.t, 20*time.Second, "Redis answers", func() error {
		text, err := r.hub.command("redis-cli", "ping").CombinedOutput()
		if err == nil && strings.TrimSpace(string(text)) != "PONG" {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
}

// A server stands alone on the hub.
type server struct {
	hub     *host
	name    string
	port    int
	config  string
	disk    string // its small disk, if it has one
	running *program
}

func newServer(hub *host, name string, port int, storage string) *server {
	hub.t.Helper()
	path := writeFile(hub.t, "server.hcl", fmt.Sprintf("server {\n  listen = [\"127.0.0.1:%d\"]\n  %s\n}\n", port, storage))
	return &server{hub: hub, name: name, port: port, config: path}
}

func (v *server) address() string { return fmt.Sprintf("127.0.0.1:%d", v.port) }

func (v *server) scrape() (scrape, error) { return v.hub.scrape("http://" + v.address() + "/metrics") }

func (v *server) start() {
	v.hub.t.Helper()
	v.running = start(v.hub.t, "server "+v.name, v.hub.command(bin(v.hub.t, serverProgram), "-config", v.config))
}

// up starts the server and waits until it answers.
func (v *server) up() {
	v.hub.t.Helper()
	v.start()
	eventually(v.hub.t, 20*time.Second, "server "+v.name+" is up", func() error {
		if err := v.running.alive(); err != nil {
			v.hub.t.Fatal(err)
		}
		_, err := v.hub.get("http://" + v.address() + "/-/healthy")
		return err
	})
}

// ready waits until the server has its store.
func (v *server) ready() {
	v.hub.t.Helper()
	eventually(v.hub.t, 30*time.Second, "server "+v.name+" is ready", func() error {
		_, err := v.hub.get("http://" + v.address() + "/-/ready")
		return err
	})
}

// A station is a town whose sensor pushes to the hub.
type station struct {
	*town
	name, config string
	wild         bool // its sensor is killed under traffic: what was in the ring is not counted
	disk         string
	meter        *meter
	sensor       *program
	rounds       int
	crowd        *program
	end          string // the file that ends the crowd
}

func newStation(t testing.TB, hub *host, n int) *station {
	t.Helper()
	st := &station{town: newTown(t), name: fmt.Sprintf("lab-%d", n), disk: smallDisk(t), wild: n == 3}
	at := fmt.Sprintf("10.66.%d.", n)
	st.client.wire("uplink", at+"2/24", hub, "down"+strconv.Itoa(n), at+"1/24")
	// With the uplink down pushes must not go where the traffic goes.
	st.client.run("ip", "route", "add", "unreachable", "10.66.0.0/16", "metric", "9999")
	config := exporterServer
	for port, name := range map[int]string{7001: "pair", 7002: "disk"} {
		config += fmt.Sprintf(`
exporter "push" %q {
  url         = "http://%s1:%d/api/v1/metrics"
  timeout     = "2s"
  heartbeat   = "5s"
  compression = "none"
}
`, name, at, port)
	}
	st.config = in(st.disk+"/state", strings.NewReplacer(`"lab"`, strconv.Quote(st.name),
		"shards     = 2", "shards = 2\n  ring_memory = \"128MiB\"").Replace(sensorConfig(config)))
	st.sensor = st.client.sensor(st.config)
	st.meter = st.client.meter("eth0")
	var rules strings.Builder
	rules.WriteString("table inet kinds {\n")
	for _, kind := range []string{"tcp", "udp"} {
		fmt.Fprintf(&rules, "counter %[1]s_sent {}\ncounter %[1]s_received {}\n", kind)
	}
	for chain, hook := range map[string]string{"sent": "output priority 300; } oifname", "received": "input priority -300; } iifname"} {
		hook, match, _ := strings.Cut(hook, " } ")
		fmt.Fprintf(&rules, "chain %s { type filter hook %s\n", chain, hook)
		for _, kind := range []string{"tcp", "udp"} {
			fmt.Fprintf(&rules, "%s eth0 meta l4proto %s counter name %s_%s;\n", match, kind, kind, chain)
		}
		rules.WriteString("}\n")
	}
	rules.WriteString("}\n")
	st.client.run("nft", "-f", writeFile(t, "kinds.nft", rules.String()))
	return st
}

func (st *station) own() (scrape, error) { return st.client.scrape(localMetrics) }

// visited are the connections of one round, by domain.
var visited = []string{"http://one.example/bytes/3000", "http://two.example/bytes/40000", "https://secure.example/bytes/500", "gopher://opaque.example:7777/"}

// open lets the crowd in: each of its rounds, one at least, visits every place once.
func (st *station) open() {
	st.t.Helper()
	st.end = filepath.Join(tempDir(st.t), "end")
	resolv := writeFile(st.t, "resolv.conf", "nameserver "+dnsAddress+"\noptions timeout:2 attempts:5\n")
	st.crowd = start(st.t, st.name+"'s crowd", st.client.command("sh", "-ec", fmt.Sprintf(`
mount --bind %s /etc/resolv.conf
while :; do
	for u in %s; do curl -4 -fsSk --max-time 60 -o /dev/null "$u"; done
	echo round
	[ ! -e %s ] || break
	sleep 0.2
done`, resolv, strings.Join(visited, " "), st.end)))
}

// close waits for the last of the crowd.
func (st *station) close() {
	st.t.Helper()
	if err := os.WriteFile(st.end, nil, 0o644); err != nil {
		st.t.Fatal(err)
	}
	if code := st.crowd.wait(calmWithin); code != 0 {
		st.t.Fatalf("the crowd of %s ended with %d: %s", st.name, code, st.crowd.stderr.String())
	}
	st.rounds += strings.Count(st.crowd.stdout.String(), "round\n")
}

// rest waits until the sensor's own exporter has everything, which does not change
// with three windows more.
func (st *station) rest() (own scrape) {
	st.t.Helper()
	st.quiet(st.meter)
	if !st.wild {
		eventually(st.t, calmWithin, st.name+"'s own exporter has what the kernel counted", func() error {
			page, err := st.own()
			if err == nil {
				err = st.balance(st.meter, page)
			}
			if dropped := st.client.status().sum("netmon_capture_dropped_total"); dropped > 0 {
				err = errors.Join(err, fmt.Errorf("the rings had no room for %v packets", dropped))
			}
			return err
		})
		return st.settle(st.meter, st.own)
	}
	eventually(st.t, calmWithin, st.name+"'s own exporter is at rest", func() error {
		before, err := st.own()
		if err != nil {
			return err
		}
		st.client.windows(4)
		if own, err = st.own(); err != nil {
			return err
		}
		if behind := st.client.status().by("netmon_exporter_behind_windows", "exporter")["server"]; behind > 1 {
			return fmt.Errorf("it is %v windows behind", behind)
		}
		return differ(before, own)
	})
	return own
}

// check compares what a sensor counted with what the kernel and the visitors did,
// by protocol and by domain. A sensor that was killed under traffic has no more.
func (st *station) check(own scrape) {
	st.t.Helper()
	hold := func(what string, got, want float64) {
		st.t.Helper()
		if got != want && !st.wild || got > want || got == 0 {
			st.t.Errorf("%s: %s is %v, want %v", st.name, what, got, want)
		}
	}
	kinds := st.client.counters("kinds")
	for _, kind := range []string{"tcp", "udp"} {
		for _, way := range []string{"sent", "received"} {
			c := kinds[kind+"_"+way]
			for metric, want := range map[string]uint64{"bytes": c.Bytes, "packets": c.Packets} {
				metric = "network_" + metric + "_" + way + "_total"
				hold(metric+" of "+kind, own.by(metric, "protocol")[kind], float64(want))
			}
		}
	}
	if st.wild { // a connection that outlives a sensor is one to the next as well
		return
	}
	connections := own.by("network_domain_connections_total", "domain")
	for _, url := range visited {
		v := visit{url: url}
		hold("connections to "+v.domain(), connections[v.domain()], float64(st.rounds))
	}
	hold("TCP connections", own.by("network_connections_total", "protocol")["tcp"], float64(st.rounds*len(visited)))
}
