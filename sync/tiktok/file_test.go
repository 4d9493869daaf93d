package tiktok_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
	"github.com/kohorta/kohorta/sync/sandbox"
	"github.com/kohorta/kohorta/sync/tiktok"
)

// startTimed is start with the platform's clock for the client too, and files of 50 kB.
func startTimed(t *testing.T, cfg sandbox.Config) (*sandbox.Server, *tiktok.Client) {
	t.Helper()
	cfg.QuotasOff = true
	s := sandbox.New(cfg)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(sandbox.DemoTikTokToken), 0o600))
	c, err := tiktok.New(tiktok.Config{Account: sandbox.DemoTikTokAdvertiser, BaseURL: server.URL, TokenFile: token, FileBytes: 50_000, Now: s.Now},
		slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return s, c
}

func failure(t *testing.T, err error) *destination.Error {
	t.Helper()
	var e *destination.Error
	require.ErrorAs(t, err, &e)
	return e
}

func stream(rows []destination.Row) iter.Seq2[destination.Row, error] {
	return func(yield func(destination.Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// upload sends the files of rows.
func upload(t *testing.T, c *tiktok.Client, rows []destination.Row, schemes ...audience.Scheme) (refs []destination.FileRef) {
	t.Helper()
	for f, err := range c.Files(stream(rows), schemes) {
		require.NoError(t, err)
		ref, err := c.Upload(t.Context(), f)
		require.NoError(t, err)
		refs = append(refs, ref)
	}
	return refs
}

// filed is what the platform should hold of rows sent by mixed files.
func filed(rows []destination.Row) []sandbox.Member {
	members := membersOf(rows, identity.TikTokEmailBasic)
	for i := range members {
		members[i].Kind = map[string]string{"EMAIL_SHA256": "EMAIL_SHA256", "PHONE_SHA256": "PHONE_SHA256", "AAID_SHA256": "MAID_SHA256"}[members[i].Kind]
	}
	return members
}

// TestFiles: cut where the platform's limit is, of one kind or mixed, never an empty field, never an empty file.
func TestFiles(t *testing.T) {
	_, c := startTimed(t, sandbox.Config{})
	rows, _ := people(t, 1000)
	for name, want := range map[string]struct {
		schemes []audience.Scheme
		kind    string
		headers []string // of each file, "" for none
		rows    int
	}{
		"e-mails":       {[]audience.Scheme{identity.TikTokEmailBasic}, "EMAIL_SHA256", []string{"", ""}, 1000},
		"two modes":     {[]audience.Scheme{identity.TikTokEmailBasic, identity.TikTokEmailLegacy}, "EMAIL_SHA256", []string{"", "", ""}, 2000},
		"phones":        {[]audience.Scheme{identity.TikTokPhone}, "PHONE_SHA256", []string{""}, 500},
		"Google's":      {[]audience.Scheme{identity.TikTokAAID}, "GAID_SHA256", []string{""}, 334},
		"both devices":  {[]audience.Scheme{identity.TikTokIDFA, identity.TikTokAAID}, "FIRST_SHA256", []string{""}, 334},
		"everything":    {nil, "MULTIPLE_TYPES", []string{"email_SHA256", "email_SHA256", "phone_SHA256", "MAID_SHA256"}, 1834},
		"nobody's kind": {[]audience.Scheme{identity.TikTokIDFA}, "", nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			total := 0
			for f, err := range c.Files(stream(rows), want.schemes) {
				require.NoError(t, err)
				require.Equal(t, want.kind, f.Kind)
				require.True(t, strings.HasSuffix(f.Name, ".csv"))
				require.LessOrEqual(t, len(f.Content), 50_000)
				lines := strings.Split(strings.TrimSuffix(string(f.Content), "\n"), "\n")
				header := ""
				if f.Kind == "MULTIPLE_TYPES" {
					header, lines = lines[0], lines[1:]
				}
				headers = append(headers, header)
				require.Len(t, lines, f.Rows)
				total += f.Rows
				for _, line := range lines {
					require.Len(t, line, 64)
				}
			}
			slices.Sort(headers)
			slices.Sort(want.headers)
			require.Equal(t, want.headers, headers)
			require.Equal(t, want.rows, total)
		})
	}
	broken := errors.New("the ledger is away")
	for _, err := range c.Files(func(yield func(destination.Row, error) bool) { yield(destination.Row{}, broken) }, nil) {
		require.ErrorIs(t, err, broken)
	}
}

// TestFileExample is the worked example of the sheet (3.1): three e-mails, 195 bytes.
func TestFileExample(t *testing.T) {
	_, c := startTimed(t, sandbox.Config{})
	h, err := identity.NewHasher("")
	require.NoError(t, err)
	var rows []destination.Row
	for _, e := range []identity.Raw{"  Priya.Natarajan+spring@Example.ORG ", "Kim Lee@example.com", "O.Brien@Mail.Example.co.uk"} {
		id, reason := h.Hash(identity.TikTokEmailBasic, e, "")
		require.Empty(t, reason)
		rows = append(rows, destination.Row{Identifiers: []audience.Identifier{id}})
	}
	for f, err := range c.Files(stream(rows), []audience.Scheme{identity.TikTokEmailBasic}) {
		require.NoError(t, err)
		require.Len(t, f.Content, 195)
		require.Equal(t, "25c2060beb0c97d1605a37599e63c8c8", fmt.Sprintf("%x", md5.Sum(f.Content)))
	}
}

// TestFileLife: made, appended to, cut, replaced; each change waits until the platform has taken in the one before.
func TestFileLife(t *testing.T) {
	s, c := startTimed(t, sandbox.Config{})
	rows, _ := people(t, 4000)
	spec := destination.AudienceSpec{Key: "seed", Name: "Audience 11"}
	refs := upload(t, c, rows[:2000])
	id, err := c.EnsureFileAudience(t.Context(), spec, refs)
	require.NoError(t, err)
	again, err := c.EnsureFileAudience(t.Context(), spec, refs)
	require.NoError(t, err)
	require.Equal(t, id, again)
	status, err := c.Audience(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, destination.Processing, status.State)
	require.False(t, status.Writable)

	type step struct {
		change destination.FileChange
		rows   []destination.Row
		want   []destination.Row
	}
	for _, st := range []step{
		{destination.Append, rows[1500:3000], rows[:3000]},
		{destination.Cut, rows[:500], rows[500:3000]},
		{destination.Replace, rows[2000:], rows[2000:]},
	} {
		refs := upload(t, c, st.rows)
		err := c.ChangeByFiles(t.Context(), id, st.change, refs)
		require.Equal(t, destination.Busy, failure(t, err).Kind, "40002 while it is being processed is no refusal")
		require.Equal(t, 15*time.Minute, failure(t, err).RetryAfter)
		s.Advance(20 * time.Hour)
		err = c.ChangeByFiles(t.Context(), id, st.change, refs)
		require.Equal(t, time.Hour, failure(t, err).RetryAfter, "the polls grow apart")
		s.Advance(28 * time.Hour)
		refs = upload(t, c, st.rows) // the first ones have expired
		require.NoError(t, c.ChangeByFiles(t.Context(), id, st.change, refs))
		status, err = c.Audience(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, destination.Processing, status.State, "counted from the change, not from the creation")
	}
	s.Advance(48 * time.Hour)
	require.ElementsMatch(t, filed(rows[2000:]), s.TikTok().Members(id))
	status, err = c.Audience(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, destination.Ready, status.State)
	require.NoError(t, c.DeleteFileAudience(t.Context(), id))
	require.NoError(t, c.DeleteFileAudience(t.Context(), id), "gone already")
}

// TestFileRefusals: what the platform says about files and small audiences, told apart.
func TestFileRefusals(t *testing.T) {
	s, c := startTimed(t, sandbox.Config{TikTok: sandbox.TikTokConfig{SmallFloorSync: true}})
	rows, _ := people(t, 2000)
	refs := upload(t, c, rows)

	_, err := c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "x"}, []destination.FileRef{{Path: "0000000000000000", Kind: "MULTIPLE_TYPES"}})
	require.ErrorIs(t, err, destination.ErrFileGone, "never uploaded")
	s.Advance(25 * time.Hour)
	_, err = c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "x"}, refs)
	require.ErrorIs(t, err, destination.ErrFileGone, "expired")

	_, err = c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "x"}, nil)
	require.Equal(t, destination.Gone, failure(t, err).Kind, "nothing to make it of")
	_, err = c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "x"}, make([]destination.FileRef, 50))
	require.ErrorContains(t, err, "1 to 49")
	_, err = c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "x"}, []destination.FileRef{{Kind: "A"}, {Kind: "B"}})
	require.ErrorContains(t, err, "one kind")
	require.Error(t, c.ChangeByFiles(t.Context(), "1", 0, refs), "no change is no replace")

	small, err := c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "small"}, upload(t, c, rows[:10]))
	require.NoError(t, err)
	large, err := c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "large"}, upload(t, c, rows))
	require.NoError(t, err)
	s.Advance(49 * time.Hour)
	err = c.ChangeByFiles(t.Context(), small, destination.Append, upload(t, c, rows))
	require.Equal(t, destination.Misconfigured, failure(t, err).Kind, "built with size 0 it can never be changed")
	require.NotEmpty(t, failure(t, err).Remedy)
	err = c.ChangeByFiles(t.Context(), large, destination.Cut, upload(t, c, rows[:1990]))
	require.Equal(t, destination.Misconfigured, failure(t, err).Kind)
	require.Contains(t, failure(t, err).Remedy, "fewer than 1000")
	require.NoError(t, s.TikTok().SetDeleted(large))
	err = c.ChangeByFiles(t.Context(), large, destination.Append, upload(t, c, rows))
	require.Equal(t, destination.Gone, failure(t, err).Kind)

	// The answer of a creation is lost: found by the next attempt.
	refs = upload(t, c, rows)
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultResetAfter, Path: "/custom_audience/create/", Count: 1}))
	_, err = c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "lost"}, refs)
	require.Equal(t, destination.Transient, failure(t, err).Kind)
	_, err = c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "lost"}, refs)
	require.NoError(t, err)
	require.Len(t, s.TikTok().Audiences(), 3)
}

// TestUploadArrivesChanged: the signature is that of the bytes sent, and a file that arrives otherwise is sent again.
func TestUploadArrivesChanged(t *testing.T) {
	s, c := startTimed(t, sandbox.Config{})
	f := destination.File{Name: "members-1.csv", Kind: "EMAIL_SHA256", Content: []byte(strings.Repeat("ab", 32) + "\n"), Rows: 1}
	require.NoError(t, s.Inject(sandbox.Fault{Kind: sandbox.FaultCode, Code: 40900, Path: "/file/upload/", Count: 1}))
	_, err := c.Upload(t.Context(), f)
	require.Equal(t, destination.Transient, failure(t, err).Kind)
	_, err = c.Upload(t.Context(), f)
	require.NoError(t, err)
	f.Content = bytes.Repeat([]byte("x"), 100)
	_, err = c.Upload(t.Context(), f)
	require.Equal(t, destination.Misconfigured, failure(t, err).Kind, "off specification")
}

// TestLookalike: all six keys, found again by name, read back; a seed that is not ready is waited for.
func TestLookalike(t *testing.T) {
	s, c := startTimed(t, sandbox.Config{})
	rows, _ := people(t, 2000)
	seed, err := c.EnsureFileAudience(t.Context(), destination.AudienceSpec{Key: "seed"}, upload(t, c, rows))
	require.NoError(t, err)
	spec := destination.LookalikeSpec{Key: "like", Name: "Audience 12", Seed: seed, Places: []string{"6252001"}, Size: "NARROW"}
	_, err = c.EnsureLookalike(t.Context(), spec)
	require.Equal(t, destination.Busy, failure(t, err).Kind)
	require.Equal(t, 15*time.Minute, failure(t, err).RetryAfter)
	s.Advance(49 * time.Hour)
	id, err := c.EnsureLookalike(t.Context(), spec)
	require.NoError(t, err, "include_source stands there although false")
	again, err := c.EnsureLookalike(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, id, again)
	got, err := c.Lookalike(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, destination.LookalikeSpec{Name: "Audience 12 [like]", Seed: seed, Places: []string{"6252001"}, Size: "NARROW",
		MobileOS: "ALL", Placements: []string{"TikTok"}}, got.Spec)
	require.Equal(t, destination.Processing, got.Status.State)
	s.Advance(49 * time.Hour)
	got, err = c.Lookalike(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, destination.Ready, got.Status.State)

	spec.Key, spec.Seed = "like-like", id
	_, err = c.EnsureLookalike(t.Context(), spec)
	require.Equal(t, destination.Misconfigured, failure(t, err).Kind, "no lookalike of a lookalike")
	_, err = c.Lookalike(t.Context(), seed)
	require.Error(t, err)

	_, err = c.EnsureLookalike(t.Context(), destination.LookalikeSpec{Key: "x", Seed: "seed", Size: "HUGE", MobileOS: "SYMBIAN",
		Placements: []string{"PLACEMENT_TIKTOK"}, Ratio: 0.1, StartingRatio: 0.01})
	var invalid *audience.InvalidError
	require.ErrorAs(t, err, &invalid)
	var fields []string
	for _, v := range invalid.Violations {
		fields = append(fields, v.Field)
	}
	require.Equal(t, []string{"seed", "places", "size", "mobile_os", "placements", "ratio", "starting_ratio"}, fields)
}

// TestLongNames: the platform stores at most 70 characters of a segment's name, and it is found again all the same.
func TestLongNames(t *testing.T) {
	s, c := startTimed(t, sandbox.Config{})
	spec := destination.AudienceSpec{Key: audience.AudienceID(strings.Repeat("k", 63)), Name: strings.Repeat("Łódź ", 40)}
	id, err := c.EnsureAudience(t.Context(), spec)
	require.NoError(t, err)
	again, err := c.EnsureAudience(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, id, again)
	require.Len(t, s.TikTok().Audiences(), 1)
}

// TestFirstLoad: with TikTok's own figures a large static seed goes by file, whatever gets changes by diff.
func TestFirstLoad(t *testing.T) {
	_, c := start(t, sandbox.Config{}, "")
	load := destination.Load{Rows: 10_000_000, Additions: 10_000_000, Static: true}
	choice := destination.FirstLoad(load, c.Limits())
	require.Equal(t, destination.ByFile, choice.Way)
	require.EqualValues(t, 15, choice.Requests, "14 files and a creation (sheet, 5)")
	load.Static = false
	require.Equal(t, destination.ByDiff, destination.FirstLoad(load, c.Limits()).Way)
}
