package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/netmon-sensor/netmon/plugins"
)

// Storage selects where the sensors' totals are kept.
type Storage struct {
	Type string `netmon:"type,label" doc:"memory: filled again from the sensors' snapshots after a restart; disk: survives it; redis: shared by several servers."`

	Path string `netmon:"path,format=path" doc:"disk: the folder, made if need be, used by one server at a time; empty: /var/lib/netmon-server."`

	Mode       string        `netmon:"mode,enum=single|sentinel|cluster" doc:"redis: how it is set up."`
	Addresses  []string      `netmon:"addresses,format=listen_address" doc:"redis: the server; the sentinels; or some nodes of the cluster."`
	MasterName string        `netmon:"master_name" doc:"redis: what the sentinels call the master."`
	Username   string        `netmon:"username" doc:"redis: the ACL user; empty for the default one."`
	Password   string        `netmon:"password,sensitive" doc:"redis: its password."`
	DB         int           `netmon:"db,min=0,max=1024" doc:"redis: number of the database; a cluster has only 0."`
	PoolSize   int           `netmon:"pool_size,min=1,max=1000" doc:"redis: connections at most, to each node."`
	Timeout    time.Duration `netmon:"timeout,min=100ms,max=1m" doc:"redis: for connecting, and for each command."`
	KeyPrefix  string        `netmon:"key_prefix" doc:"redis: what all keys begin with."`

	SentinelUsername string `netmon:"sentinel_username" doc:"redis: the ACL user of the sentinels."`
	SentinelPassword string `netmon:"sentinel_password,sensitive" doc:"redis: its password."`

	TLS *StorageTLS `netmon:"tls" doc:"redis: encrypts the connection; without this block it is plain."`
}

// StorageTLS says whom to trust and who we are. Version 1.2 is the least.
type StorageTLS struct {
	CAFile     string `netmon:"ca_file,format=path" doc:"Certificates (PEM) that Redis' is checked against; the system's by default."`
	CertFile   string `netmon:"cert_file,format=path" doc:"Our certificate (PEM), read again for each connection."`
	KeyFile    string `netmon:"key_file,format=path" doc:"Its key (PEM)."`
	ServerName string `netmon:"server_name" doc:"The name in Redis' certificate, where it is not the one in the address."`
}

// defaultPath is where storage "disk" is without path.
const defaultPath = "/var/lib/netmon-server"

func defaultStorage() Storage {
	return Storage{Type: "memory", Mode: "single", PoolSize: 10, Timeout: 5 * time.Second, KeyPrefix: "netmon"}
}

// check finds what the schema cannot express.
func (s *Storage) check() error {
	problem := func(summary, detail string, path ...string) error {
		return &plugins.Problem{Path: append([]string{"storage"}, path...), Summary: summary, Detail: detail}
	}
	var errs []error
	stray := func(kind, option string) {
		errs = append(errs, problem("Option of another storage", fmt.Sprintf("%q belongs to storage %q.", option, kind), option))
	}
	if s.Type != "disk" && s.Path != "" {
		stray("disk", "path")
	}
	if s.Type != "redis" {
		for option, given := range map[string]bool{
			"addresses": len(s.Addresses) > 0, "master_name": s.MasterName != "", "username": s.Username != "",
			"password": s.Password != "", "db": s.DB != 0, "tls": s.TLS != nil,
		} {
			if given {
				stray("redis", option)
			}
		}
	}
	switch s.Type {
	case "memory", "disk":
	case "redis":
		if len(s.Addresses) == 0 {
			errs = append(errs, problem("No address of Redis", "Give one at least, for instance \"127.0.0.1:6379\".", "addresses"))
		}
		if (s.Mode == "sentinel") != (s.MasterName != "") {
			errs = append(errs, problem("Sentinels and master name", "master_name goes with mode = \"sentinel\", and is needed there.", "master_name"))
		}
		if s.Mode == "single" && len(s.Addresses) > 1 {
			errs = append(errs, problem("Several addresses of one Redis", "Say whether they are sentinels or nodes of a cluster: mode = \"sentinel\" or \"cluster\".", "mode"))
		}
		if s.Mode == "cluster" && s.DB != 0 {
			errs = append(errs, problem("Database of a cluster", "A cluster has database 0 alone.", "db"))
		}
		if s.KeyPrefix == "" || strings.ContainsAny(s.KeyPrefix, "{} \n") {
			errs = append(errs, problem("Invalid prefix", "key_prefix is not empty and has no spaces or braces, which choose the slot in a cluster.", "key_prefix"))
		}
		if t := s.TLS; t != nil && (t.CertFile == "") != (t.KeyFile == "") {
			errs = append(errs, problem("Incomplete certificate", "cert_file and key_file go together.", "tls"))
		}
	default:
		errs = append(errs, problem("Unknown kind of storage", fmt.Sprintf("%q is not one of memory, disk, redis.", s.Type), "type"))
	}
	return errors.Join(errs...)
}

// openStore opens the store that the configuration asks for. Relative paths begin
// at baseDir.
func openStore(c *Config, baseDir string, logger hclog.Logger) (store, error) {
	l := limits{c.MaxSensors, c.MaxRowsPerSensor, c.MaxRows, c.ForgetAfter}
	at := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(baseDir, path)
	}
	switch c.Storage.Type {
	case "disk":
		path := c.Storage.Path
		if path == "" {
			path = defaultPath
		}
		d, err := openDisk(at(path), l, time.Now, createFile, logger)
		if err != nil {
			return nil, &plugins.Problem{Path: []string{"storage"}, Summary: "Cannot use the storage", Detail: err.Error() + ".", Cause: err}
		}
		return d, nil
	case "redis":
		security, err := c.Storage.TLS.config(at)
		if err != nil {
			return nil, err
		}
		return openRedis(&c.Storage, security, l, time.Now, logger)
	}
	return newMemory(l, time.Now), nil
}

// config reads the files of the block tls; nil is plain.
func (t *StorageTLS) config(at func(string) string) (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	problem := func(option string, err error) error {
		return &plugins.Problem{Path: []string{"storage", "tls", option}, Summary: "Unusable file", Detail: err.Error() + ".", Cause: err}
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(at(t.CAFile))
		if err != nil {
			return nil, problem("ca_file", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, problem("ca_file", fmt.Errorf("%s has no certificate in PEM", t.CAFile))
		}
	}
	if t.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(at(t.CertFile), at(t.KeyFile))
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, problem("cert_file", err)
		}
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return out, nil
}
