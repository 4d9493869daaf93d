package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// portTries is how many free ports are tried when other programs keep taking them between the choice and the engine's start.
const portTries = 5

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
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(configured))
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return 0, fmt.Errorf("%s: port %d cannot be used (%w): stop the program that has it, or configure another (0 takes a free one)", field, configured, err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
