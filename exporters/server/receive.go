package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

const (
	contentType = "application/x-protobuf"

	// maxWindow of zstd is the memory a sender may ask for to decode its frame.
	maxWindow = 16 << 20
)

// receive is POST /api/v1/metrics: one window or snapshot of a sensor. Nothing
// changes unless the answer is 200.
func (s *service) receive(w http.ResponseWriter, r *http.Request) {
	request, err := s.decode(w, r)
	if err != nil {
		s.fail(w, err)
		return
	}
	held, err := s.take(r.Context(), request)
	if err != nil {
		s.fail(w, err)
		return
	}
	logID := request.GetWindow().GetLogId()
	if snapshot := request.GetSnapshot(); snapshot != nil {
		logID = snapshot.LogId
	}
	body, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(
		&netmonpb.PushResponse{LogId: logID, Watermark: held.watermark, Applied: held.applied})
	if err != nil {
		s.fail(w, fmt.Errorf("encode answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // a sender that is gone asks again
}

// decode reads the body within its limits. Few are decoded at a time, for each
// may take many times its size in memory.
func (s *service) decode(w http.ResponseWriter, r *http.Request) (*netmonpb.PushRequest, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != contentType {
		return nil, refuse(codeUnsupported, "Content-Type must be %s", contentType)
	}
	select {
	case s.decoding <- struct{}{}:
		defer func() { <-s.decoding }()
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	body, err := s.readBody(w, r)
	if err != nil {
		return nil, err
	}
	if n := countRows(body); n > maxRequestRows {
		return nil, refuse(codeTooLarge, "%d rows are more than %d", n, maxRequestRows)
	}
	request := &netmonpb.PushRequest{}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, request); err != nil {
		return nil, refuse(codeInvalid, "the body is no PushRequest: %v", err)
	}
	return request, nil
}

// readBody returns the body without its compression.
func (s *service) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := int64(s.config.MaxBody)
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	sent := http.MaxBytesReader(w, r.Body, limit)
	var plain io.Reader = sent
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(sent)
		if err != nil {
			return nil, unreadable(err)
		}
		plain = z
	case "zstd":
		z, err := zstd.NewReader(sent, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("make decoder: %w", err)
		}
		defer z.Close()
		plain = z
	default:
		return nil, refuse(codeUnsupported, "Content-Encoding must be zstd, gzip or none")
	}
	var body bytes.Buffer
	n, err := body.ReadFrom(io.LimitReader(plain, int64(s.config.MaxDecoded)+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case n > int64(s.config.MaxDecoded):
		return nil, tooLarge(int64(s.config.MaxDecoded))
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
