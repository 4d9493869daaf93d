package identity

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// slowAddress is appendAddress part by part.
func slowAddress(v string) (string, bool) {
	lower := []byte(v)
	for i, c := range lower {
		if c >= 'A' && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	local, domain, found := strings.Cut(string(lower), "@")
	ok := found && strings.Contains(domain, ".")
	for _, atom := range strings.Split(local, ".") {
		ok = ok && atom != "" && strings.Trim(atom, "abcdefghijklmnopqrstuvwxyz0123456789-!#$%&'*+/=?^_`{|}~") == ""
	}
	for _, label := range strings.Split(domain, ".") {
		ok = ok && label != "" && strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && strings.Trim(label, "-") == label
	}
	return string(lower), ok
}

// FuzzAddress: the one pass says what the parts do.
func FuzzAddress(f *testing.F) {
	for _, v := range []string{"", "@", "a@b.c", "First.Last00001@Example.com", "a..b@c.de", "a.@b.cd", ".a@b.cd", "abcdefg.@b.cd", "a@-b.cd", "a@b-.cd",
		"a@b.c-", "a@b..cd", "a@b", "a@@b.cd", "a-@b.cd", "żółć@b.cd", "a@b.cd\x80", "!#$%&'*+/=?^_`{|}~@b.cd", "abcdefgh@abcdefg.hijklmno", "a@b_c.de", "[@`{/:.@A.Zz"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		want, ok := slowAddress(v)
		got, gotOK := appendAddress([]byte("x"), v)
		if ok != gotOK {
			t.Fatalf("%q: %v", v, gotOK)
		}
		if ok {
			require.Equal(t, "x"+want, string(got))
		}
	})
}
