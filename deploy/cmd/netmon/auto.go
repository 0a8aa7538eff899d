package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// storageAuto is the STORAGE_TYPE of a server whose Redis comes and goes with a
// profile of compose, which can add a service but tell the others nothing: redis
// where it answers, else disk.
const storageAuto = "auto"

// awaitRedis is the command of the process beside a server that found none.
const awaitRedis = "await-redis"

const (
	awaitEvery = time.Second
	dialWithin = time.Second
)

// chooseStorage sets STORAGE_TYPE. Without Redis it leaves a process behind that
// ends the server once there is one, for the restart policy to start it anew: of
// services that start together, the server may be first.
func chooseStorage() error {
	address := redisAddress()
	if answers(address) {
		fmt.Fprintf(os.Stderr, "netmon: Redis answers at %s: the server keeps its sensors there\n", address)
		return os.Setenv("STORAGE_TYPE", "redis")
	}
	fmt.Fprintf(os.Stderr, "netmon: no Redis at %s: the server keeps its sensors on disk, and ends to be started again once there is one\n", address)
	if err := os.Setenv("STORAGE_TYPE", "disk"); err != nil {
		return err
	}
	watch := exec.Command(sibling("netmon"), awaitRedis)
	watch.Stderr = os.Stderr
	return watch.Start()
}

// await ends the process server once Redis answers, or itself once the server is
// gone.
func await(address string, server int) error {
	for ; os.Getppid() == server; time.Sleep(awaitEvery) {
		if answers(address) {
			fmt.Fprintf(os.Stderr, "netmon: Redis answers at %s: the server ends, to be started with it\n", address)
			return syscall.Kill(server, syscall.SIGTERM)
		}
	}
	return nil
}

func answers(address string) bool {
	connection, err := net.DialTimeout("tcp", address, dialWithin)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// redisAddress is what server-redis.hcl makes of the same variables.
func redisAddress() string {
	host, port := os.Getenv("REDIS_HOST"), os.Getenv("REDIS_PORT")
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = "6379"
	}
	return host + ":" + port
}
