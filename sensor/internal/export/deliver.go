package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// rewound ends a stream whose exporter wants to go on after another window.
type rewound struct{ after uint64 }

func (r *rewound) Error() string { return fmt.Sprintf("go on after window %d", r.after) }

// deliver sends the windows after n, or a snapshot and the windows after that, on
// the process's open stream and moves the cursor with the acknowledgements. It
// returns nil when the log is closed and all of it acknowledged.
func (s *Sink) deliver(ctx context.Context, p *process, n uint64, snapshot bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer context.AfterFunc(ctx, p.link.cancel)() // ends Recv and Send
	defer p.link.cancel()

	f := newFlight(n)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if err := s.feed(ctx, p, f, n, snapshot); err != nil && err != errBroken {
			cancel(err)
		}
	}()
	err := s.collect(p, f)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // why Recv failed
	}
	cancel(err)
	p.link.cancel()
	<-fed
	return err
}

// errBroken is feed's word for a stream that takes no more; collect finds out why,
// after what answers are still to come.
var errBroken = errors.New("stream broken")

// feed sends until the log is closed and sent, or ctx ends.
func (s *Sink) feed(ctx context.Context, p *process, f *flight, n uint64, snapshot bool) error {
	for {
		if err := f.reserve(ctx); err != nil {
			return err
		}
		if snapshot {
			snap := s.log.Snapshot()
			n, snapshot = snap.GetSequence(), false
			if n == 0 { // nothing was folded yet
				<-f.room
			} else if err := s.sendSnapshot(p, f, snap); err != nil {
				return err
			}
			continue
		}
		w, err := s.log.Next(ctx, n)
		switch {
		case err == nil:
			if err := s.sendWindow(p, f, w); err != nil {
				return err
			}
			n = w.Sequence
		case err == io.EOF:
			f.end()
			_ = p.link.stream.CloseSend()
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case s.options.IsFolded(err):
			<-f.room
			if snapshot = p.described.WantsSnapshot; !snapshot {
				n = s.skip(ctx, n)
			}
		default:
			return fmt.Errorf("read window %d: %w", n+1, err)
		}
	}
}

func (s *Sink) sendWindow(p *process, f *flight, w *netmonpb.Window) error {
	for part := range windowParts(w) {
		if !part.More {
			f.depart(w.Sequence)
		}
		if err := p.link.stream.Send(part); err != nil {
			return errBroken
		}
	}
	s.update(func(st *Status) { st.Sent = w.Sequence })
	return nil
}

func (s *Sink) sendSnapshot(p *process, f *flight, snap *netmonpb.Snapshot) error {
	for part := range snapshotParts(snap) {
		if !part.More {
			f.depart(snap.Sequence)
		}
		if err := p.link.stream.Send(part); err != nil {
			return errBroken
		}
	}
	s.update(func(st *Status) { st.Sent = snap.Sequence; st.Snapshots++ })
	return nil
}

// skip finds the newest folded window after n, for an exporter that has no use
// for the snapshot.
func (s *Sink) skip(ctx context.Context, n uint64) uint64 {
	span := int(s.log.Snapshot().GetSequence() - n)
	past, cancel := context.WithCancel(ctx)
	cancel() // Next is not to wait for a window to come
	folded := uint64(sort.Search(span, func(i int) bool {
		_, err := s.log.Next(past, n+uint64(i))
		return err == nil || !s.options.IsFolded(err)
	}))
	s.logger.Warn("windows were folded away before the exporter took them", "first", n+1, "windows", folded)
	s.update(func(st *Status) { st.Skipped += folded })
	return n + folded
}

// collect takes answers until the stream ends.
func (s *Sink) collect(p *process, f *flight) error {
	for {
		answer, err := p.link.stream.Recv()
		if err == io.EOF {
			return f.landed()
		}
		if err != nil {
			return p.explain(p.ctx, err)
		}
		switch result := answer.Result.(type) {
		case *netmonpb.ExportResponse_Acknowledged:
			if err := f.arrive(result.Acknowledged); err != nil {
				return err
			}
			s.moveCursor(result.Acknowledged)
		case *netmonpb.ExportResponse_Rewind:
			if last := s.log.Last(); result.Rewind > last {
				s.logger.Warn("exporter holds more windows than the log has", "exporter", result.Rewind, "log", last)
			}
			return &rewound{result.Rewind}
		default:
			return errors.New("the plugin answered with neither an acknowledgement nor a rewind")
		}
	}
}

// moveCursor stores what was acknowledged. Where that fails the exporter is sent
// some windows twice after a restart, which it must stand anyway.
func (s *Sink) moveCursor(n uint64) {
	err := s.log.SetCursor(s.options.Label, n)
	if err != nil {
		s.failed(failedCursor, 1)
	}
	if failed := err != nil; failed != s.cursorFails {
		s.cursorFails = failed
		if failed {
			s.logger.Warn("cursor is not stored", "error", err)
		} else {
			s.logger.Info("cursor is stored again")
		}
	}
	s.update(func(st *Status) { st.Acknowledged = n })
}
