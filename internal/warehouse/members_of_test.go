package warehouse

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestMembersByPages lists more members than the first page holds, of whom each insert has brought every third.
func TestMembersByPages(t *testing.T) {
	store := open(t)
	const users = 21_000
	var want []audience.UserID
	steps := make([][]audience.Change, 3)
	for i := range users {
		id := audience.UserID(fmt.Sprintf("user %05d ü", i))
		segments := []audience.Number{1, audience.Number(2 + i%2)}
		if i%2 == 0 {
			want = append(want, id)
		}
		steps[i%3] = append(steps[i%3], audience.Change{Membership: audience.Membership{User: id, Segments: segments, Version: uint64(1 + i%3)}, Time: noon})
	}
	for _, changes := range steps {
		require.NoError(t, store.AppendChanges(t.Context(), changes))
	}
	list := func(segment audience.Number, after audience.UserID, limit, most int) (listed []audience.UserID) {
		for user, err := range store.MembersOf(t.Context(), segment, after, limit) {
			require.NoError(t, err)
			if listed = append(listed, user); len(listed) == most {
				break
			}
		}
		return listed
	}
	require.Len(t, list(1, "", 0, 0), users)
	require.Equal(t, want, list(2, "", 0, 0))
	require.Equal(t, want[7000:], list(2, want[6999], 0, 0), "from a cursor on")
	require.Equal(t, want[:10_001], list(2, "", 10_001, 0), "a limit one beyond the first page")
	require.Equal(t, want[:10_000], list(2, "", 10_000, 0), "a limit of exactly the first page")
	require.Equal(t, want[:5], list(2, "", 0, 5), "broken off, with a page under way")
	require.Empty(t, list(9, "", 0, 0))
}

// TestListsAreMembership holds lists, from every position on and in several ranges, against memberships kept in memory, after
// random changes whose parts are not merged.
func TestListsAreMembership(t *testing.T) {
	const users, steps = 90, 40
	store, random := open(t), rand.New(rand.NewPCG(3, 8))
	require.NoError(t, store.Exec(t.Context(), audience.Query{SQL: "SYSTEM STOP MERGES members"}))
	memberships := map[audience.UserID][]audience.Number{}
	for len(memberships) < users {
		memberships[randomUser(random)] = nil
	}
	everybody := slices.Sorted(maps.Keys(memberships))
	in := func(segment audience.Number) (members []audience.UserID) {
		for _, user := range everybody {
			if slices.Contains(memberships[user], segment) {
				members = append(members, user)
			}
		}
		return members
	}
	var halfway []audience.UserID
	for step := range steps {
		var changes []audience.Change
		for _, i := range random.Perm(users)[:12] {
			var segments []audience.Number
			for segment := range audience.Number(3) {
				if random.IntN(3) > 0 {
					segments = append(segments, segment+1)
				}
			}
			change := audience.ChangeOf(everybody[i], memberships[everybody[i]], segments)
			change.Version, change.Time = uint64(step+1), noon.Add(time.Duration(step)*time.Minute)
			changes, memberships[change.User] = append(changes, change), segments
		}
		require.NoError(t, store.AppendChanges(t.Context(), changes))
		if step == steps/2 {
			halfway = in(2)
		}
	}
	ends, err := store.rangeEnds(t.Context(), "")
	require.NoError(t, err)
	require.NotEmpty(t, ends, "one range only")

	for segment := range audience.Number(3) {
		want := in(segment + 1)
		listed, err := all(store.MembersOf(t.Context(), segment+1, "", 0))
		require.NoError(t, err)
		require.Equal(t, want, listed)
		listed, err = all(store.MembersAt(t.Context(), segment+1, noon.Add(time.Hour), "", 0))
		require.NoError(t, err)
		require.Equal(t, want, listed, "as of a time")
	}
	listed, err := all(store.MembersAt(t.Context(), 2, noon.Add(steps/2*time.Minute), "", 0))
	require.NoError(t, err)
	require.Equal(t, halfway, listed, "as of a time long ago")
	want := in(1)
	for member, err := range store.MembersAfter(t.Context(), "") {
		require.NoError(t, err)
		require.Equal(t, memberships[member.User], member.Segments)
		delete(memberships, member.User)
	}
	for user, segments := range memberships {
		require.Empty(t, segments, user)
	}
	for _, after := range everybody {
		from, _ := slices.BinarySearch(want, after+"\x00")
		limit := 1 + random.IntN(len(want))
		listed, err := all(store.MembersOf(t.Context(), 1, after, limit))
		require.NoError(t, err)
		require.Equal(t, want[from:min(from+limit, len(want))], append([]audience.UserID{}, listed...), "%d after %q", limit, after)
	}
}

// randomUser has an id of any length, of characters of one to four bytes.
func randomUser(random *rand.Rand) audience.UserID {
	var id strings.Builder
	for most := 1 + random.IntN(audience.MaxUserIDBytes); ; {
		character := []rune("aZ09-_ .,'\"\\üß€漢🙂")[random.IntN(17)]
		switch {
		case id.Len()+len(string(character)) <= most:
			id.WriteRune(character)
		case id.Len() > 0:
			return audience.UserID(id.String())
		}
	}
}
