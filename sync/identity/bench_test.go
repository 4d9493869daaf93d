package identity

import (
	"crypto/sha256"
	"testing"
	"time"
)

// BenchmarkIdentify hashes people as profiles come in: an e-mail for all four schemes, which are two hashes for this one, a
// phone in E.164, a national one. Beside it the SHA-256 of the values as they came, in turn within one run.
func BenchmarkIdentify(b *testing.B) {
	const people = 1000
	for name, inputs := range map[string][]Input{
		"email":          {{Field: Email, Value: "First.Last@Example.com"}},
		"email+e164":     {{Field: Email, Value: "First.Last@Example.com"}, {Field: Phone, Value: "+48601100200"}},
		"email+national": {{Field: Email, Value: "First.Last@Example.com"}, {Field: Phone, Value: "601 100 200"}},
	} {
		b.Run(name, func(b *testing.B) {
			h, err := NewHasher("PL")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			ours, sha := time.Hour, time.Hour // the fastest of each: whatever else the machine does only makes them slower
			for b.Loop() {
				start := time.Now()
				for range people {
					if _, dropped := h.Identify(inputs); dropped != nil {
						b.Fatal(dropped)
					}
				}
				ours = min(ours, time.Since(start))
				start = time.Now()
				for range people {
					for _, in := range inputs {
						sink = sha256.Sum256([]byte(in.Value))
					}
				}
				sha = min(sha, time.Since(start))
			}
			b.ReportMetric(people/ours.Seconds(), "people/s")
			b.ReportMetric(sha.Seconds()/ours.Seconds(), "of-sha256")
		})
	}
}

var sink [sha256.Size]byte
