package server

import (
	"context"
	"fmt"
	"time"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// store keeps, for every sensor and each of its logs, the effect of windows
// 1..w of that log, and nothing else: what is applied is always a prefix.
// Messages were validated before; they are read-only and not kept.
type store interface {
	// apply adds window w+1 in one step together with the new w. A window at or
	// below w changes nothing and is acknowledged. Errors are a *refusal.
	apply(ctx context.Context, w *netmonpb.Window) (ack, error)

	// install replaces what is held of the snapshot's log in one step, if the
	// snapshot is newer.
	install(ctx context.Context, s *netmonpb.Snapshot) (ack, error)

	// remove forgets a sensor, its logs and its series, in one step, and tells
	// whether it was known. A sensor that goes on begins with its snapshot.
	remove(ctx context.Context, sensorID string) (known bool, err error)

	// heartbeat notes that a sensor lives, and tells whether it is known; one that
	// is not is not made known. About is kept as sensor.about, nil leaves what is
	// kept there. Servers that share a store share both.
	heartbeat(ctx context.Context, sensorID string, about []byte) (known bool, err error)

	// sweep forgets the sensors that were silent for longer than
	// limits.forgetAfter.
	sweep(ctx context.Context) (forgotten []string, err error)

	// read calls f with one consistent state that does not change until f
	// returns, or has it breathe. Writers wait meanwhile, so f must not wait for
	// anybody.
	read(f func(*state))

	// ready says why the store cannot be relied on at the moment, or nil.
	ready() error

	close() error
}

// ack says what the store holds of a log.
type ack struct {
	watermark uint64
	applied   bool // false: held already
}

// code says why something is refused. It is part of the API.
type code string

const (
	codeInvalid          code = "INVALID_REQUEST"
	codeTooLarge         code = "TOO_LARGE"
	codeUnsupported      code = "UNSUPPORTED_MEDIA_TYPE"
	codeUnknownLog       code = "UNKNOWN_LOG"
	codeOutOfSequence    code = "OUT_OF_SEQUENCE"
	codeConflict         code = "CONFLICT"
	codeNotFound         code = "NOT_FOUND"
	codeMethodNotAllowed code = "METHOD_NOT_ALLOWED"
	codeUnavailable      code = "UNAVAILABLE" // the store cannot write now: try again
	codeUnauthenticated  code = "UNAUTHENTICATED"
	codeForbidden        code = "FORBIDDEN"
	codeIdentity         code = "IDENTITY_MISMATCH" // allowed to push, but not for this sensor
	codeMissingAgent     code = "MISSING_AGENT_ID"
	codeQuota            code = "QUOTA_EXCEEDED"
	codeRefusedConfig    code = "CONFIG_REFUSED" // nothing was reloaded
	codeInternal         code = "INTERNAL_ERROR"
)

// refusal is an answer to a window or snapshot that was not taken. Nothing has
// changed then.
type refusal struct {
	code     code
	message  string
	expected uint64        // codeOutOfSequence: the sequence that would be taken
	after    time.Duration // codeUnavailable: when to try again
	// again: the same refusal was given before; it is counted, not logged.
	again bool
}

func (r *refusal) Error() string { return r.message }

func refuse(c code, format string, args ...any) *refusal {
	return &refusal{code: c, message: fmt.Sprintf(format, args...)}
}

// limits bound a store. Reaching a bound on rows loses detail, never totals.
type limits struct {
	sensors       int
	rowsPerSensor int
	rows          int
	forgetAfter   time.Duration // 0: never
}
