package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// TestMistakesInWords: a mistyped command says what would be right, and never passes for done.
func TestMistakesInWords(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a command there is not": {[]string{"segment", "bogus"},
			`kohorta segment: unknown command "bogus"; use one of compare, delete, evaluate, get, list, `},
		"a command of no group": {[]string{"bogus"}, `kohorta: unknown command "bogus"; use one of apply, audience, audit, `},
		"an argument forgotten": {[]string{"segment", "get"}, "kohorta segment get: wrong number of arguments; usage: kohorta segment get ID [flags]"},
		"an argument too many":  {[]string{"run", "list", "all"}, "kohorta run list: wrong number of arguments; usage: kohorta run list [flags]"},
		"a number for text": {[]string{"apply", "-f", write(t, "a.yaml", "destinations: [{id: shop, account: 1122334455}]")},
			`destinations[0]: shop: account: 1122334455 is text here; put it in quotes`},
		"a list for a mapping": {[]string{"apply", "-f", write(t, "a.yaml", "[1]")}, "line 1: a list stands where a mapping is expected"},
		"an id twice": {[]string{"apply", "-f", write(t, "a.yaml", "segments: [{id: a, title: A}]\n---\nsegments: [{id: a, title: B}]")},
			"segments[0]: id: a stands in this file twice; remove one"},
		"a setting there is not": {[]string{"serve", "--config", write(t, "k.yaml", "listn: x")}, "line 1: there is no setting listn"},
		"a setting of another type": {[]string{"serve", "--config", write(t, "k.yaml", "shutdown_grace: [1]")},
			"line 1: a list stands where a duration such as 10s is expected"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := kohorta(t, "127.0.0.1:1", test.args...)
			require.Error(t, err, out)
			require.Contains(t, explain(err), test.want)
			require.NotRegexp(t, `interface|main\.|map\[`, explain(err))
		})
	}
}

// TestMistakesAgainstService are those only a service can find.
func TestMistakesAgainstService(t *testing.T) {
	address := startService(t).address()
	good := "who,id,when\nu1,e1,2026-01-01\n"
	importing := func(file string) []string {
		return []string{"import", file, "--set", "user=who", "--set", "event_id=id", "--set", "time=when"}
	}
	run := func(t *testing.T, args ...string) string {
		out, err := kohorta(t, address, args...)
		require.NoError(t, err)
		return out
	}

	t.Run("an unclosed quote", func(t *testing.T) {
		file := write(t, "orders.csv", good+"u2,\"e2,2026-01-01\nu3,e3,2026-01-01\n")
		out, err := kohorta(t, address, importing(file)...)
		require.EqualError(t, err, "orders.csv: read rows, line 3: a quote opened here is not closed by line 4, so it cannot be known "+
			"where the next row begins; the rest was not read: correct the file and import it again: events already stored count once")
		require.Contains(t, out, "1 row: 1 accepted", "what came before is told")
	})
	t.Run("empty lists say what to do", func(t *testing.T) {
		require.Contains(t, run(t, "destination", "list"), "kohorta apply -f examples/audiences.yaml")
		require.Contains(t, run(t, "run", "list"), "there are no runs yet")
		_, err := os.Stat("../../examples/audiences.yaml")
		require.NoError(t, err)
	})
	t.Run("a run that ended cannot be cancelled", func(t *testing.T) {
		name := regexp.MustCompile(`runs/\S+`).FindString(run(t, "segment", "evaluate"))
		_, err := kohorta(t, address, "run", "cancel", name)
		require.EqualError(t, err, name+" has already ended: succeeded")
	})
	t.Run("apply writes empty values and false", func(t *testing.T) {
		entry := "segments: [{id: all, title: All, disabled: %s, expression: 'did(\"purchase\", \"all\")', description: %q}]"
		run(t, "apply", "--yes", "-f", write(t, "a.yaml", fmt.Sprintf(entry, "true", "Everybody")))
		emptied := write(t, "b.yaml", fmt.Sprintf(entry, "false", ""))
		require.Regexp(t, `change +segments/all +description, disabled\n`, run(t, "apply", "--yes", "-f", emptied))
		require.Contains(t, run(t, "apply", "-f", emptied), "nothing to do")
		require.NotRegexp(t, "disabled|Everybody", run(t, "segment", "get", "all"))
	})
	t.Run("every document of a file counts", func(t *testing.T) {
		file := write(t, "c.yaml", "segments: [{id: one, expression: 'true'}]\n---\nsegments: [{id: two, expression: 'true'}]\n")
		require.Regexp(t, `create +segments/one\ncreate +segments/two\n`, run(t, "apply", "--yes", "-f", file))
	})
	t.Run("a consent nobody asks for", func(t *testing.T) {
		var warned bytes.Buffer
		root := newRoot()
		root.SetOut(io.Discard)
		root.SetErr(&warned)
		root.SetArgs([]string{"--server", address, "user", "consent", "u1", "--withdraw", "--purpose", "advertizing"})
		require.NoError(t, root.ExecuteContext(t.Context()))
		require.Equal(t, "warning: no audience has the purpose \"advertizing\"; there are: advertising\n", warned.String())
		_, err := kohorta(t, address, "user", "consent", "u1", "--withdraw", "--destination", "metta")
		require.ErrorContains(t, err, "consents[0].destination: destinations/metta: not found")
	})
}

// goneStream is a service that ends while events are on their way.
type goneStream struct{ err error }

func (goneStream) Send(*audiencev1.StreamEventsRequest) error        { return io.EOF }
func (s goneStream) Recv() (*audiencev1.StreamEventsResponse, error) { return nil, s.err }
func (goneStream) CloseSend() error                                  { return nil }

func TestServiceGoneDuringImport(t *testing.T) {
	for name, err := range map[string]error{
		"killed":  status.Error(codes.Unavailable, "error reading from server: EOF"),
		"stopped": io.EOF,
	} {
		t.Run(name, func(t *testing.T) {
			s := &eventStream{stream: goneStream{err}, sent: 5000, acknowledged: 1000}
			const want = "the service went away with 1,000 of 5,000 rows acknowledged: when it is back, import the file again: events already stored count once"
			require.EqualError(t, s.send(nil, nil), want)
			require.EqualError(t, s.finish(), want)
		})
	}
}

func TestExplainWithoutKinds(t *testing.T) {
	require.Equal(t, "error: train rfm first", explain(fmt.Errorf("train rfm first: %w", status.Error(codes.FailedPrecondition, "precondition"))))
	require.Equal(t, "error: b is under way", explain(status.Error(codes.Aborted, "b is under way: conflict")))
}

// TestBarFitsTerminal: a line of more than 80 columns wraps, and each update begins another.
func TestBarFitsTerminal(t *testing.T) {
	for name, unit := range map[string][]progressbar.Option{
		"count": {progressbar.OptionShowCount()}, "bytes": {progressbar.OptionShowBytes(true), progressbar.OptionShowCount()},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			bar := newBar(&out, true, unit...)
			bar.show("", 0, 0)
			require.Empty(t, out.String(), "a run that has not begun has nothing to show")
			bar.show("reading a sample", 0, 0)
			for done := int64(0); done <= 123_456_789; done += 41_152_263 {
				bar.show("importing "+filepath.Base(strings.Repeat("/a long path", 9))+strings.Repeat("x", 50), done, 123_456_789)
				time.Sleep(70 * time.Millisecond) // the bar draws at most every 65 ms
			}
			bar.finish()
			shown := regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`).ReplaceAllString(out.String(), "")
			require.NotContains(t, shown, "0/-")
			require.NotContains(t, shown, "\n")
			require.Contains(t, shown, "reading a sample …")
			for line := range strings.SplitSeq(shown, "\r") {
				require.LessOrEqual(t, utf8.RuneCountInString(line), 80, line)
			}
			require.Contains(t, shown, "importing")
		})
	}
}

func TestUnknownNumberIsNotZero(t *testing.T) {
	require.Equal(t, "–", cell(&audiencev1.Segment{}, "member_count"), "never evaluated")
	require.Equal(t, "0", cell(&audiencev1.Segment{MemberCount: proto.Int64(0)}, "member_count"))
	require.Equal(t, "1 request", countOf(1, "request"))
	require.Equal(t, "2 requests", countOf(2, "request"))
}
