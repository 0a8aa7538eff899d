package server

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"time"
)

// pageFiles are the page for who comes with a browser. They are as they are sent:
// nothing builds them, and they ask nobody but this server.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page load and ask for what is of this server, and run and
// draw nothing else: names from the network can only ever be text.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// pageFile answers with one of pageFiles, or that the browser has it already.
func (s *service) pageFile(name, contentType string) http.HandlerFunc {
	body, err := pageFiles.ReadFile("page/" + name)
	if err != nil { // it is part of the program
		return func(w http.ResponseWriter, _ *http.Request) { s.fail(w, err) }
	}
	hash := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(hash[:16]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("ETag", tag)
		h.Set("Cache-Control", "no-cache") // ask, so that a new version shows at once
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	}
}
