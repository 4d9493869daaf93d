package server

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestTokensCarryAnyPosition: a token leads back to its position within its scope, whatever bytes that has, and is refused
// in any other scope.
func TestTokensCarryAnyPosition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := string(rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "position"))
		scopes := rapid.SliceOfN(rapid.String(), 0, 3)
		scope, other := scopes.Draw(t, "scope"), scopes.Draw(t, "other")
		token := tokenAt(at, scope...)
		got, err := position("page_token", token, scope...)
		require.NoError(t, err)
		require.Equal(t, at, got)
		if !slices.Equal(scope, other) {
			_, err = position("page_token", token, other...)
			require.ErrorIs(t, err, audience.ErrInvalid)
		}
	})
}
