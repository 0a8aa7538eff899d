package main

import (
	"sync"
	"testing"
	"time"
)

// restartWithin bounds how long an exporter is away after its plugin was killed.
const restartWithin = 5 * time.Second

// TestChaos kills plugins, the server and the wire between them under steady
// traffic. At rest the server has exactly what the sensor's own exporter has and
// the kernel counted; and in between no counter ever fell (P5).
func TestChaos(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	c := newCenter(w)
	sensor := w.client.sensor(sensorConfig(exporterServer + c.push()))
	m := w.client.meter("eth0")
	local := func() (scrape, error) { return w.client.scrape(localMetrics) }
	leave := w.crowd()
	watchLocal := watch(t, "the sensor's own exporter", local)
	watchServer := watch(t, "the server", c.scrape)

	fall := func() { w.web.run("ip", "link", "set", "mgmt", "down") }
	rise := func() { w.web.run("ip", "link", "set", "mgmt", "up") }
	// Three times, since a plugin that dies often is waited for longer each time.
	for round := range 3 {
		fall()
		w.client.windows(2 + round)
		sensor.killPlugin(pushProgram, restartWithin)
		rise()
		w.client.progress("push", 2)

		c.server.kill()
		w.client.windows(2 + round)
		c.up()
		w.client.progress("push", 2)

		sensor.killPlugin(serverProgram, restartWithin)
		w.client.progress("server", 2)
	}

	leave()
	own := w.settle(m, local)
	c.agrees(own)
	watchLocal()
	watchServer()
	checkHealth(t, w.client)
}

// TestChaosByFilter drops the answers of the server only, so that windows arrive
// and their acknowledgements do not: they come again and must not count twice.
func TestChaosByFilter(t *testing.T) {
	t.Parallel()
	needTools(t, "nft")
	w := newTown(t)
	c := newCenter(w)
	w.client.sensor(sensorConfig(exporterServer + c.push()))
	m := w.client.meter("eth0")
	local := func() (scrape, error) { return w.client.scrape(localMetrics) }
	leave := w.crowd()
	for range 3 {
		w.client.run("nft", "add", "table", "inet", "deaf")
		w.client.run("nft", "add chain inet deaf in { type filter hook input priority 0; }")
		w.client.run("nft", "add rule inet deaf in iifname mgmt meta length > 120 drop")
		w.client.windows(4)
		w.client.run("nft", "delete", "table", "inet", "deaf")
		w.client.progress("push", 2)
	}
	leave()
	own := w.settle(m, local)
	c.agrees(own)
}

// agrees waits until the server has exactly what the sensor's own exporter has.
func (c *center) agrees(own scrape) {
	c.t.Helper()
	eventually(c.t, 45*time.Second, "the server has what the sensor's own exporter has", func() error {
		there, err := c.scrape()
		if err != nil {
			return err
		}
		return differ(own, there)
	})
}

// watch polls metrics until the function it returns is called, and fails the test
// where a counter fell or a series went away that had been there. That nobody
// answers is no fault meanwhile; a page without series is none either, for a server
// shows nothing of a sensor whose state it does not know.
func watch(t testing.TB, name string, get func() (scrape, error)) (stop func()) {
	end := make(chan struct{})
	var ended sync.WaitGroup
	var polls int
	ended.Go(func() {
		before := scrape{}
		for {
			if now, err := get(); err == nil && len(now.counters()) > 0 {
				if err := fell(before, now); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				before = now
				polls++
			}
			select {
			case <-end:
				return
			case <-time.After(poll):
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(end)
		ended.Wait()
		if polls < 10 && !t.Failed() {
			t.Errorf("%s: only %d polls were answered", name, polls)
		}
	})
	t.Cleanup(stop)
	return stop
}
