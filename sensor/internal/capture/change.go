package capture

import (
	"errors"
	"slices"
)

// Change is what can be changed of Rings that are open.
type Change struct {
	Interfaces  []string
	Filter      *Filter
	FullPackets bool
}

// Change captures other interfaces, or other packets of them, from now on. Nothing
// is opened or closed: the kernel replaces the program of each ring in one step, so
// what does not change loses no packet. After an error everything is as it was; it is
// a *NoInterfaceError where an interface named in full does not exist.
func (r *Rings) Change(c Change) error {
	if err := errors.Join(selection(c.Interfaces).check(), c.Filter.Check()); err != nil {
		return err
	}
	w := r.watcher
	w.mu.Lock()
	defer w.mu.Unlock()
	all, err := devices(w.handle)
	if err == nil && !slices.Equal(c.Interfaces, r.options.Interfaces) {
		err = selection(c.Interfaces).absent(all)
	}
	if err != nil {
		return err
	}
	was := Change{r.options.Interfaces, r.options.Filter, r.options.FullPackets}
	if err := r.change(c, all); err != nil {
		return errors.Join(err, r.change(was, all))
	}
	return nil
}

// change has the watcher take what is selected now and attaches the program once,
// also where the interfaces are the same. w.mu is held.
func (r *Rings) change(c Change, all []device) error {
	r.options.Interfaces, r.options.Filter, r.options.FullPackets = c.Interfaces, c.Filter, c.FullPackets
	w := r.watcher
	w.selection = selection(c.Interfaces)
	follow := w.changed
	w.changed = func(*table) {}
	w.take(all)
	w.changed = follow
	return r.attach(w.table.Load())
}
