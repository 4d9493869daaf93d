package identity

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/kohorta/kohorta/internal/audience"
)

var allSchemes = func() (all []audience.Scheme) {
	for _, f := range Fields {
		for _, s := range schemesOf(f) {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}()

// shapes are what normal forms look like (sheets Meta 3.2, TikTok 6).
var shapes = map[audience.Scheme]*regexp.Regexp{
	MetaEmail:            regexp.MustCompile(`^[!-?A-~]+@[a-z0-9.-]+\.[a-z0-9-]+$`),
	MetaPhone:            regexp.MustCompile(`^[1-9][0-9]{7,14}$`),
	MetaMADID:            deviceShape,
	MetaFirstName:        regexp.MustCompile(`^[^\pZ\pP]*\pL[^\pZ\pP]*$`),
	MetaLastName:         regexp.MustCompile(`^[^\pZ\pP]*\pL[^\pZ\pP]*$`),
	MetaInitial:          regexp.MustCompile(`^\pL$`),
	MetaCity:             regexp.MustCompile(`^[a-z]+$`),
	MetaState:            regexp.MustCompile(`^[a-z]+$`),
	MetaZip:              regexp.MustCompile(`^[a-z0-9]+$`),
	MetaCountry:          regexp.MustCompile(`^[a-z]{2}$`),
	MetaGender:           regexp.MustCompile(`^[mf]$`),
	MetaBirthYear:        regexp.MustCompile(`^(19|20)[0-9]{2}$`),
	MetaBirthMonth:       regexp.MustCompile(`^(0[1-9]|1[0-2])$`),
	MetaBirthDay:         regexp.MustCompile(`^(0[1-9]|[12][0-9]|3[01])$`),
	TikTokEmailBasic:     regexp.MustCompile(`^[^\pZ@]+@[^\pZ@]*\.[^\pZ@]*$`),
	TikTokEmailStripPlus: regexp.MustCompile(`^[^\pZ@+]+@[^\pZ@]*\.[^\pZ@]*$`),
	TikTokEmailLegacy:    regexp.MustCompile(`^[^\pZ@+.]+@[^\pZ@]*\.[^\pZ@]*$`),
	TikTokPhone:          regexp.MustCompile(`^\+[1-9][0-9]{7,14}$`),
	TikTokIDFA:           deviceShape,
	TikTokAAID:           deviceShape,
}

var deviceShape = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// Normalising twice is normalising once, every form has the shape of its scheme, no form keeps what its rule removes, and
// what says nothing by a rule has no form.
// A Meta phone is read again with the + that its form has lost.
func FuzzNormalForms(f *testing.F) {
	for _, seed := range []string{"Ann.Lee+x@Example.org", "+44 (0)20 7946 0958", "0049 30 901820", "(650)555-1212", "Vale\u0301ry", "정",
		"Łódź", "Groß", "６０１１００２００", "1990-05-09", "94035-1234", "M1 1AE", "İstanbul", "United Kingdom", "uk", "new york",
		"6D92078A-8246-4BA4-AE5B-76104861E7DC", "\u212A@example.com", "a-\u0301", "ǅ", "+1 900 1+", "00000000000", "\u202a+48 601 100 200", "Польша", "150",
		"Ł.U.+x@mail.example.pl", "０９", "February", "UN"} {
		for country := range 4 {
			f.Add(seed, country)
		}
	}
	f.Fuzz(func(t *testing.T, v string, n int) {
		country := []string{"", "US", "PL", "GB"}[uint(n)%4]
		for _, s := range allSchemes {
			once, reason := appendForm(nil, s, v, country)
			if reason != "" {
				continue
			}
			if !shapes[s].Match(once) {
				t.Fatalf("%s: %q became %q", s, v, once)
			}
			if (s == MetaCity || s == MetaState || s == MetaCountry) && len(appendLetters(nil, v)) == 0 {
				t.Fatalf("%s: %q has no letter, but became %q", s, v, once)
			}
			again := string(once)
			if s == MetaPhone {
				again = "+" + again
			}
			twice, reason := appendForm(nil, s, again, country)
			if reason != "" || string(twice) != string(once) {
				t.Fatalf("%s of %q: once %q, twice %q %s", s, v, once, twice, reason)
			}
			if strings.IndexFunc(string(once), unicode.IsSpace) >= 0 {
				t.Fatalf("%s: white space in %q", s, once)
			}
		}
	})
}

// TestPrefixStays: a form is appended, whatever the buffer held.
func TestPrefixStays(t *testing.T) {
	for _, s := range allSchemes {
		for _, v := range []string{"A.b+c@Example.com", "k m@example.com", "+48 601 100 200", "Ann", "Ärger@example.com", "12345-6789", "california",
			"1990-05-09", "female", "germany", "6D92078A-8246-4BA4-AE5B-76104861E7DC"} {
			want, reason := appendForm(nil, s, v, "US")
			if reason != "" {
				continue
			}
			got, _ := appendForm([]byte("before "), s, v, "US")
			if string(got) != "before "+string(want) {
				t.Errorf("%s: %q after a prefix became %q", s, want, got)
			}
		}
	}
}

// What a person's phone gives for all platforms at once is what it gives for each by itself.
func FuzzPhoneOfAllPlatforms(f *testing.F) {
	for _, seed := range []string{"601 100 200", "0048 601 100 200", "(650)555-1212", "+44 (0)20 7946 0958", "15551234567", "0000", "601-100-200 ext 5", "\u202a601100200",
		"６０１１００２００", "+48601100200", "12", strings.Repeat("\u200b", 300) + "601100200"} {
		for country := range 4 {
			f.Add(seed, country)
		}
	}
	f.Fuzz(func(t *testing.T, v string, country int) {
		of := []string{"", "PL", "US", "GB"}[uint(country)%4]
		h, err := NewHasher(of)
		if err != nil {
			t.Fatal(err)
		}
		if value := strings.TrimSpace(v); value == "" || isDigest(value) {
			return
		}
		ids, _ := h.Identify([]Input{{Field: Phone, Value: Raw(v)}})
		var each []audience.Identifier
		for _, s := range schemesOf(Phone) {
			if id, reason := h.Hash(s, Raw(v), of); reason == "" {
				each = append(each, id)
			}
		}
		if !slices.Equal(ids, each) {
			t.Fatalf("%q: %d identifiers together, %d one by one", v, len(ids), len(each))
		}
	})
}
