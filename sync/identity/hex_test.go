package identity

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendHex(t *testing.T) {
	var all strings.Builder
	for b := range 256 {
		all.WriteByte(byte(b))
	}
	for n := range all.Len() {
		digest := all.String()[n:]
		require.Equal(t, "before"+hex.EncodeToString([]byte(digest)), string(AppendHex([]byte("before"), digest)))
	}
}

func BenchmarkAppendHex(b *testing.B) {
	digest := strings.Repeat("\xa5", 32)
	dst := make([]byte, 0, 64)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			dst = AppendHex(dst[:0], digest)
		}
	})
	b.Run("encoding/hex", func(b *testing.B) {
		for b.Loop() {
			dst = hex.AppendEncode(dst[:0], []byte(digest))
		}
	})
}
