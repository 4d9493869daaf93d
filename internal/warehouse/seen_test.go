package warehouse

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSeenNeverForgets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hashes := rapid.SliceOf(rapid.Uint64()).Draw(t, "hashes")
		filter, chain := newSeenFilter(len(hashes)/2), seen{} // too small: it may say "maybe" more often, never no
		for _, hash := range hashes {
			filter.add(hash)
			chain.add(hash)
		}
		for _, hash := range hashes {
			require.True(t, filter.has(hash))
			require.True(t, chain.add(hash))
		}
	})
}

func TestSeenFalsePositives(t *testing.T) {
	const hashes, asked = 3 << 20, 4 << 20 // two filters full
	random := rand.New(rand.NewPCG(1, 2))
	var chain seen
	for range hashes {
		chain.add(random.Uint64())
	}
	require.Len(t, chain.filters, 2)
	wrong := 0
	for range asked {
		if chain.has(random.Uint64()) {
			wrong++
		}
	}
	t.Logf("%d of %d new hashes were taken for old ones", wrong, asked)
	require.Less(t, wrong, 60, "expected about 10 of a million from two full filters")
}

func BenchmarkSeen(b *testing.B) {
	filter := newSeenFilter(20 << 20)
	hash := uint64(1)
	for b.Loop() {
		hash = hash*6364136223846793005 + 1442695040888963407
		filter.add(hash)
	}
}
