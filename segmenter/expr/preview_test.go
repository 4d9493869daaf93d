package expr

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestPreviewCountsWhatTheReferenceCounts(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	generator := rapid.Custom(func(t *rapid.T) History { return aHistory(t, at) })
	var histories []History
	for i := range 100 {
		histories = append(histories, generator.Example(i))
	}
	ids := w.write(histories)

	p := compile(t,
		`did("purchase")`,
		`in_segment("s0") || (rfm.r >= 2 && attr.vip) || count("visit", "90d") == 0`,
		`did("never happened")`)
	var members, pinned []audience.UserID
	perClause := make([]uint64, 3)
	for i, h := range histories {
		h = p.complete(h, at)
		if h.Memberships["s1"] {
			members = append(members, ids[i])
		}
		if h.Memberships["s2"] {
			pinned = append(pinned, ids[i])
		}
		for j, c := range p.Expr("s1").Clauses() {
			clause, err := Parse(c.Text)
			require.NoError(t, err)
			if clause.Eval(h, at) {
				perClause[j]++
			}
		}
	}

	size, sample, clauses := w.preview(p.Preview("s1", at, 5))
	require.EqualValues(t, len(members), size)
	require.Equal(t, perClause, clauses)
	require.Len(t, sample, 5)
	for _, user := range sample {
		require.True(t, slices.Contains(members, audience.UserID(user)))
	}
	_, again, _ := w.preview(p.Preview("s1", at, 5))
	require.Equal(t, sample, again)
	_, all, _ := w.preview(p.Preview("s1", at, 1000))
	require.Len(t, all, len(members))
	require.Equal(t, sample, all[:5], "a larger sample begins with the smaller one")

	size, sample, clauses = w.preview(p.Preview("s2", at, 5))
	require.Equal(t, len(pinned), int(size), "only who is pinned into it")
	require.Len(t, sample, min(len(pinned), 5))
	require.Equal(t, []uint64{0}, clauses)
}

// preview runs a query of Program.Preview.
func (w *world) preview(q audience.Query) (size uint64, sample []string, clauses []uint64) {
	w.t.Helper()
	rows := 0
	require.NoError(w.t, w.store.Select(w.t.Context(), q, func(scan func(...any) error) error {
		rows++
		return scan(&size, &sample, &clauses)
	}), q.SQL)
	require.Equal(w.t, 1, rows)
	return size, sample, clauses
}

func TestClausesStandWhereTheyAreWritten(t *testing.T) {
	for _, c := range []struct {
		name, source string
		want         []Clause
	}{
		{"one", ` did("a") `, []Clause{{`did("a")`, 1, 2}}},
		{"and", `did("a") && !did("b")`, []Clause{{`did("a")`, 1, 1}, {`!did("b")`, 1, 13}}},
		{"lines", "did(\"a\") ||\n\tdid(\"ü\") ||\n  rfm.r > 1", []Clause{{`did("a")`, 1, 1}, {`did("ü")`, 2, 2}, {`rfm.r > 1`, 3, 3}}},
		{"inner or stays whole", `did("a") && (did("b") || did("c"))`, []Clause{{`did("a")`, 1, 1}, {`(did("b") || did("c"))`, 1, 13}}},
		{"parentheses around all", `(did("a") && did("b"))`, []Clause{{`did("a")`, 1, 2}, {`did("b")`, 1, 14}}},
		{"quoted parentheses and operators", `attr.x == "(" && attr.y == ") && ("`, []Clause{{`attr.x == "("`, 1, 1}, {`attr.y == ") && ("`, 1, 18}}},
		{"five in a balanced tree", `true && false && true && false && true`,
			[]Clause{{"true", 1, 1}, {"false", 1, 9}, {"true", 1, 18}, {"false", 1, 26}, {"true", 1, 35}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Parse(c.source)
			require.NoError(t, err)
			require.Equal(t, c.want, e.Clauses())
		})
	}
}
