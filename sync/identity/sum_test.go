package identity

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestSum: equal to crypto/sha256 for every length around one block, by the short way, and also without it.
func TestSum(t *testing.T) {
	short, long := newSummer(), &summer{}
	require.NotNil(t, short.state, "this version of Go encodes the state otherwise: the short way is lost, nothing else")
	for n := range 200 {
		v := bytes.Repeat([]byte{byte(n), 0xff}, n)[:n]
		require.Equal(t, sha256.Sum256(v), *short.sum(v), "%d bytes", n)
		require.Equal(t, sha256.Sum256(v), *long.sum(v), "%d bytes", n)
	}
	for n := oneBlock; n >= 0; n-- { // nothing of a longer value stays in the block
		v := bytes.Repeat([]byte{0xff}, n)
		require.Equal(t, sha256.Sum256(v), *short.sum(v), "%d bytes after %d", n, n+1)
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte("ann.lee@example.org"))
	f.Add(make([]byte, oneBlock))
	s := newSummer()
	f.Fuzz(func(t *testing.T, v []byte) {
		if *s.sum(v) != sha256.Sum256(v) {
			t.Fatalf("%d bytes", len(v))
		}
	})
}

// TestAppendIdentifier: the one pass gives what Hash and AppendHex give in two, for every scheme.
func TestAppendIdentifier(t *testing.T) {
	h, err := NewHasher("PL")
	require.NoError(t, err)
	for _, v := range []Raw{"First.Last@Example.com", " Kim Lee@example.com ", "Zażółć@gęślą.pl", "a+b.c@x.io", "601 100 200", "+44 (0)20 7946 0958",
		"6D92078A-8246-4BA4-AE5B-76104861E7DC", "Świętosława", "1990-05-09", "", "@", "female", "Kraków", "US",
		Raw(strings.Repeat("long.", 20) + "local@example.com")} {
		for _, s := range []audience.Scheme{MetaEmail, MetaPhone, MetaMADID, MetaFirstName, MetaCity, MetaCountry, MetaGender, MetaBirthYear,
			TikTokEmailBasic, TikTokEmailStripPlus, TikTokEmailLegacy, TikTokPhone, TikTokIDFA, TikTokAAID, "nobody:KNOWS"} {
			id, reason := h.Hash(s, v, "")
			got, gotReason := h.AppendIdentifier([]byte("before"), s, v, "")
			require.Equal(t, reason, gotReason)
			want := "before"
			switch {
			case reason != "":
			case inClear(s):
				want += id.Value
			default:
				want = string(AppendHex([]byte(want), id.Value))
			}
			require.Equal(t, want, string(got), s)
		}
	}
}
