package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// portTries is how many free ports are tried when other programs keep taking them between the choice and the engine's start.
const portTries = 5

// Free ports are looked for below those that systems give to connections, which might else sit on an engine's port while it is started again,
// and so that even 10,000 above, where a node of a Redis Cluster has its second one, there is no such port.
const (
	lowestFreePort = 12_000
	freePorts      = 10_000
	freePortTries  = 100
)

// errPortTaken is wrapped by the error of a start whose port was free when it was chosen.
var errPortTaken = errors.New("the port was taken meanwhile: free it, or configure another (0 takes a free one)")

// onPort starts an engine on the configured port, or on a free one if that is 0: on another one as long as somebody else is quicker.
func onPort(field string, configured int, start func(port int) error) error {
	for try := 1; ; try++ {
		port, err := choosePort(field, configured)
		if err != nil {
			return err
		}
		if err = start(port); configured != 0 || try == portTries || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}

// choosePort returns the configured port if it is free, and a free one if none is configured.
func choosePort(field string, configured int) (int, error) {
	if configured == 0 {
		return FreePort()
	}
	port, err := listenOnce(configured)
	if err != nil {
		return 0, fmt.Errorf("%s: port %d cannot be used (%w): stop the program that has it, or configure another (0 takes a free one)", field, configured, err)
	}
	return port, nil
}

// FreePort returns a port of 127.0.0.1 on which nobody listens. It is likely to stay free while the one who takes it is away for a moment.
func FreePort() (int, error) {
	for range freePortTries {
		if port, err := listenOnce(lowestFreePort + rand.IntN(freePorts)); err == nil {
			return port, nil
		}
	}
	port, err := listenOnce(0) // whichever the system has
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return port, nil
}

// listenOnce returns the port after somebody has listened there for a moment.
func listenOnce(port int) (int, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
