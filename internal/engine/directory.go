package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// minFreeBytes is the free space below which nothing is started: ClickHouse needs room to merge before it needs room to grow.
	minFreeBytes = 512 << 20
	// successionWait is how long a start waits for the children of a killed predecessor; they are usually gone within milliseconds.
	successionWait = 10 * time.Second
	// holderWait is how long a start waits for a holder that seems alive: one that was just killed seems so until it is reaped.
	holderWait = 300 * time.Millisecond
)

// directory is a data directory that is locked for this process and its children.
type directory struct {
	path string
	lock *os.File
}

// openDirectory creates dir if need be and locks it. The lock (flock) belongs to the open file, which the children inherit: it is free only
// once this process and every child are gone, in whatever way they went.
func openDirectory(ctx context.Context, dir string) (*directory, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, unwritable(path, err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritable(path, err)
	}
	d := &directory{path: path, lock: lock}
	if err := errors.Join(d.acquire(ctx), d.enoughSpace()); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

// acquire takes the lock and writes this process' id into it. A living holder is an error; the children of a dead one are waited for.
func (d *directory) acquire(ctx context.Context) error {
	began := time.Now()
	for {
		err := syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock data directory %s: %w", d.path, err)
		}
		pid := d.holder()
		patience := successionWait
		if pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			patience = holderWait
		}
		if time.Since(began) > patience {
			return fmt.Errorf("data directory %s is in use by process %d: stop that process, or choose another dir", d.path, pid)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock data directory %s: %w", d.path, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := d.lock.Truncate(0); err != nil {
		return unwritable(d.path, err)
	}
	if _, err := d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return unwritable(d.path, err)
	}
	return nil
}

// holder is the process id in the lock file, 0 if there is none yet.
func (d *directory) holder() int {
	text := make([]byte, 20)
	n, _ := d.lock.ReadAt(text, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	return pid
}

func (d *directory) enoughSpace() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.path, &fs); err != nil {
		return fmt.Errorf("read the free space of %s: %w", d.path, err)
	}
	return checkSpace(d.path, fs.Bavail*uint64(fs.Bsize))
}

func checkSpace(path string, free uint64) error {
	if free >= minFreeBytes {
		return nil
	}
	return fmt.Errorf("data directory %s has %d MiB free and needs %d MiB: free some space, or choose another dir", path, free>>20, minFreeBytes>>20)
}

// close frees the directory; the children must be gone. Closing twice is harmless.
func (d *directory) close() error {
	if err := d.lock.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("free data directory %s: %w", d.path, err)
	}
	return nil
}

func unwritable(path string, err error) error {
	return fmt.Errorf("data directory %s cannot be written (%w): give it to the user who runs kohorta, or choose another dir", path, err)
}
