package view

import "testing"

func TestSketch(t *testing.T) {
	s := newSketch(1000)
	mix := func(i int) uint64 { return uint64(i+1) * 0x9e3779b97f4a7c15 }
	for i := range 100000 {
		s.add(mix(i), 10)
	}
	heavy := mix(1 << 30)
	s.add(heavy, 1_000_000)
	if got := s.estimate(heavy); got != 0 {
		t.Errorf("the open window shows: %d", got)
	}
	s.turn()
	if got := s.estimate(heavy); got < 1_000_000 || got > 1_010_000 {
		t.Errorf("estimate is %d", got)
	}
	above := 0
	for i := range 100000 {
		got := s.estimate(mix(i))
		if got < 10 {
			t.Fatalf("key %d is estimated at %d, less than it weighs", i, got)
		}
		if got > 500_000 {
			above++
		}
	}
	if above > 100 {
		t.Errorf("%d of 100000 light keys look heavy", above)
	}
	s.turn()
	if got := s.estimate(heavy); got < 500_000 || got > 510_000 {
		t.Errorf("a window later the estimate is %d", got)
	}
}
