package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// healthTimeout bounds the question; an orchestrator asks again.
const healthTimeout = 3 * time.Second

// Addresses of the pages that say whether a role is ready, as in its configuration.
const (
	sensorListen = "127.0.0.1:9854" // STATUS_LISTEN
	serverListen = ":8081"          // PROBE_LISTEN
)

// health asks the role in args, or else the one that runs as process 1, at the page
// that args name next, or else /-/ready. A URL instead of a role is asked as it is.
func health(args []string) error {
	role := os.Getenv("COMPONENT")
	if cmdline, err := os.ReadFile("/proc/1/cmdline"); err == nil {
		if first := programOf(cmdline); first != "" {
			role = first
		}
	}
	if len(args) > 0 {
		role = args[0]
	}
	page := "/-/ready"
	if len(args) > 1 {
		page = args[1]
	}
	url, err := pageURL(role, page, os.Getenv)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usageError{err}
	}
	answer, err := new(http.Transport).RoundTrip(request) // no proxy
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, answer.Status, bytes.TrimSpace(text))
	}
	fmt.Printf("%s\n", bytes.TrimSpace(text))
	return nil
}

// programOf is our program that a command line runs, "" for another one.
func programOf(cmdline []byte) string {
	first, _, _ := strings.Cut(string(cmdline), "\x00")
	switch name := filepath.Base(first); name {
	case sensorProgram, serverProgram:
		return name
	}
	return ""
}

func pageURL(role, page string, getenv func(string) string) (string, error) {
	var listen string
	switch role {
	case "sensor", "agent", "agent-ebpf", sensorProgram:
		if listen = getenv("STATUS_LISTEN"); listen == "" {
			listen = sensorListen
		}
	case "server", serverProgram:
		if listen = getenv("PROBE_LISTEN"); listen == "" {
			listen = serverListen
		}
	default:
		if strings.Contains(role, "://") {
			return role, nil
		}
		return "", misuse("health of what? Say sensor, server or a URL")
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", usageError{err}
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + page, nil
}
