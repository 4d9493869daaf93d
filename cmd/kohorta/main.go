// Command kohorta is the audience service and its client: serve runs the service, demo shows it at work, most other commands
// ask a running one over gRPC.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/kohorta/kohorta/internal/engine"
)

func main() {
	engine.RunChild() // does not return in a process that is an engine
	os.Exit(execute())
}

func execute() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newRoot().ExecuteContext(ctx); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "interrupted")
			return 130
		}
		return exitStatus(err)
	}
	return 0
}

// exitStatus prints what went wrong and returns the status to exit with.
func exitStatus(err error) int {
	if errors.Is(err, errHeld) {
		return 3 // the run, with its reasons, has been printed
	}
	fmt.Fprintln(os.Stderr, explain(err))
	return 1
}
