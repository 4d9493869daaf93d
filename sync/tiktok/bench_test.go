package tiktok

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
)

// BenchmarkPayload builds the bodies of 8000 rows with one e-mail each, 1000 a request as the service does: from raw
// e-mails, beside the SHA-256 of the same e-mails alone, in turn within one run, and from stored digests.
func BenchmarkPayload(b *testing.B) {
	c, err := New(Config{Account: "1", TokenFile: "t"}, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	h, err := identity.NewHasher("")
	require.NoError(b, err)
	emails := make([]identity.Raw, benchRows)
	plain := make([][]byte, benchRows)
	rows := make([]destination.Row, benchRows)
	for i := range rows {
		emails[i] = identity.Raw(fmt.Sprintf("First.Last%05d@example.com", i))
		plain[i] = []byte(emails[i])
	}
	ids := make([]audience.Identifier, benchRows)
	identify := func() {
		for i, e := range emails {
			ids[i], _ = h.Hash(identity.TikTokEmailBasic, e, "")
			rows[i].Identifiers = ids[i : i+1 : i+1]
		}
	}
	body := make([]byte, 0, 1<<20)
	build := func() {
		batches, _ := c.Split(rows, destination.Add)
		body = body[:0]
		for i := range batches {
			body = appendPayload(body, c.account, "170000001", &batches[i])
		}
	}
	// beside reports the fastest of a run of each: whatever else the machine does only ever makes them slower.
	beside := func(b *testing.B, build func()) {
		b.ReportAllocs()
		ours, sha := time.Hour, time.Hour
		for b.Loop() {
			start := time.Now()
			build()
			ours = min(ours, time.Since(start))
			start = time.Now()
			for _, p := range plain {
				sink = sha256.Sum256(p)
			}
			sha = min(sha, time.Since(start))
		}
		b.ReportMetric(benchRows/ours.Seconds(), "rows/s")
		b.ReportMetric(sha.Seconds()/ours.Seconds(), "of-sha256")
	}
	onePass := func() {
		body = body[:0]
		for batch := range slices.Chunk(emails, defaultRows) {
			body = appendHead(body, c.account, destination.Add, identity.TikTokEmailBasic)
			for i, e := range batch {
				if i > 0 {
					body = append(body, ',')
				}
				body, _ = h.AppendIdentifier(append(body, rowStart...), identity.TikTokEmailBasic, e, "")
				body = append(body, rowMiddle+"170000001"+rowEnd...)
			}
			body = append(body, payloadEnd...)
		}
	}
	identify()
	build()
	inTwo := string(body)
	onePass()
	require.Equal(b, inTwo, string(body))
	b.Run("raw, one pass", func(b *testing.B) { beside(b, onePass) })
	b.Run("raw, by identifiers", func(b *testing.B) {
		beside(b, func() {
			identify()
			build()
		})
	})
	b.Run("stored", func(b *testing.B) {
		identify()
		b.ReportAllocs()
		for b.Loop() {
			build()
		}
		b.ReportMetric(float64(b.N*benchRows)/b.Elapsed().Seconds(), "rows/s")
	})
}

const benchRows = 8000

var sink [sha256.Size]byte
