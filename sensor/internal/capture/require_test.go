package capture

import (
	"os"
	"testing"
)

// missing skips a test for want of a tool or a privilege, or fails it where
// the environment promises that all of them are there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("NETMON_REQUIRE_NET") == "1" {
		t.Fatalf("missing: %s", what)
	}
	t.Skipf("missing: %s", what)
}
