package engine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// script is a child that runs a shell script instead of an engine.
func script(t *testing.T, text string, answers func(context.Context) error) *child {
	t.Helper()
	output, err := openLog(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	return &child{
		name:    "Script",
		command: func() *exec.Cmd { return exec.Command("sh", "-c", text) },
		ending:  syscall.SIGTERM,
		answers: answers,
		timeout: time.Minute,
		pause:   time.Millisecond,
		grace:   stopGrace,
		output:  output,
		log:     quiet(),
	}
}

func answersAtOnce(context.Context) error { return nil }
func answersNever(context.Context) error  { return errors.New("no answer") }

func TestChildThatKeepsDyingIsGivenUp(t *testing.T) {
	starts := filepath.Join(t.TempDir(), "starts")
	c := script(t, "echo . >> "+starts+"; sleep 0.02; echo last words; exit 3", answersAtOnce)
	require.NoError(t, c.start(t.Context()))
	e := &Engines{clickhouse: c}
	err := e.Run(t.Context())
	require.ErrorContains(t, err, "Script died: exit status 3")
	require.ErrorContains(t, err, "last words")
	started, err := os.ReadFile(starts)
	require.NoError(t, err)
	require.Equal(t, 1+maxRestarts, strings.Count(string(started), "\n"))
}

func TestChildThatNeverAnswersIsEnded(t *testing.T) {
	c := script(t, "", answersNever)
	cmd := exec.Command("sleep", "60")
	c.command = func() *exec.Cmd { return cmd }
	c.timeout = 200 * time.Millisecond
	require.ErrorContains(t, c.start(t.Context()), "Script did not answer within 200ms: no answer")
	require.False(t, alive(cmd.Process.Pid))
}

func TestKnownCausesNameTheirRemedy(t *testing.T) {
	for says, remedy := range map[string]string{
		"Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)": "free some space",
		"Can't open the append-only file: No space left on device":                                "free some space",
		"bind: Address already in use":                                                            "0 takes a free one",
	} {
		c := script(t, `echo "`+says+`"; exit 1`, answersNever)
		require.ErrorContains(t, c.start(t.Context()), remedy)
	}
}

func TestTooLittleSpaceIsToldBeforeTheStart(t *testing.T) {
	require.NoError(t, checkSpace("/data", minFreeBytes))
	require.EqualError(t, checkSpace("/data", minFreeBytes-1), "data directory /data has 511 MiB free and needs 512 MiB: free some space, or choose another dir")
}

func TestChildThatIgnoresItsSignalIsKilled(t *testing.T) {
	c := script(t, "trap '' TERM; echo $$; while :; do sleep 0.1; done", answersAtOnce)
	c.grace = 50 * time.Millisecond
	require.NoError(t, c.start(t.Context()))
	eventually(t, "the script runs", func() bool { return c.output.lastLines() != "" })
	pid, err := strconv.Atoi(c.output.lastLines())
	require.NoError(t, err)
	c.close()
	require.False(t, alive(pid))
}

// The guard stands before Redis where the kernel does not kill children with their parent; here it is tested wherever the tests run.
func TestGuardEndsItsProgramWithTheParent(t *testing.T) {
	watched, lifeline, err := os.Pipe()
	require.NoError(t, err)
	defer watched.Close()
	output, err := openLog(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Args = []string{guardArg0, "/bin/sh", "-c", "echo $$; exec sleep 60"}
	cmd.ExtraFiles = []*os.File{watched}
	cmd.Stdout = output
	require.NoError(t, cmd.Start())
	var pid int
	eventually(t, "the program runs", func() bool {
		pid, err = strconv.Atoi(output.lastLines())
		return err == nil
	})
	require.True(t, alive(pid))
	lifeline.Close()
	require.Error(t, cmd.Wait(), "the guard passes on how its program ended")
	require.False(t, alive(pid))
}

func TestLogFileIsRotatedBySizeAndKeepsTheTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLog(path)
	require.NoError(t, err)
	line := strings.Repeat("x", 1<<20-1) + "\n"
	for range logBytes >> 20 {
		_, err := l.Write([]byte(line))
		require.NoError(t, err)
	}
	_, err = l.Write([]byte("first of the new file\n"))
	require.NoError(t, err)
	l.close()
	old, err := os.Stat(path + ".1")
	require.NoError(t, err)
	require.EqualValues(t, logBytes, old.Size())
	current, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "first of the new file\n", string(current))
	require.Equal(t, "first of the new file", l.lastLines())
}

func TestLastLinesAreThoseAPersonReads(t *testing.T) {
	l, err := openLog(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	_, err = l.Write([]byte("Code: 76. Cannot open file (CANNOT_OPEN_FILE)\n\n0. ? @ 0x000000001c8fa4b3\n12. clone3 @ 0x00000000001098ec\n (version 26.7.2.1)\n"))
	require.NoError(t, err)
	require.Equal(t, "Code: 76. Cannot open file (CANNOT_OPEN_FILE)\n (version 26.7.2.1)", l.lastLines())
}
