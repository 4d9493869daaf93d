// Command kohorta is the audience service and its client: serve runs it, demo shows it, the other commands ask a running
// one over gRPC.
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

// exitStatus tells what went wrong, and is the status to end with.
func exitStatus(err error) int {
	if errors.Is(err, errHeld) {
		return 3 // the run, with its reasons, has been printed
	}
	fmt.Fprintln(os.Stderr, explain(err))
	return 1
}
