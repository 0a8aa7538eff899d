package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/common/expfmt"
	"github.com/redis/go-redis/v9"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// redisProcess is a real redis-server on loopback.
type redisProcess struct {
	t       testing.TB
	program string
	dir     string
	host    string
	args    []string
	running *exec.Cmd
}

// startRedis starts one, with arguments beside those that every test needs.
func startRedis(t testing.TB, args ...string) *redisProcess {
	t.Helper()
	r := &redisProcess{t: t, program: tool(t, "redis-server"), dir: t.TempDir(), host: ownHost(), args: args}
	r.start()
	t.Cleanup(r.kill)
	return r
}

// redisPort is everybody's: each has a host of its own. A free port of a common host
// is free for a moment only, and whoever takes it answers in another's place.
const redisPort = "6379"

var redisHosts atomic.Uint32

// ownHost is a loopback address that no other test has, nor one of another process.
func ownHost() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 100+pid/250%150, 1+pid%250, redisHosts.Add(1))
}

func (r *redisProcess) addr() string { return net.JoinHostPort(r.host, redisPort) }

func (r *redisProcess) start() {
	r.t.Helper()
	args := append([]string{"--bind", r.host, "--port", redisPort, "--dir", r.dir, "--save", "", "--loglevel", "warning"}, r.args...)
	for option, announce := range map[string]string{"--cluster-enabled": "--cluster-announce-ip", "--replicaof": "--replica-announce-ip"} {
		if slices.Contains(r.args, option) {
			args = append(args, announce, r.host)
		}
	}
	if slices.Contains(r.args, "--sentinel") { // it wants a file, to write into
		path := filepath.Join(r.dir, "sentinel.conf")
		if err := os.WriteFile(path, fmt.Appendf(nil, "bind %s\nport %s\ndir %s\n", r.host, redisPort, r.dir), 0o600); err != nil {
			r.t.Fatal(err)
		}
		args = []string{path, "--sentinel"}
	}
	r.running = exec.Command(r.program, args...)
	r.running.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.running.Start(); err != nil {
		r.t.Fatal(err)
	}
	mine := fmt.Sprintf("\nprocess_id:%d\r\n", r.running.Process.Pid)
	r.eventually("redis answers", func() bool {
		info, err := r.ask("INFO", "server")
		return err == nil && strings.Contains(info.(string), mine)
	})
}

func (r *redisProcess) kill() {
	if r.running != nil {
		_ = r.running.Process.Kill()
		_ = r.running.Wait()
		r.running = nil
	}
}

// ask sends one command.
func (r *redisProcess) ask(args ...any) (any, error) {
	c := redis.NewClient(&redis.Options{Addr: r.addr(), Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return c.Do(ctx, args...).Result()
}

func (r *redisProcess) must(args ...any) any {
	r.t.Helper()
	v, err := r.ask(args...)
	if err != nil {
		r.t.Fatalf("%v: %v", args, err)
	}
	return v
}

func (r *redisProcess) eventually(what string, f func() bool) {
	r.t.Helper()
	eventually(r.t, what, f)
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func sharedStore(t testing.TB, edit func(*Storage), addresses ...string) *shared {
	t.Helper()
	c := defaultStorage()
	c.Type, c.Addresses, c.Timeout = "redis", addresses, 3*time.Second
	if edit != nil {
		edit(&c)
	}
	r, err := openRedis(&c, nil, testLimits(), time.Now, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sharedService is a server on a Redis; it is closed with the test.
func sharedService(t testing.TB, addresses ...string) *service {
	t.Helper()
	st := sharedStore(t, nil, addresses...)
	t.Cleanup(func() { _ = st.close() })
	return serviceOn(st)
}

// push posts windows 1.. of a log to a server until n are held, as a sensor does:
// it tries again while the store is away, and sends the snapshot where it is asked to.
func push(t testing.TB, s *service, sensor string, logID []byte, n uint64) {
	t.Helper()
	request := windowRequest(windowOf(sensor, logID, n))
	var last error
	defer func() {
		if t.Failed() && last != nil {
			t.Logf("window %d of %s: the last answer was %v", n, sensor, last)
		}
	}()
	eventually(t, fmt.Sprintf("window %d of %s", n, sensor), func() bool {
		held, err := s.take(t.Context(), request)
		last = err
		switch codeOf(err) {
		case codeUnavailable:
			return false
		case codeUnknownLog, codeOutOfSequence:
			request = snapshotRequest(snapshotOf(sensor, logID, n))
			return false
		}
		if err != nil || held.watermark < n {
			t.Fatalf("window %d of %s: %v %v", n, sensor, held, err)
		}
		return true
	})
}

// windowOf is a window that adds n bytes to a domain of the log's own and one of all.
func windowOf(sensor string, logID []byte, n uint64) *netmonpb.Window {
	w := next(sensor, logID, n, chainOf(logID, n-1), domainRow("all.test", n, 0), domainRow(fmt.Sprintf("log-%x.test", logID[:1]), n, 0))
	if n == 1 {
		w.PreviousChain = nil
	}
	return w
}

// snapshotOf is what windows 1..n of it add up to.
func snapshotOf(sensor string, logID []byte, n uint64) *netmonpb.Snapshot {
	sum := n * (n + 1) / 2
	return &netmonpb.Snapshot{LogId: logID, SensorId: sensor, Sequence: n, Chain: chainOf(logID, n), Rows: []*netmonpb.Row{
		domainRow("all.test", sum, 0), domainRow(fmt.Sprintf("log-%x.test", logID[:1]), sum, 0),
	}}
}

// total is what a family of windowOf sums to after n windows of one log.
func total(n uint64) uint64 { return n * (n + 1) }

func wantTotal(t testing.TB, s *service, want uint64) {
	t.Helper()
	if got := sum(t, s, "network_domain_bytes_sent_total"); got != want {
		t.Errorf("the sum is %d, want %d", got, want)
	}
}

// TestServersOnOneRedis: any sensor to any server, and what one acknowledged all show.
func TestServersOnOneRedis(t *testing.T) {
	r := startRedis(t)
	servers := []*service{sharedService(t, r.addr()), sharedService(t, r.addr()), sharedService(t, r.addr())}
	for n := uint64(1); n <= 30; n++ {
		push(t, servers[n%3], "a", aLog, n)
		for _, s := range servers {
			wantTotal(t, s, total(n))
		}
	}
	before := exposition(servers[0], false)
	for _, s := range append(servers, sharedService(t, r.addr())) {
		if got := sortedLines(exposition(s, false)); got != sortedLines(before) {
			t.Errorf("servers differ:\n%s\n%s", got, before)
		}
	}

	// What is not the next window is refused by each alike.
	for i, s := range servers {
		if held, err := s.take(t.Context(), windowRequest(windowOf("a", aLog, 29))); err != nil || held != (ack{30, false}) {
			t.Errorf("server %d, repeat: %v %v", i, held, err)
		}
		if _, err := s.take(t.Context(), windowRequest(windowOf("a", aLog, 33))); codeOf(err) != codeOutOfSequence {
			t.Errorf("server %d, gap: %v", i, err)
		}
		if _, err := s.take(t.Context(), windowRequest(windowOf("b", aLog, 3))); codeOf(err) != codeUnknownLog {
			t.Errorf("server %d, unknown: %v", i, err)
		}
	}

	// Heartbeats and removal are everybody's.
	if known, err := servers[1].store.heartbeat(t.Context(), "a", []byte("it")); err != nil || !known {
		t.Errorf("heartbeat: %v %v", known, err)
	}
	servers[2].store.read(func(s *state) {
		if got := string(s.sensor("a").about); got != "it" {
			t.Errorf("another server knows %q of the sensor", got)
		}
	})
	if known, err := servers[0].store.remove(t.Context(), "a"); err != nil || !known {
		t.Errorf("remove: %v %v", known, err)
	}
	for _, s := range servers {
		wantTotal(t, s, 0)
	}
	if keys := r.must("KEYS", "netmon:{a}:*").([]any); len(keys) != 1 || keys[0] != "netmon:{a}:removed" {
		t.Errorf("keys of a removed sensor: %v", keys)
	}
	push(t, servers[1], "a", aLog, 31)
	for _, s := range servers {
		wantTotal(t, s, total(31))
	}
}

// TestSharedAtOnce: many pushes of the same windows to several servers at the same
// time count once.
func TestSharedAtOnce(t *testing.T) {
	r := startRedis(t)
	servers := []*service{sharedService(t, r.addr()), sharedService(t, r.addr())}
	const windows, sensors = 10, 4
	done := make(chan error, 3*sensors)
	for i := range 3 * sensors {
		go func() {
			id, s := fmt.Sprint("s", i%sensors), servers[i%2]
			for n := uint64(1); n <= windows; n++ {
				held, err := s.take(context.Background(), windowRequest(windowOf(id, aLog, n)))
				if err != nil || held.watermark < n {
					done <- fmt.Errorf("window %d of %s: %v %w", n, id, held, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range 3 * sensors {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, s := range servers {
		wantTotal(t, s, sensors*total(windows))
	}
}

// TestRedisCompares: a server that does not know of a change yet adds nothing beside
// it, however certain it is.
func TestRedisCompares(t *testing.T) {
	r := startRedis(t)
	one, two := sharedStore(t, nil, r.addr()), sharedStore(t, nil, r.addr())
	defer one.close()
	defer two.close()
	p := two.hold("a") // which keeps it from following
	defer two.release(p)
	if held, err := one.apply(t.Context(), windowOf("a", aLog, 1)); err != nil || held != (ack{1, true}) {
		t.Fatalf("%v %v", held, err)
	}
	c := &change{window: windowOf("a", aLog, 1)}
	two.memory.mu.Lock()
	_, done, err := two.state.prepare(c, 0, 0)
	two.memory.mu.Unlock()
	if done || err != nil {
		t.Fatalf("it is known already: %v", err)
	}
	body, err := two.codec.body(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, added, err := two.add(t.Context(), p, c, append(head(c), body...)); added || err != nil {
		t.Errorf("a change was added twice: %v", err)
	}
	if n := r.must("LLEN", "netmon:{a}:journal"); n != int64(1) {
		t.Errorf("the journal has %v changes", n)
	}
}

// TestRedisForgets: whatever Redis loses, nothing that was shown goes down, and at
// rest everything is there again.
func TestRedisForgets(t *testing.T) {
	kill := func(r *redisProcess) { r.kill(); r.start() }
	for name, tt := range map[string]struct {
		args []string
		lose func(*redisProcess)
	}{
		"flushed":            {nil, func(r *redisProcess) { r.must("FLUSHALL") }},
		"killed without AOF": {nil, kill},
		"killed with AOF":    {[]string{"--appendonly", "yes", "--appendfsync", "always"}, kill},
		"one key evicted":    {nil, func(r *redisProcess) { r.must("DEL", "netmon:{a}:journal") }},
		"scripts forgotten":  {nil, func(r *redisProcess) { r.must("SCRIPT", "FLUSH") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRedis(t, tt.args...)
			servers := []*service{sharedService(t, r.addr()), sharedService(t, r.addr())}
			other := []byte("another log, 16b")
			push(t, servers[0], "a", other, 1) // its log before, which it cannot send again
			var n uint64
			for n = 1; n <= 5; n++ {
				push(t, servers[n%2], "a", aLog, n)
			}
			wantTotal(t, servers[1], total(5)+total(1))
			tt.lose(r)
			push(t, servers[n%2], "a", aLog, n)
			for i, s := range servers {
				eventually(t, "the sum of before", func() bool {
					got := sum(t, s, "network_domain_bytes_sent_total")
					if got < total(5)+total(1) {
						t.Fatalf("server %d shows %d, and showed %d before", i, got, total(5)+total(1))
					}
					return got == total(6)+total(1)
				})
			}
		})
	}
}

// TestRedisGoesBack: a server without memory fills a Redis that lost its data from
// the sensor's snapshot; the others withhold the sensor until that covers what they
// have shown.
func TestRedisGoesBack(t *testing.T) {
	r := startRedis(t)
	old := sharedService(t, r.addr())
	for n := uint64(1); n <= 10; n++ {
		push(t, old, "a", aLog, n)
	}
	wantTotal(t, old, total(10))

	// While old cannot see it, Redis loses everything and gets another history.
	second := startRedis(t)
	fresh := sharedService(t, second.addr())
	if _, err := fresh.take(t.Context(), snapshotRequest(snapshotOf("a", aLog, 7))); err != nil {
		t.Fatal(err)
	}
	r.kill()
	second.kill()
	second.args = append(second.args, "--appendonly", "no")
	second.start()
	fresh2 := sharedStore(t, nil, second.addr())
	defer fresh2.close()
	if _, err := fresh2.install(t.Context(), snapshotOf("a", aLog, 8)); err != nil {
		t.Fatal(err)
	}
	second.must("SAVE")
	second.kill()
	r.dir = second.dir
	r.start()

	eventually(t, "the sensor is withheld", func() bool {
		got := sum(t, old, "network_domain_bytes_sent_total")
		if got != 0 && got != total(10) {
			t.Fatalf("%d is shown, after %d", got, total(10))
		}
		return got == 0 && old.store.ready() == nil
	})
	for n := uint64(9); n <= 12; n++ {
		push(t, old, "a", aLog, n)
		want := uint64(0)
		if n >= 10 {
			want = total(n)
		}
		wantTotal(t, old, want)
	}
}

// TestRedisRestoredFromLess: Redis gets back what a server knew that was behind. One
// that starts then cannot know what was shown before, until the sensor goes on.
func TestRedisRestoredFromLess(t *testing.T) {
	r := startRedis(t)
	behind := sharedService(t, r.addr())
	for n := uint64(1); ; {
		ahead := sharedStore(t, nil, r.addr())
		for range 2 {
			if _, err := ahead.apply(t.Context(), windowOf("a", aLog, n)); err != nil {
				t.Fatal(err)
			}
			n++
		}
		wantTotal(t, behind, total(n-1))
		if _, err := ahead.apply(t.Context(), windowOf("a", aLog, n)); err != nil {
			t.Fatal(err)
		}
		ahead.close()
		r.must("FLUSHALL")
		if sum(t, behind, "network_domain_bytes_sent_total") == total(n) {
			if n++; n > 30 {
				t.Fatal("the other server was never behind")
			}
			continue // it looked just then
		}
		started := sharedService(t, r.addr())
		eventually(t, "Redis has the sensor again", func() bool {
			exposition(started, false)
			return started.store.(*shared).state.sensor("a") != nil
		})
		wantTotal(t, started, 0)
		push(t, started, "a", aLog, n-1) // late, and held: it says nothing of what came after
		wantTotal(t, started, 0)
		if _, err := started.take(t.Context(), snapshotRequest(snapshotOf("a", aLog, n+1))); err != nil {
			t.Fatal(err)
		}
		wantTotal(t, started, total(n+1))
		wantTotal(t, behind, total(n+1))
		return
	}
}

// TestRedisAway: pushes are to be tried again, scrapes show what is known, and it
// heals by itself.
func TestRedisAway(t *testing.T) {
	r := startRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	s := sharedService(t, r.addr())
	push(t, s, "a", aLog, 1)
	r.kill()
	_, err := s.take(t.Context(), windowRequest(windowOf("a", aLog, 2)))
	if codeOf(err) != codeUnavailable {
		t.Errorf("a push while Redis is away: %v", err)
	}
	eventually(t, "the server is not ready", func() bool { return s.store.ready() != nil })
	wantTotal(t, s, total(1))
	r.start()
	eventually(t, "the server is ready", func() bool { return s.store.ready() == nil })
	push(t, s, "a", aLog, 2)
	wantTotal(t, s, total(2))

	// A server that starts now cannot know whether Redis lost something, until it
	// hears of the sensor.
	r.kill()
	r.start()
	late := sharedService(t, r.addr())
	wantTotal(t, late, 0)
	push(t, late, "a", aLog, 3)
	wantTotal(t, late, total(3))
	again := sharedService(t, r.addr())
	wantTotal(t, again, total(3))
}

// TestRedisRefuses: a Redis that takes no writes is away, and nothing is half done.
func TestRedisRefuses(t *testing.T) {
	r := startRedis(t)
	s := sharedService(t, r.addr())
	push(t, s, "a", aLog, 1)
	for _, refusing := range [][3]string{{"maxmemory", "1", "0"}, {"min-replicas-to-write", "3", "0"}} {
		r.must("CONFIG", "SET", refusing[0], refusing[1])
		for _, id := range []string{"a", "b"} {
			n := map[string]uint64{"a": 2, "b": 1}[id]
			if _, err := s.take(t.Context(), windowRequest(windowOf(id, aLog, n))); codeOf(err) != codeUnavailable {
				t.Errorf("%s: a push for %s: %v", refusing[0], id, err)
			}
		}
		wantTotal(t, s, total(1))
		r.must("CONFIG", "SET", refusing[0], refusing[2])
	}
	push(t, s, "a", aLog, 2)
	wantTotal(t, s, total(2))
}

// TestRedisCheckpoints: a long journal becomes a checkpoint, which others follow.
func TestRedisCheckpoints(t *testing.T) {
	r := startRedis(t)
	a, b := sharedService(t, r.addr()), sharedService(t, r.addr())
	var want uint64
	for n := uint64(1); n <= 15; n++ {
		w := windowOf("a", aLog, n)
		for i := range 1200 {
			// Names that do not compress.
			name := sha256.Sum256(fmt.Append(nil, n, i))
			w.Rows = append(w.Rows, domainRow(fmt.Sprintf("d%x.test", name[:20]), n, 0))
			want += n
		}
		want += 2 * n
		mustTake(t, a, windowRequest(w))
		if n == 5 {
			wantTotal(t, b, want)
		}
	}
	if a.store.(*shared).compactions.Load() == 0 {
		t.Error("no checkpoint was made")
	}
	wantTotal(t, sharedService(t, r.addr()), want)
	size := r.must("HGET", "netmon:{a}:sensor", "bytes").(string)
	if n, err := strconv.Atoi(size); err != nil || n > 8<<20 {
		t.Errorf("the journal has %s bytes", size)
	}
}

// TestRedisCluster: three real masters.
func TestRedisCluster(t *testing.T) {
	var nodes []*redisProcess
	var addresses []string
	for range 3 {
		n := startRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		nodes, addresses = append(nodes, n), append(addresses, n.addr())
	}
	out, err := exec.Command(tool(t, "redis-cli"), append([]string{"--cluster", "create", "--cluster-yes"}, addresses...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, n := range nodes {
		n.eventually("the cluster is whole", func() bool {
			info, err := n.ask("CLUSTER", "INFO")
			return err == nil && strings.Contains(info.(string), "cluster_state:ok")
		})
	}
	cluster := func(c *Storage) { c.Mode = "cluster" }
	one, two := sharedStore(t, cluster, addresses[:2]...), sharedStore(t, cluster, addresses[1:]...)
	defer one.close()
	defer two.close()
	a, b := serviceOn(one), serviceOn(two)
	for i := range 12 {
		for n := uint64(1); n <= 3; n++ {
			push(t, []*service{a, b}[n%2], fmt.Sprint("sensor {", i), aLog, n)
		}
	}
	wantTotal(t, a, 12*total(3))
	wantTotal(t, b, 12*total(3))

	// A node that comes back empty lost a third; its sensors are restored.
	nodes[1].kill()
	nodes[1].start()
	eventually(t, "the cluster answers", func() bool { return one.poll(t.Context()) == nil })
	for i := range 12 {
		push(t, a, fmt.Sprint("sensor {", i), aLog, 4)
	}
	eventually(t, "the other server follows", func() bool {
		return sum(t, b, "network_domain_bytes_sent_total") == 12*total(4)
	})
}

// TestRedisSentinel: a real failover to a replica that lacks what was written last.
func TestRedisSentinel(t *testing.T) {
	master := startRedis(t)
	replica := startRedis(t, "--replicaof", master.host+" "+redisPort, "--repl-diskless-sync-delay", "0")
	sentinel := startRedis(t, "--sentinel") // of one, which is a majority
	for _, command := range [][]any{
		{"SENTINEL", "MONITOR", "net", master.host, redisPort, "1"},
		{"SENTINEL", "SET", "net", "down-after-milliseconds", "500"},
		{"SENTINEL", "SET", "net", "failover-timeout", "3000"},
	} {
		sentinel.must(command...)
	}
	st := sharedStore(t, func(c *Storage) { c.Mode, c.MasterName = "sentinel", "net" }, sentinel.addr())
	defer st.close()
	s := serviceOn(st)
	for n := uint64(1); n <= 3; n++ {
		push(t, s, "a", aLog, n)
	}
	eventually(t, "the replica has it", func() bool {
		n, err := replica.ask("HGET", "netmon:{a}:sensor", "n")
		return err == nil && n == "3"
	})
	eventually(t, "the sentinel knows the replica", func() bool {
		all, err := sentinel.ask("SENTINEL", "REPLICAS", "net")
		return err == nil && len(all.([]any)) == 1
	})
	// The replica misses what comes now.
	replica.must("REPLICAOF", "127.0.0.1", "1")
	for n := uint64(4); n <= 6; n++ {
		push(t, s, "a", aLog, n)
	}
	wantTotal(t, s, total(6))
	master.kill()
	replica.must("REPLICAOF", master.host, redisPort)
	eventually(t, "the failover", func() bool {
		role, err := replica.ask("ROLE")
		return err == nil && role.([]any)[0] == "master"
	})
	push(t, s, "a", aLog, 7)
	wantTotal(t, s, total(7))
	wantTotal(t, sharedService(t, replica.addr()), total(7))
}

// TestRedisTLS: encrypted, with a login; the password is in no error.
func TestRedisTLS(t *testing.T) {
	dir := t.TempDir()
	webConfig(t, dir)
	const port = "6380"
	r := startRedis(t, "--tls-port", port, "--tls-cert-file", filepath.Join(dir, "cert.pem"),
		"--tls-key-file", filepath.Join(dir, "key.pem"), "--tls-ca-cert-file", filepath.Join(dir, "cert.pem"))
	r.must("ACL", "SETUSER", "netmon", "on", "~netmon:*", "+@all", ">open-sesame")
	c := DefaultConfig()
	c.Storage = defaultStorage()
	c.Storage.Type, c.Storage.Addresses = "redis", []string{net.JoinHostPort(r.host, port)}
	c.Storage.Username, c.Storage.Password, c.Storage.TLS = "netmon", "open-sesame", &StorageTLS{CAFile: "cert.pem", CertFile: "cert.pem", KeyFile: "key.pem", ServerName: "127.0.0.1"}
	if err := c.check(dir); err != nil {
		t.Fatal(err)
	}
	st, err := openStore(c, dir, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	s := serviceOn(st)
	push(t, s, "a", aLog, 1)
	wantTotal(t, s, total(1))
	if body := whole(t, s, expfmt.FmtText); !strings.Contains(body, `netmon_server_store_redis_check{check="append_only_file"} 0`) {
		t.Errorf("the scrape does not tell of the missing append-only file:\n%s", body)
	}

	c.Storage.Password = "open-barley"
	wrong, err := openStore(c, dir, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.close()
	if err := wrong.ready(); err == nil || strings.Contains(err.Error(), "barley") || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// TestRedisSweeps: who is forgotten is decided by Redis' clock, and once for all.
func TestRedisSweeps(t *testing.T) {
	r := startRedis(t)
	limits := testLimits()
	limits.forgetAfter = 50 * time.Millisecond
	late := atomic.Bool{} // the clocks of the servers run ahead
	open := func() *shared {
		c := defaultStorage()
		c.Type, c.Addresses = "redis", []string{r.addr()}
		st, err := openRedis(&c, nil, limits, func() time.Time {
			if late.Load() {
				return time.Now().Add(time.Hour)
			}
			return time.Now()
		}, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.close() })
		return st
	}
	a, b := open(), open()
	push(t, serviceOn(a), "a", aLog, 1)
	wantTotal(t, serviceOn(b), total(1))
	if forgotten, err := b.sweep(t.Context()); err != nil || len(forgotten) > 0 {
		t.Errorf("forgotten right after the start: %v %v", forgotten, err)
	}
	late.Store(true)
	if _, err := a.heartbeat(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	var times int
	eventually(t, "the sensor is forgotten", func() bool {
		for _, st := range []*shared{a, b} {
			forgotten, err := st.sweep(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			times += len(forgotten)
		}
		return times > 0
	})
	wantTotal(t, serviceOn(a), 0)
	wantTotal(t, serviceOn(b), 0)
}
