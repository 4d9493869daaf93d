package destination

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// secretGrace is how long the last good secret serves while its file cannot be read as one: a file that is being
	// rewritten in place is empty for a moment.
	secretGrace = time.Minute
	// settling is how long after its time stamp a file may still change without showing it: stamps are coarse.
	settling = 2 * time.Second
)

// SecretFile is a secret in a file, read anew when the file has changed. It is safe for concurrent use.
type SecretFile struct {
	setting string
	path    string
	log     *slog.Logger

	mu     sync.Mutex
	secret Secret      // the last good one; "" before the first
	seen   os.FileInfo // of the file it stood in; nil when the next Read must look into the file
	good   time.Time   // when the file last held it
}

// NewSecretFile names the file that a setting gives. It opens nothing.
func NewSecretFile(setting, path string, log *slog.Logger) *SecretFile {
	return &SecretFile{setting: setting, path: path, log: log}
}

// Read gives the secret. As long as the file is the same this costs one stat. The error is that of ReadSecret.
func (f *SecretFile) Read() (Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if now := time.Now(); err == nil && f.seen != nil && unchanged(f.seen, info) {
		f.good = now
		return f.secret, nil
	}
	secret, info, err := readSecret(f.setting, f.path)
	now := time.Now()
	if err != nil {
		f.seen = nil
		if f.secret != "" && now.Sub(f.good) < secretGrace {
			return f.secret, nil
		}
		f.secret = ""
		return "", err
	}
	if secret != f.secret {
		f.note(info)
	}
	f.secret, f.good, f.seen = secret, now, info
	if now.Sub(info.ModTime()) < settling {
		f.seen = nil
	}
	return secret, nil
}

// Outdated makes an Unauthorized err, of a request that was sent with the secret used, Transient if the file holds another
// by now: sent again, the request carries that. Other errors stay as they are.
func (f *SecretFile) Outdated(used Secret, err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Kind != Unauthorized {
		return err
	}
	if now, readErr := f.Read(); readErr == nil && now != used {
		e.Kind, e.Scope, e.Remedy = Transient, OfRequest, ""
	}
	return err
}

// note tells of a secret that is new here.
func (f *SecretFile) note(info os.FileInfo) {
	if f.secret != "" {
		f.log.Info("secret renewed", "setting", f.setting)
	}
	if info.Mode().Perm()&0o007 != 0 {
		f.log.Warn("the file of a secret is open to every user of this machine; chmod o= it", "setting", f.setting, "file", f.path)
	}
}

// unchanged compares what a stat tells: the file itself, its size, its time stamp.
func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readFile reads a small file and says which one it was.
func readFile(path string) ([]byte, os.FileInfo, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	if err == nil && len(data) > maxSecretBytes {
		err = errors.New("the file is too long to be a secret")
	}
	return data, info, err
}
