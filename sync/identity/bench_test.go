package identity

import "testing"

// BenchmarkIdentify hashes people as profiles come in: an e-mail for all four schemes, a phone in E.164, a national one.
func BenchmarkIdentify(b *testing.B) {
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
			for b.Loop() {
				if _, dropped := h.Identify(inputs); dropped != nil {
					b.Fatal(dropped)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "people/s")
		})
	}
}
