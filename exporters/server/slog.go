package server

import (
	"context"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// slogTo lets a library that logs with slog write into our log.
func slogTo(logger hclog.Logger) *slog.Logger { return slog.New(&slogHandler{logger: logger}) }

// slogHandler implements slog.Handler over hclog. Groups become prefixes: a.b.
type slogHandler struct {
	logger hclog.Logger
	prefix string
}

func hclogLevel(l slog.Level) hclog.Level {
	switch {
	case l < slog.LevelDebug:
		return hclog.Trace
	case l < slog.LevelInfo:
		return hclog.Debug
	case l < slog.LevelWarn:
		return hclog.Info
	case l < slog.LevelError:
		return hclog.Warn
	}
	return hclog.Error
}

func (h *slogHandler) Enabled(_ context.Context, l slog.Level) bool {
	return h.logger.GetLevel() <= hclogLevel(l)
}

func (h *slogHandler) Handle(_ context.Context, r slog.Record) error {
	var args []any
	r.Attrs(func(a slog.Attr) bool {
		args = h.append(args, h.prefix, a)
		return true
	})
	h.logger.Log(hclogLevel(r.Level), r.Message, args...)
	return nil
}

func (h *slogHandler) append(args []any, prefix string, a slog.Attr) []any {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		return append(args, prefix+a.Key, v.Any())
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, inner := range v.Group() {
		args = h.append(args, prefix, inner)
	}
	return args
}

func (h *slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var args []any
	for _, a := range attrs {
		args = h.append(args, h.prefix, a)
	}
	return &slogHandler{h.logger.With(args...), h.prefix}
}

func (h *slogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &slogHandler{h.logger, h.prefix + name + "."}
}
