package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

func openRedis(c *Storage, security *tls.Config, l limits, now func() time.Time, logger hclog.Logger) (*shared, error) {
	enc, err := newCodec()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &shared{
		memory: memory{state: newState(l, now)},
		client: dialRedis(c, security), scripts: newScripts(), prefix: c.KeyPrefix, timeout: c.Timeout,
		codec: enc, logger: logger, places: map[string]*standing{}, quit: cancel,
	}
	r.state.listening = now()
	r.flight.kick = make(chan struct{}, 1)
	why := notAsked
	r.trouble.Store(&why)
	r.away.Store(true)
	if r.poll(ctx) == nil { // Redis may come later than we do
		r.inspect(ctx)
	}
	r.ended.Go(func() { r.follow(ctx) })
	return r, nil
}

// quiet keeps the library from writing to stderr: its logger is one for the whole
// process, and what it says comes back as an error, too.
var quiet = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func dialRedis(c *Storage, security *tls.Config) redis.UniversalClient {
	quiet()
	plain := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch c.Mode {
	case "sentinel":
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: c.MasterName, SentinelAddrs: c.Addresses,
			SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword,
			Username: c.Username, Password: c.Password, DB: c.DB, Protocol: 2, DisableIdentity: true,
			MaxRetries: 1, DialerRetries: 1, DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout,
			ContextTimeoutEnabled: true, PoolSize: c.PoolSize, TLSConfig: security,
		})
	case "cluster":
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: c.Addresses, Username: c.Username, Password: c.Password, Protocol: 2, DisableIdentity: true,
			MaxRetries: 1, DialerRetries: 1, DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout,
			ContextTimeoutEnabled: true, PoolSize: c.PoolSize, TLSConfig: security, MaintNotificationsConfig: plain,
		})
	}
	return redis.NewClient(&redis.Options{
		Addr: c.Addresses[0], Username: c.Username, Password: c.Password, DB: c.DB, Protocol: 2, DisableIdentity: true,
		MaxRetries: 1, DialerRetries: 1, DialTimeout: c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout,
		ContextTimeoutEnabled: true, PoolSize: c.PoolSize, TLSConfig: security, MaintNotificationsConfig: plain,
	})
}

// keys of a sensor are in one slot: its id, without braces, is the hash tag.
func (r *shared) keys(id string) []string {
	tag := r.prefix + ":{" + url.QueryEscape(id) + "}:"
	return []string{tag + "sensor", tag + "journal", tag + "checkpoint", tag + "removed"}
}

// listKey is the set of all sensors, by which servers find them.
func (r *shared) listKey() string { return r.prefix + ":sensors" }

func randomText() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
