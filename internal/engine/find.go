package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"time"
)

// oldestMajor is the oldest ClickHouse release line whose binary is used; Debian's own package is of 2018.
const oldestMajor = 25

// found is a ClickHouse that can be started.
type found struct {
	path    string
	library bool // libchdb.so rather than a binary
}

// findClickHouse looks in the places Config.ClickHouseLibrary names, in that order. An error wraps ErrMissing and says what to do.
func findClickHouse(ctx context.Context, configured string) (found, error) {
	for _, named := range []struct{ by, path string }{
		{"clickhouse_library", configured},
		{"KOHORTA_CHDB_LIB", os.Getenv("KOHORTA_CHDB_LIB")},
	} {
		if named.path == "" {
			continue
		}
		path, err := filepath.Abs(named.path)
		if err != nil || !isFile(path) {
			return found{}, fmt.Errorf("%w: %s names %s, which is no file: run `npm ci`, or correct the path", ErrMissing, named.by, named.path)
		}
		return found{path: path, library: true}, nil
	}
	if path, err := exec.LookPath("clickhouse"); err == nil && majorVersion(ctx, path) >= oldestMajor {
		return found{path: path}, nil
	}
	name := libraryName()
	for _, start := range searchStarts() {
		for dir := start; ; dir = filepath.Dir(dir) {
			if path := filepath.Join(dir, name); isFile(path) {
				return found{path: path, library: true}, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return found{}, fmt.Errorf("%w: no `clickhouse` of %d or later on PATH, and no %s beside this program or the working directory or above them: "+
		"run `npm ci`, or set clickhouse_library, or give kohorta the address of a ClickHouse server", ErrMissing, oldestMajor, name)
}

// libraryName is where npm puts the library of this platform.
func libraryName() string {
	arch, libc := runtime.GOARCH, ""
	if arch == "amd64" {
		arch = "x64"
	}
	if runtime.GOOS == "linux" {
		libc = "-gnu"
	}
	return filepath.Join("node_modules", "@chdb", "lib-"+runtime.GOOS+"-"+arch+libc, "libchdb.so")
}

// searchStarts are the directories to walk up from.
func searchStarts() []string {
	var starts []string
	if path, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(path))
	}
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	return starts
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

var versionNumber = regexp.MustCompile(`version (\d+)\.`)

// majorVersion asks a clickhouse binary for its release line, such as 26; 0 if it does not say.
func majorVersion(ctx context.Context, binary string) int {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	text, err := exec.CommandContext(ctx, binary, "server", "--version").Output()
	if err != nil {
		return 0
	}
	match := versionNumber.FindSubmatch(text)
	if match == nil {
		return 0
	}
	major, _ := strconv.Atoi(string(match[1]))
	return major
}
