package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// An event is a fault and its end. Two that hold the same thing do not meet.
type event struct {
	holds  []string
	happen func(*rand.Rand)
}

// events are all kinds, with what they befall where there is a choice of one.
func (s *storm) events() (all []event) {
	add := func(happen func(*rand.Rand), holds ...string) { all = append(all, event{holds, happen}) }
	plugins := func(st *station) string { return "plugins of " + st.name }
	for _, st := range s.stations {
		add(func(r *rand.Rand) { s.strikePlugin(st, r) }, plugins(st))
		add(func(r *rand.Rand) { s.fillDisk(st.name, st.disk, r) }, st.name)
		add(func(r *rand.Rand) { s.unplug(st, r) }, "uplink of "+st.name)
	}
	// At rest, or where it does not count: what is in a ring goes with the sensor.
	add(func(r *rand.Rand) { s.replaceSensor(s.stations[0], syscall.SIGKILL) }, "lab-1", plugins(s.stations[0]))
	add(func(r *rand.Rand) { s.replaceSensor(s.stations[1], syscall.SIGTERM) }, "lab-2", plugins(s.stations[1]))
	add(func(r *rand.Rand) { s.replaceSensor(s.stations[2], syscall.SIGKILL) }, "lab-3", plugins(s.stations[2]))
	add(func(r *rand.Rand) { s.freeze("the sensor of lab-1", s.stations[0].sensor.pid(), 500, r) }, "lab-1")

	for _, v := range s.servers() {
		add(func(r *rand.Rand) { s.strikeServer(v, syscall.SIGKILL, r) }, v.name)
		add(func(r *rand.Rand) { s.freeze("server "+v.name, v.running.pid(), 4000, r) }, v.name)
	}
	add(func(r *rand.Rand) { s.strikeServer(s.disk, syscall.SIGTERM, r) }, s.disk.name)
	add(func(r *rand.Rand) { s.strikeServer(s.pair[0], syscall.SIGTERM, r) }, s.pair[0].name)
	add(func(r *rand.Rand) { s.fillDisk("server disk", s.disk.disk, r) }, s.disk.name)

	add(func(r *rand.Rand) { s.strikeRedis(r) }, "redis")
	add(func(r *rand.Rand) { s.freeze("Redis", s.redis.running.pid(), 3000, r) }, "redis")
	// What Redis loses is given back by the servers that know it: not both at once.
	add(func(r *rand.Rand) { s.emptyRedis("flushed", s.flush) }, "redis", "a", "b")
	add(func(r *rand.Rand) { s.emptyRedis("started again without its file", s.wipe) }, "redis", "a", "b")

	for _, w := range weathers {
		for name, p := range s.sorted() {
			add(func(r *rand.Rand) { s.bend(name, p, w, r) }, "proxy "+name)
		}
	}
	for _, at := range []point{arriving, underWay, taken} {
		add(func(r *rand.Rand) { s.strikeAt(at, s.proxies["disk"], s.disk, r) }, "proxy disk", s.disk.name)
		v := s.pair[1]
		add(func(r *rand.Rand) { s.strikeAt(at, s.proxies["pair"], v, r) }, "proxy pair", v.name)
	}
	add(func(r *rand.Rand) { s.strikePusher(s.stations[1], s.proxies["disk"]) }, "proxy disk", plugins(s.stations[1]))
	add(func(r *rand.Rand) { s.strikeRedisAt(s.proxies["pair"]) }, "proxy pair", "redis")
	return all
}

// sorted are the proxies in an order that a seed can repeat.
func (s *storm) sorted() func(func(string, *proxy) bool) {
	return func(yield func(string, *proxy) bool) {
		for _, name := range []string{"disk", "pair"} {
			if !yield(name, s.proxies[name]) {
				return
			}
		}
	}
}

// pause is up to so many milliseconds.
func pause(r *rand.Rand, most int) time.Duration {
	return time.Duration(r.IntN(most)) * time.Millisecond
}

// send signals a process that may have ended.
func send(pid int, sig syscall.Signal) {
	if pid > 0 {
		_ = syscall.Kill(pid, sig)
	}
}

func (s *storm) strikePlugin(st *station, r *rand.Rand) {
	pids := st.sensor.plugins(serverProgram, pushProgram)
	if len(pids) == 0 {
		return
	}
	slices.Sort(pids)
	pid := pids[r.IntN(len(pids))]
	switch sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSTOP}[r.IntN(3)]; sig {
	case syscall.SIGSTOP:
		s.freeze("a plugin of "+st.name, pid, 3000, r)
	default:
		s.log("plugin: "+sig.String(), "a plugin of %s: %v", st.name, sig)
		send(pid, sig)
	}
}

// freeze stops a process for up to so many milliseconds.
func (s *storm) freeze(what string, pid, most int, r *rand.Rand) {
	length := pause(r, most)
	s.log("frozen", "%s is frozen for %v", what, length)
	send(pid, syscall.SIGSTOP)
	time.Sleep(length)
	send(pid, syscall.SIGCONT)
}

func (s *storm) fillDisk(what, disk string, r *rand.Rand) {
	s.log("disk full", "the disk of %s is full", what)
	filler := filepath.Join(disk, "filler")
	if err := fill(filler); !errors.Is(err, syscall.ENOSPC) {
		s.t.Errorf("fill the disk of %s: %v", what, err)
	}
	time.Sleep(time.Second + pause(r, 3000))
	if err := os.Remove(filler); err != nil {
		s.t.Error(err)
	}
}

func (s *storm) unplug(st *station, r *rand.Rand) {
	length := pause(r, 4000)
	s.log("uplink down", "the uplink of %s is down for %v", st.name, length)
	st.client.run("ip", "link", "set", "uplink", "down")
	time.Sleep(length)
	st.client.run("ip", "link", "set", "uplink", "up")
}

// replaceSensor ends a sensor and starts another on its log; at rest, but for the
// wild one.
func (s *storm) replaceSensor(st *station, sig syscall.Signal) {
	when := "under traffic"
	if !st.wild {
		when = "at rest"
		st.close()
		st.rest()
	}
	s.log("sensor: "+sig.String()+" "+when, "the sensor of %s, %s: %v", st.name, when, sig)
	st.sensor.signal(sig)
	st.sensor.wait(drainBound)
	st.sensor = st.client.sensor(st.config)
	if !st.wild {
		st.open()
	}
}

func (s *storm) strikeServer(v *server, sig syscall.Signal, r *rand.Rand) {
	length := pause(r, 2000)
	s.log("server: "+sig.String(), "server %s: %v, away for %v", v.name, sig, length)
	v.running.signal(sig)
	v.running.wait(30 * time.Second)
	time.Sleep(length)
	v.up()
}

func (s *storm) strikeRedis(r *rand.Rand) {
	length := pause(r, 2000)
	s.log("redis killed", "Redis is killed, away for %v", length)
	s.redis.running.kill()
	time.Sleep(length)
	s.redis.start()
}

// emptyRedis lets Redis lose everything while the servers know it.
func (s *storm) emptyRedis(how string, f func()) {
	for _, v := range s.pair {
		v.ready()
	}
	s.log("redis "+how, "Redis is %s", how)
	f()
	for _, v := range s.pair {
		v.ready()
	}
}

func (s *storm) flush() { s.hub.run("redis-cli", "flushall") }

func (s *storm) wipe() {
	s.redis.running.kill()
	if err := os.RemoveAll(filepath.Join(s.redis.dir, "appendonlydir")); err != nil {
		s.t.Error(err)
	}
	s.redis.start()
}

func (s *storm) bend(name string, p *proxy, w weather, r *rand.Rand) {
	length := 2*time.Second + pause(r, 3000)
	s.log("pushes: "+string(w), "pushes to %s: %s, for %v", name, w, length)
	p.turn(w)
	time.Sleep(length)
	p.turn(fair)
}

// await waits for a trap. That nobody pushes meanwhile is no fault: pushes may be
// waiting for something else.
func (s *storm) await(p *proxy, at point, what string, f func()) {
	fired := p.lay(at, f)
	select {
	case <-fired:
		s.log("at a point: "+what, "%s, when %s", what, at)
	case <-time.After(5 * time.Second):
		if !p.lift() {
			<-fired
		}
	}
}

func (s *storm) strikeAt(at point, p *proxy, v *server, r *rand.Rand) {
	delay := time.Duration(r.IntN(3000)) * time.Microsecond
	s.await(p, at, fmt.Sprintf("server %s is killed", v.name), func() {
		if at == underWay {
			time.Sleep(delay)
		}
		send(v.running.pid(), syscall.SIGKILL)
		<-v.running.done
	})
	if v.running.alive() != nil {
		v.up()
	}
}

func (s *storm) strikePusher(st *station, p *proxy) {
	pids := st.sensor.plugins(pushProgram)
	s.await(p, taken, "the pushes of "+st.name+" are killed", func() {
		for _, pid := range pids {
			send(pid, syscall.SIGKILL)
		}
	})
}

func (s *storm) strikeRedisAt(p *proxy) {
	s.await(p, underWay, "Redis is killed", func() {
		send(s.redis.running.pid(), syscall.SIGKILL)
		<-s.redis.running.done
	})
	if s.redis.running.alive() != nil {
		s.redis.start()
	}
}
