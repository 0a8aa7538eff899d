package sensor

import (
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
)

// notify tells systemd how far the sensor is, where it waits to be told: a unit of
// Type=notify.
func notify(logger hclog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		logger.Warn("systemd was not told", "state", state, "error", err)
	}
}
