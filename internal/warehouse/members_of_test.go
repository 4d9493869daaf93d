package warehouse

import (
	"fmt"
	"testing"

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
