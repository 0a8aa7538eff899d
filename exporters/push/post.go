package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/netmon-sensor/netmon/plugins"
	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

// maxAnswer is how much of an answer's body is read. Ours are a few hundred bytes.
const maxAnswer = 64 << 10

// post sends one body and sorts the answer by its status. A 200 is not judged yet.
func (e *Exporter) post(ctx context.Context, body []byte) answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.config.URL, bytes.NewReader(body))
	if err != nil {
		return answer{trouble: strange, err: errors.New("the URL cannot be used")}
	}
	e.introduce(r, "application/x-protobuf")
	if e.compress != nil {
		r.Header.Set("Content-Encoding", "zstd")
	}
	response, err := e.client.Do(r)
	if err != nil {
		return answer{trouble: unreachable, err: plainError(err)}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{trouble: unreachable, err: fmt.Errorf("read answer: %w", plainError(err))}
	}
	return sortAnswer(response, text)
}

// introduce says what a request carries and who makes it.
func (e *Exporter) introduce(r *http.Request, contentType string) {
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", "netmon-exporter-push/"+e.version)
	if a := e.config.Auth; a != nil {
		if a.BearerToken != "" {
			r.Header.Set("Authorization", "Bearer "+a.BearerToken)
		} else {
			r.SetBasicAuth(a.Username, a.Password)
		}
	}
}

// plainError is err without the URL, which may hold a key in its query.
func plainError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func sortAnswer(r *http.Response, text []byte) answer {
	a := answer{status: r.StatusCode, body: text, retryAfter: retryAfter(r.Header.Get("Retry-After"))}
	var refusal struct {
		Error struct {
			Code     string `json:"code"`
			Message  string `json:"message"`
			Expected uint64 `json:"expected"`
		} `json:"error"`
	}
	ours := json.Unmarshal(text, &refusal) == nil && refusal.Error.Code != ""
	a.err = fmt.Errorf("status %d: %s", r.StatusCode, brief(text))
	if ours {
		a.err = fmt.Errorf("status %d: %s: %s", r.StatusCode, brief([]byte(refusal.Error.Code)), brief([]byte(refusal.Error.Message)))
	}
	switch code := r.StatusCode; {
	case code == http.StatusOK:
		a.err = nil
	case code == http.StatusConflict && refusal.Error.Code == "UNKNOWN_LOG":
		a.rewind = &plugins.Rewind{After: 0, Cause: a.err.Error()}
	case code == http.StatusConflict && refusal.Error.Code == "OUT_OF_SEQUENCE" && refusal.Error.Expected > 0:
		a.rewind = &plugins.Rewind{After: refusal.Error.Expected - 1, Cause: a.err.Error()}
	case code == http.StatusConflict && ours:
		a.trouble = conflicting
	case code == http.StatusUnauthorized:
		a.trouble = unauthorized
	case code == http.StatusForbidden:
		a.trouble = forbidden
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable, code == http.StatusRequestTimeout:
		a.trouble = busy
	case code >= 500:
		a.trouble = broken
	case code >= 400 && ours:
		a.trouble = refused
	default:
		a.trouble = strange
	}
	return a
}

// judge decides whether a 200 acknowledges an item: a proxy's 200 does not.
func judge(a answer, logID []byte, sequence uint64) answer {
	if a.rewind != nil {
		return a
	}
	var held netmonpb.PushResponse
	err := protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(a.body, &held)
	switch {
	case err != nil:
		a.trouble, a.err = strange, errors.New("status 200 without an acknowledgement")
	case !bytes.Equal(held.LogId, logID):
		a.trouble, a.err = strange, fmt.Errorf("acknowledgement of log %x instead of %x", held.LogId[:min(len(held.LogId), 16)], logID)
	case held.Watermark < sequence:
		a.trouble, a.err = strange, fmt.Errorf("acknowledgement through %d of window %d", held.Watermark, sequence)
	}
	return a
}

// retryAfter reads the header (RFC 9110 section 10.2.3): seconds or a date.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// brief is what of a stranger's text goes into an error.
func brief(text []byte) string {
	const limit = 200
	s := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, string(text[:min(len(text), limit)]))
	return strings.TrimSpace(s)
}
