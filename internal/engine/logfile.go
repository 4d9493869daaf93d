package engine

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"sync"
)

const (
	logBytes  = 16 << 20 // of one log file; one older file is kept beside it
	tailBytes = 8 << 10  // kept in memory, for error messages
)

// logFile takes what a child prints. At logBytes it becomes path.1 and a new file is begun. Safe for concurrent use.
type logFile struct {
	path string

	mu   sync.Mutex
	file *os.File
	size int64
	tail []byte
}

// openLog continues the log file at path, which only its owner may read: ClickHouse quotes failed queries in it.
func openLog(path string) (*logFile, error) {
	l := &logFile{path: path}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *logFile) open() error {
	file, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the engine's log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("open the engine's log: %w", err)
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Write never fails: a log that cannot be written (a full disk) must not block the child that writes it.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if surplus := len(l.tail) - tailBytes; surplus > 0 {
		l.tail = append(l.tail[:0], l.tail[surplus:]...)
	}
	if l.size+int64(len(p)) > logBytes {
		l.rotate()
	}
	if l.file != nil {
		n, _ := l.file.Write(p)
		l.size += int64(n)
	}
	return len(p), nil
}

func (l *logFile) rotate() {
	if l.file == nil {
		return
	}
	l.file.Close()
	l.file = nil
	if os.Rename(l.path, l.path+".1") == nil {
		_ = l.open()
	}
}

// stackFrame is a line of the stack traces that ClickHouse prints below its errors; without symbols they tell nothing.
var stackFrame = regexp.MustCompile(`(?m)^\d+\. .*@ 0x[0-9a-f]+\n|^\n`)

// lastLines are the last whole lines this process' children have printed, from at most tailBytes.
func (l *logFile) lastLines() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tail := l.tail
	if len(tail) == tailBytes {
		_, tail, _ = bytes.Cut(tail, []byte("\n"))
	}
	return string(bytes.TrimSpace(stackFrame.ReplaceAll(tail, nil)))
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}
