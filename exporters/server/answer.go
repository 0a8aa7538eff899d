package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// envelope is the body of every answer that is an error.
type envelope struct {
	Error struct {
		Code     code   `json:"code"`
		Message  string `json:"message"`
		Expected uint64 `json:"expected,omitempty"`
	} `json:"error"`
}

// fail answers with an error. What is no refusal is our fault, and its text
// stays in our log.
func (s *service) fail(w http.ResponseWriter, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		s.logger.Error("request failed", "error", err)
		r = refuse(codeInternal, "internal error, see the server's log")
	}
	s.refusals.note(string(r.code), 0)
	if r.code == codeUnauthenticated && w.Header().Get("WWW-Authenticate") == "" {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	var e envelope
	if r.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((r.after+time.Second-1)/time.Second)))
	}
	e.Error.Code, e.Error.Message, e.Error.Expected = r.code, r.message, r.expected
	s.answer(w, statusOf(r.code), e)
}

func statusOf(c code) int {
	switch c {
	case codeInvalid, codeMissingAgent:
		return http.StatusBadRequest
	case codeTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeUnsupported:
		return http.StatusUnsupportedMediaType
	case codeUnknownLog, codeOutOfSequence, codeConflict:
		return http.StatusConflict
	case codeNotFound:
		return http.StatusNotFound
	case codeMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case codeUnauthenticated:
		return http.StatusUnauthorized
	case codeForbidden, codeIdentity:
		return http.StatusForbidden
	case codeQuota:
		return http.StatusTooManyRequests
	case codeRefusedConfig:
		return http.StatusUnprocessableEntity
	case codeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// answer writes v as JSON.
func (s *service) answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.logger.Error("encode answer", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"INTERNAL_ERROR","message":"internal error"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // nobody is left to be told
}
