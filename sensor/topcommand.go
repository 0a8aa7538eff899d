package sensor

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/netmon-sensor/netmon/sensor/internal/config"
	"github.com/netmon-sensor/netmon/sensor/internal/top"
)

// TopOptions are the command line of `netmon-sensor top`.
type TopOptions = top.Options

// TopViews and TopOrders are what TopOptions may name.
func TopViews() []string  { return top.Views() }
func TopOrders() []string { return top.Orders() }

// Top shows what a sensor or server counts, in the terminal. Without a URL it is the
// sensor of this machine, by the configuration at path, "" for the default one.
func Top(ctx context.Context, path string, o TopOptions) error {
	here := o.Peer.URL == ""
	if here {
		listen, err := statusAddress(path)
		if err != nil {
			return err
		}
		o.Peer.URL = "http://" + listen
	}
	switch err := top.Run(ctx, o); {
	case errors.Is(err, top.ErrUsage):
		return configError{err}
	case err != nil && here:
		return fmt.Errorf("%w\nThere a sensor of this machine would answer, if one runs; -config FILE knows of another status { listen }, -url asks elsewhere", err)
	default:
		return err
	}
}

// statusAddress is where the sensor of a configuration can be asked from here.
func statusAddress(path string) (string, error) {
	cfg := new(config.Default())
	if path != "" {
		var err error
		if cfg, _, err = config.Load(path); err != nil {
			return "", configError{err}
		}
	}
	host, port, err := net.SplitHostPort(cfg.Status.Listen)
	if err != nil {
		return "", configError{fmt.Errorf("status { listen } is off in %s: there is nobody to ask; give a server's -url", path)}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
