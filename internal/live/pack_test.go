package live

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestUnpackInvertsPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		segments := rapid.SliceOfDistinct(rapid.Uint32Min(1), rapid.ID[uint32]).Draw(t, "segments")
		slices.Sort(segments)
		var want []audience.Number
		for _, s := range segments {
			want = append(want, audience.Number(s))
		}
		got, err := unpack(string(pack(want)))
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func TestUnpackRefusesDamage(t *testing.T) {
	for name, packed := range map[string]string{
		"a cut varint":        "\x81",
		"a segment of zero":   "\x00",
		"a repeated segment":  "\x01\x00",
		"beyond 32 bits":      "\xff\xff\xff\xff\x10",
		"a sum beyond 32":     "\xff\xff\xff\xff\x0f\x01",
		"a varint of 11 byte": "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	} {
		_, err := unpack(packed)
		require.Error(t, err, name)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add("\x01\x02")
	f.Fuzz(func(t *testing.T, packed string) {
		segments, err := unpack(packed)
		if err != nil {
			return
		}
		require.True(t, slices.IsSorted(segments))
		again, err := unpack(string(pack(segments)))
		require.NoError(t, err)
		require.Equal(t, segments, again)
	})
}
