package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	contentType = "application/x-protobuf"
	jsonType    = "application/json"

	// maxWindow of zstd is the memory a sender may ask for to decode its frame.
	maxWindow = 16 << 20

	// maxRatio bounds what a body may become of what was sent, beyond freeDecoded.
	// Windows compress to a tenth; what is made to do harm, to a thousandth.
	maxRatio    = 100
	freeDecoded = 1 << 20

	// maxBodies is the memory for all bodies that are being sent to us.
	maxBodies = 256 << 20
)

// receive is POST /api/v1/metrics: one window or snapshot of a sensor, or the
// plain JSON that other agents report. Nothing changes unless the answer is 200.
func (s *service) receive(w http.ResponseWriter, r *http.Request) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == contentType:
		err = s.body(w, r, func(body []byte) error { return s.receiveRequest(w, r, body) })
	case err == nil && kind == jsonType:
		err = s.body(w, r, func(body []byte) error { return s.receiveReport(w, r, body) })
	default:
		err = refuse(codeUnsupported, "Content-Type must be %s or %s", contentType, jsonType)
	}
	if err != nil {
		s.fail(w, err)
	}
}

func (s *service) receiveRequest(w http.ResponseWriter, r *http.Request, body []byte) error {
	rows := countRows(body)
	if rows > maxRequestRows {
		return refuse(codeTooLarge, "%d rows are more than %d", rows, maxRequestRows)
	}
	request := &netmonpb.PushRequest{}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, request); err != nil {
		return refuse(codeInvalid, "the body is no PushRequest: %v", err)
	}
	if err := s.mayPush(r, sensorID(request), rows, len(body)); err != nil {
		return err
	}
	held, err := s.take(r.Context(), request)
	if err != nil {
		return err
	}
	logID := request.GetWindow().GetLogId()
	if snapshot := request.GetSnapshot(); snapshot != nil {
		logID = snapshot.LogId
	}
	answer, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(
		&netmonpb.PushResponse{LogId: logID, Watermark: held.watermark, Applied: held.applied})
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write(append(answer, '\n')) // a sender that is gone asks again
	return nil
}

// mayPush tells whether the request may speak for a sensor, and takes from its quota.
func (s *service) mayPush(r *http.Request, sensor string, rows, bytes int) error {
	p := s.policy.Load()
	who := whoOf(r)
	if err := p.guard.speaksFor(who, sensor); err != nil {
		s.impostors.say(s.now(), func() {
			s.logger.Warn("a push claims another sensor's id", "sensor", brief(sensor), "from", brief(who.String()), "peer", r.RemoteAddr)
		})
		return err
	}
	key := sensor
	if !s.known(sensor) {
		key = ""
	}
	return s.quotas.spend(key, p.config.Quota, s.now(), rows, bytes)
}

// body reads a body within its limits and calls f with it, decompressed. Few are
// decoded and applied at a time, for each may take many times its size in memory.
// A slow sender does not keep one of those places, and only its part of the memory.
func (s *service) body(w http.ResponseWriter, r *http.Request, f func([]byte) error) error {
	sent, release, err := s.readSent(w, r)
	defer release()
	if err != nil {
		return err
	}
	if err := s.decoding.enter(r.Context()); err != nil {
		return err
	}
	defer s.decoding.leave()
	plain, err := s.inflate(strings.ToLower(r.Header.Get("Content-Encoding")), sent)
	if err != nil {
		return err
	}
	return f(plain)
}

// readSent returns the body as it was sent. What it takes from the ration is
// given back by release.
func (s *service) readSent(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	limit := int64(s.policy.Load().config.MaxBody)
	peer, taken := peerOf(r), int64(0)
	release = func() { s.bodies.give(peer, taken) }
	if r.ContentLength > limit {
		return nil, release, tooLarge(limit)
	}
	from := http.MaxBytesReader(w, r.Body, limit)
	for {
		if len(body) == cap(body) {
			more := int64(max(len(body), 64<<10))
			if err := s.bodies.take(peer, more); err != nil {
				return nil, release, err
			}
			taken += more
			body = append(make([]byte, 0, int64(cap(body))+more), body...)
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, release, nil
		case err != nil:
			return nil, release, unreadable(err)
		}
	}
}

// peerOf is who is charged for a request: the one that logged in, or the address.
func peerOf(r *http.Request) string {
	if who := whoOf(r); !who.anonymous() {
		return who.String()
	}
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return a.Addr().Unmap().String()
}

// inflate returns a body without its compression.
func (s *service) inflate(encoding string, sent []byte) ([]byte, error) {
	var plain io.Reader
	switch encoding {
	case "", "identity":
		return sent, nil // max_decoded is not below max_body
	case "gzip":
		z, err := gzip.NewReader(bytes.NewReader(sent))
		if err != nil {
			return nil, unreadable(err)
		}
		plain = z
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(sent), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("make decoder: %w", err)
		}
		defer z.Close()
		plain = z
	default:
		return nil, refuse(codeUnsupported, "Content-Encoding must be zstd, gzip or none")
	}
	limit := int64(s.policy.Load().config.MaxDecoded)
	bomb := max(freeDecoded, maxRatio*int64(len(sent)))
	var body bytes.Buffer
	n, err := body.ReadFrom(io.LimitReader(plain, min(limit, bomb)+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case n > limit:
		return nil, tooLarge(limit)
	case n > bomb:
		return nil, refuse(codeTooLarge, "the body grows to more than %d times its size", maxRatio)
	}
	return body.Bytes(), nil
}

func tooLarge(limit int64) *refusal {
	return refuse(codeTooLarge, "the body is larger than %d bytes", limit)
}

func unreadable(err error) error {
	var tooMuch *http.MaxBytesError
	if errors.As(err, &tooMuch) {
		return tooLarge(tooMuch.Limit)
	}
	return refuse(codeInvalid, "the body cannot be read: %v", err)
}
