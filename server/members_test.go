package server_test

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// TestListedIDsOfAnyLength: ids are put on the wire by hand, where a length takes one byte up to 127 and two beyond.
func TestListedIDsOfAnyLength(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	var want []string
	for _, length := range []int{1, 2, 127, 128, 255, 256} {
		for _, character := range []string{"a", "é", "漢", "🙂"} {
			if length%len(character) == 0 {
				want = append(want, strings.Repeat(character, length/len(character)))
			}
		}
	}
	slices.Sort(want)
	for _, user := range want {
		require.NoError(t, audience.UserID(user).Validate())
		h.memberships[audience.UserID(user)] = []audience.Number{1}
	}
	list := func(cursor string) (*audiencev1.ListMembersResponse, error) {
		stream, err := h.segment.ListMembers(t.Context(), &audiencev1.ListMembersRequest{Name: "segments/vip", Cursor: cursor})
		require.NoError(t, err)
		return stream.Recv()
	}
	listed, err := list("")
	require.NoError(t, err)
	require.Equal(t, want, listed.GetUserIds())
	require.Empty(t, listed.ProtoReflect().GetUnknown(), "the client knows every field")
	_, err = list(listed.GetCursor())
	require.ErrorIs(t, err, io.EOF, "the cursor is behind the last")
}
