package secret

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// grace is how long the last good secrets serve while their file cannot be read as such: a file that is being rewritten
	// in place is empty for a moment.
	grace = time.Minute
	// settling is how long after its time stamp a file may still change without showing it: stamps are coarse.
	settling = 2 * time.Second
)

// Env begins the path of what is no file but a variable of the environment: env:NAME is KOHORTA_SECRET_NAME. A process sees its
// environment as it was at its start.
const Env = "env:"

// variable is the name of the variable that env:NAME stands for. The prefix keeps all others out of reach.
func variable(name string) string { return "KOHORTA_SECRET_" + name }

// File is a file of secrets, read anew when it has changed. It is safe for concurrent use.
type File struct {
	setting string
	path    string
	most    int
	log     *slog.Logger

	mu      sync.Mutex
	secrets []Secret    // the last good ones; none before the first. Never written again, only replaced
	seen    os.FileInfo // of the file they stood in; nil when the next Read must look into the file
	good    time.Time   // when the file last held them
}

// NewFile names the file that a setting gives, which may hold up to most secrets, one a line. It opens nothing.
func NewFile(setting, path string, most int, log *slog.Logger) *File {
	return &File{setting: setting, path: path, most: most, log: log}
}

// Read gives the secrets, in the order of the lines, at least one. As long as the file is the same this costs one stat. The
// error is an *Error.
func (f *File) Read() ([]Secret, error) {
	if name, isVariable := strings.CutPrefix(f.path, Env); isVariable {
		return f.readVariable(variable(name))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if now := time.Now(); err == nil && f.seen != nil && unchanged(f.seen, info) {
		f.good = now
		return f.secrets, nil
	}
	secrets, info, remedy, err := read(f.path, f.most)
	now := time.Now()
	if err != nil {
		f.seen = nil
		if f.secrets != nil && now.Sub(f.good) < grace {
			return f.secrets, nil
		}
		f.secrets = nil
		return nil, &Error{Setting: f.setting, Path: f.path, Remedy: remedy, Err: err}
	}
	if !slices.Equal(secrets, f.secrets) {
		f.note(info)
	}
	f.secrets, f.good, f.seen = secrets, now, info
	if now.Sub(info.ModTime()) < settling {
		f.seen = nil
	}
	return secrets, nil
}

func (f *File) readVariable(name string) ([]Secret, error) {
	secrets, remedy, err := parse(os.Getenv(name), f.most)
	if err != nil {
		return nil, &Error{Setting: f.setting, Path: name, Remedy: remedy + ", and start the service again: it sees its environment as it was at its start", Err: err}
	}
	return secrets, nil
}

// note tells of secrets that are new here.
func (f *File) note(info os.FileInfo) {
	if f.secrets != nil {
		f.log.Info("secret renewed", "setting", f.setting, "file", f.path)
	}
	if info.Mode().Perm()&0o007 != 0 {
		f.log.Warn("the file of a secret is open to every user of this machine; chmod o= it", "setting", f.setting, "file", f.path)
	}
}

// unchanged compares what a stat tells: the file itself, its size, its time stamp.
func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
