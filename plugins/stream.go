package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	// Pauses between attempts to export the same window.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second

	// maxItem bounds a window or snapshot put together from its parts, in bytes
	// on the wire: some two million rows.
	maxItem = 256 << 20
)

var errReplaced = errors.New("the exporter was replaced")

// Export receives windows and snapshots and acknowledges each when the exporter
// has it. The stream ends after a rewind, and when another exporter takes over:
// what was in flight then is void, and the host opens the next one.
func (s *service) Export(stream netmonpb.ExporterService_ExportServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.stopped, cancel)()
	if err := take(ctx, s.stream); err != nil { // one at a time: the last may still be winding up
		return err
	}
	s.streaming(true)
	defer func() {
		s.streaming(false)
		give(s.stream)
	}()

	d := delivery{service: s, ctx: ctx}
	var in assembly
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		item, err := in.add(request)
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "export: %v", err)
		}
		if item == nil {
			continue
		}
		var rewind *Rewind
		switch err := d.deliver(item); {
		case err == nil:
			if err := stream.Send(acknowledge(item.sequence())); err != nil {
				return err
			}
		case errors.As(err, &rewind):
			s.logger.Info("exporter asks to go on elsewhere", "after", rewind.After, "cause", rewind.Cause)
			return stream.Send(&netmonpb.ExportResponse{Result: &netmonpb.ExportResponse_Rewind{Rewind: rewind.After}})
		case errors.Is(err, errReplaced):
			return nil
		default:
			return err
		}
	}
}

func acknowledge(n uint64) *netmonpb.ExportResponse {
	return &netmonpb.ExportResponse{Result: &netmonpb.ExportResponse_Acknowledged{Acknowledged: n}}
}

// delivery hands the items of one stream to the exporter. It belongs to the
// goroutine of the stream.
type delivery struct {
	service *service
	ctx     context.Context
	to      *instance // set by the first item
}

// deliver calls the exporter until it takes the item, asks to rewind, or the
// stream is over.
func (d *delivery) deliver(item *item) error {
	log := d.service.logger
	var failing time.Time
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := d.attempt(item)
		var rewind *Rewind
		if err == nil || errors.As(err, &rewind) || errors.Is(err, errReplaced) {
			if !failing.IsZero() {
				log.Info("exporting again", "window", item.sequence(), "after", time.Since(failing).Round(time.Millisecond))
			}
			return err
		}
		if d.ctx.Err() != nil {
			return status.FromContextError(d.ctx.Err()).Err()
		}
		if _, final := status.FromError(err); final {
			return err
		}
		d.service.failures.note(exportFailed)
		if failing.IsZero() {
			failing = time.Now()
			log.Warn("window is not exported, it is tried again", "window", item.sequence(), "error", err)
		}
		select {
		case <-d.ctx.Done():
			return status.FromContextError(d.ctx.Err()).Err()
		case <-time.After(pause):
		}
	}
}

// attempt calls the exporter once, when it is our turn.
func (d *delivery) attempt(item *item) error {
	s := d.service
	if err := take(d.ctx, s.turn); err != nil {
		return err
	}
	defer give(s.turn)
	switch {
	case s.running == nil:
		return status.Error(codes.FailedPrecondition, "Configure comes before Export")
	case d.to == nil:
		d.to = s.running
	case d.to != s.running:
		return errReplaced
	}

	ctx, cancel := context.WithTimeout(d.ctx, s.calling)
	defer cancel()
	stuck := time.AfterFunc(2*s.calling, func() {
		s.abort(fmt.Sprintf("window %d has been with the exporter for %v", item.sequence(), 2*s.calling))
	})
	defer stuck.Stop()

	if item.window != nil {
		return plain(d.to.exporter.Export(ctx, item.window))
	}
	e, ok := d.to.exporter.(SnapshotExporter)
	if !ok {
		return status.Error(codes.InvalidArgument, "this exporter takes no snapshots")
	}
	return plain(e.Install(ctx, item.snapshot))
}

// plain hides a gRPC status that the exporter got from a peer of its own: it is
// an error to be tried again like any other, not an answer to the host.
func plain(err error) error {
	if _, ok := status.FromError(err); ok && err != nil {
		return errors.New(err.Error())
	}
	return err
}

// item is one whole window or one whole snapshot.
type item struct {
	window   *netmonpb.Window
	snapshot *netmonpb.Snapshot
}

func (i *item) sequence() uint64 {
	if i.window != nil {
		return i.window.Sequence
	}
	return i.snapshot.Sequence
}

// assembly puts together what the host cut into messages.
type assembly struct {
	open *item // nil between two items
	size int
}

// add takes the next message and returns the item that it completes, if it does.
func (a *assembly) add(r *netmonpb.ExportRequest) (*item, error) {
	part := &item{window: r.GetWindow(), snapshot: r.GetSnapshot()}
	if part.window == nil && part.snapshot == nil {
		return nil, errors.New("a message without a window or snapshot")
	}
	if a.size += proto.Size(r); a.size > maxItem {
		return nil, fmt.Errorf("window %d has more than %d MiB", part.sequence(), maxItem>>20)
	}
	switch {
	case a.open == nil:
		a.open = part
	case !a.open.join(part):
		return nil, fmt.Errorf("window %d goes on with a part of %d", a.open.sequence(), part.sequence())
	}
	if r.More {
		return nil, nil
	}
	done := a.open
	a.open, a.size = nil, 0
	return done, nil
}

// join appends the rows of a further part, if it is one.
func (i *item) join(part *item) bool {
	switch {
	case i.sequence() != part.sequence():
		return false
	case i.window != nil && part.window != nil:
		i.window.Rows = append(i.window.Rows, part.window.Rows...)
	case i.snapshot != nil && part.snapshot != nil:
		i.snapshot.Rows = append(i.snapshot.Rows, part.snapshot.Rows...)
	default:
		return false
	}
	return true
}
