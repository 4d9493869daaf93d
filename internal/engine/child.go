package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	stopGrace   = 10 * time.Second       // between the signal to end and killing the child
	probeEvery  = 10 * time.Millisecond  // between two questions whether it answers
	firstPause  = 100 * time.Millisecond // before the first restart; doubled for each further one
	maxRestarts = 6                      // in a row, about 6 s in all; then the child is given up
	stableAfter = time.Minute            // a child that lived this long has not died "in a row"
)

// child is one engine process, started again whenever it dies.
type child struct {
	name    string
	command func() *exec.Cmd            // a fresh command for each start
	ending  syscall.Signal              // ends it in order
	grace   time.Duration               // between that signal and SIGKILL
	answers func(context.Context) error // nil once the engine serves
	timeout time.Duration               // until answers must have been nil
	pause   time.Duration               // before the first restart
	inherit []*os.File                  // file descriptors 3 (the lifeline) and 4 (the lock)
	keep    *os.File                    // the parent's end of the lifeline, reachable for as long as the child is wanted
	output  *logFile
	log     *slog.Logger

	stop context.CancelFunc
	gone chan struct{} // closed once no process is left and none will be started
	err  error         // why it was given up; to be read once gone is closed
}

// start returns once the child answers, or with the reason why it does not; then it is gone.
func (c *child) start(ctx context.Context) error {
	life, stop := context.WithCancel(context.Background())
	c.stop, c.gone = stop, make(chan struct{})
	up := make(chan struct{})
	go c.supervise(life, sync.OnceFunc(func() { close(up) }))
	select {
	case <-up:
		return nil
	case <-c.gone:
		c.output.close()
		return c.err
	case <-ctx.Done():
		c.close()
		return fmt.Errorf("start %s: %w", c.name, context.Cause(ctx))
	}
}

// lost is closed once the child is gone for good; nil, which blocks for ever, for an engine that has no child.
func (c *child) lost() <-chan struct{} {
	if c == nil {
		return nil
	}
	return c.gone
}

func (c *child) close() {
	if c == nil {
		return
	}
	c.stop()
	<-c.gone
	c.output.close()
}

// supervise keeps its thread to itself until the child is gone: Linux ties a child's parent-death signal to the thread that forked it.
func (c *child) supervise(life context.Context, up func()) {
	runtime.LockOSThread()
	defer close(c.gone)
	ready := false
	for restarts, wait := 0, c.pause; ; restarts, wait = restarts+1, 2*wait {
		born := time.Now()
		err := c.live(life, func() { ready = true; up() })
		if life.Err() != nil {
			return
		}
		if time.Since(born) >= stableAfter {
			restarts, wait = 0, c.pause
		}
		if !ready || restarts == maxRestarts {
			c.err = err
			return
		}
		c.log.Warn("engine died, starting it again", "engine", c.name, "wait", wait, "error", err)
		select {
		case <-life.Done():
			return
		case <-time.After(wait):
		}
	}
}

// live starts one process and returns the reason once it is gone: dead by itself, silent for too long, or ended because life has.
func (c *child) live(life context.Context, up func()) error {
	began := time.Now()
	cmd := c.command()
	cmd.ExtraFiles = c.inherit
	cmd.Stdout, cmd.Stderr = c.output, c.output
	tie(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); _ = cmd.Wait() }()
	probe, cancel := context.WithTimeout(life, c.timeout)
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- c.awaitAnswer(probe) }()
	for {
		select {
		case err := <-answered:
			if err != nil {
				c.terminate(cmd, exited)
				return c.explain(fmt.Errorf("%s did not answer within %s: %w", c.name, c.timeout, err))
			}
			c.log.Info("engine answers", "engine", c.name, "pid", cmd.Process.Pid, "took", time.Since(began).Round(time.Millisecond))
			up()
		case <-exited:
			return c.explain(fmt.Errorf("%s died: %s", c.name, cmd.ProcessState))
		case <-life.Done():
			c.terminate(cmd, exited)
			return life.Err()
		}
	}
}

func (c *child) awaitAnswer(ctx context.Context) error {
	for {
		err := c.answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(probeEvery):
		}
	}
}

// terminate ends the child's process group, and kills it when it takes too long.
func (c *child) terminate(cmd *exec.Cmd, exited <-chan struct{}) {
	_ = syscall.Kill(-cmd.Process.Pid, c.ending)
	select {
	case <-exited:
	case <-time.After(c.grace):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	}
}

// remedies are what helps against the causes that engines name in their own words.
var remedies = []struct {
	cause  string
	remedy error
}{
	{"NOT_ENOUGH_SPACE", errDiskFull},
	{"No space left on device", errDiskFull},
	{"Address already in use", errPortTaken},
	{"Permission denied", errors.New("a file is not this user's: give the data directory to the user who runs kohorta")},
	{"MEMORY_LIMIT_EXCEEDED", errNoMemory},
	{"Cannot allocate memory", errNoMemory},
}

var (
	errDiskFull = errors.New("the disk is full: free some space, or choose another dir")
	errNoMemory = errors.New("not enough memory: stop other programs, or give kohorta the address of a ClickHouse server")
)

// explain adds to err the remedy, if the cause is a known one, and the last words of the child.
func (c *child) explain(err error) error {
	last := c.output.lastLines()
	for _, r := range remedies {
		if strings.Contains(last, r.cause) {
			err = fmt.Errorf("%w: %w", err, r.remedy)
			break
		}
	}
	if last == "" {
		return err
	}
	return fmt.Errorf("%w\nthe end of %s:\n%s", err, c.output.path, last)
}
