package identity

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// What the sheets' vectors do not show, by the sheets' rules: Polish and other letters, composed or not, digits of other
// scripts, numbers as people write them, names of countries. An empty form means that there must be none.
func TestForeignForms(t *testing.T) {
	for _, v := range []struct {
		scheme         audience.Scheme
		input, country string
		form           string
	}{
		{MetaFirstName, "ŁUCJA", "", "łucja"},
		{MetaFirstName, "Z\u0301aneta", "", "źaneta"},
		{MetaFirstName, "Zo\u0308e\u0301", "", "zöé"},
		{MetaFirstName, "Anne Marie", "", "annemarie"},
		{MetaFirstName, "!?", "", ""},
		{MetaFirstName, "12", "", ""},
		{MetaFirstName, "John 2nd", "", "john2nd"},
		{MetaLastName, "Dąbrowska-Żak", "", "dąbrowskażak"},
		{MetaLastName, "GROẞ", "", "groß"},
		{MetaLastName, "Strauß", "", "strauß"},
		{MetaLastName, "Strauss", "", "strauss"},
		{MetaLastName, "Иванов", "", "иванов"},
		{MetaInitial, "Łukasz", "", "ł"},
		{MetaInitial, "2Pac", "", ""},
		{MetaInitial, "S\u0301wie\u0328tosława", "", "ś"},
		{MetaCity, "Kraków", "PL", "krakw"},
		{MetaCity, "Krako\u0301w", "PL", "krakw"}, // composed first: the accent must not leave its o behind
		{MetaCity, "Łódź", "PL", "d"},
		{MetaCity, "Gießen", "DE", "gieen"},
		{MetaCity, "São Paulo", "BR", "sopaulo"},
		{MetaCity, "東京", "JP", ""},
		{MetaState, "Śląskie", "PL", "lskie"},
		{MetaState, "New South Wales", "AU", "newsouthwales"},
		{MetaState, "Georgia", "GE", "georgia"}, // not the state
		{MetaState, "new york", "", "ny"},
		{MetaState, "D.C.", "US", "dc"},
		{MetaZip, "00-950", "PL", "00950"},
		{MetaZip, "00-950", "", "00950"},
		{MetaZip, "００－９５０", "PL", "00950"},
		{MetaZip, "30–059", "PL", "30059"},
		{MetaZip, "94035-1234", "", "94035"},
		{MetaZip, "12345-678", "BR", "12345678"},
		{MetaZip, "SW1A 2AA", "GB", "sw1a2aa"},
		{MetaZip, "〒", "JP", ""},
		{MetaZip, "-", "", ""},
		{MetaZip, "12.345", "", ""},
		{MetaCountry, "Poland", "", "pl"},
		{MetaCountry, "POL", "", "pl"},
		{MetaCountry, "GBR", "", "gb"},
		{MetaCountry, "uk", "", "gb"},
		{MetaCountry, "United Kingdom", "", "gb"},
		{MetaCountry, "South Korea", "", "kr"},
		{MetaCountry, "U.S.A.", "", "us"},
		{MetaCountry, "Polska", "", ""}, // English names only
		{MetaCountry, "EU", "", ""},
		{MetaCountry, "XX", "", ""},
		{MetaCountry, "150", "", ""},
		{MetaCountry, "Польша", "", ""},
		{MetaCountry, "SU", "", ""},
		{MetaCountry, "UN", "", ""},
		{MetaCountry, "Türkiye", "", "tr"},
		{MetaCountry, "Turkey", "", "tr"},
		{MetaCountry, "Côte d’Ivoire", "", "ci"},
		{MetaCountry, "Ivory Coast", "", "ci"},
		{MetaCountry, "Bosnia and Herzegovina", "", "ba"},
		{MetaCountry, "Saint Lucia", "", "lc"},
		{MetaCountry, "Hong Kong", "", "hk"},
		{MetaGender, " Woman ", "", "f"},
		{MetaGender, "BOY", "", "m"},
		{MetaGender, "kobieta", "", ""},
		{MetaBirthYear, "１９９０", "", "1990"},
		{MetaBirthYear, "1899", "", ""},
		{MetaBirthYear, "90", "", ""},
		{MetaBirthYear, "1990-05-09", "", "1990"},
		{MetaBirthMonth, "May", "", "05"},
		{MetaBirthMonth, "maj", "", ""},
		{MetaBirthMonth, "13", "", ""},
		{MetaBirthMonth, "0", "", ""},
		{MetaBirthDay, "０９", "", "09"},
		{MetaBirthDay, "32", "", ""},
		{MetaBirthDay, "09.05.1990", "", ""},

		{MetaEmail, "Jan.Kowalski+Promo@Example.PL", "", "jan.kowalski+promo@example.pl"},
		{MetaEmail, "\u00a0jan@example.pl\u2003", "", "jan@example.pl"},
		{MetaEmail, "łukasz@example.pl", "", ""},
		{MetaEmail, "jan@żółw.pl", "", ""},
		{MetaEmail, "jan@example", "", ""},
		{MetaEmail, "jan..k@example.pl", "", ""},
		{MetaEmail, "a@b@example.pl", "", ""},
		{TikTokEmailBasic, "ŁUKASZ@Example.pl", "", "łukasz@example.pl"},
		{TikTokEmailBasic, "jan\u00a0@example.pl", "", "jan@example.pl"},
		{TikTokEmailBasic, "jan@example", "", ""},
		{TikTokEmailBasic, "@example.pl", "", ""},
		{TikTokEmailStripPlus, "Łukasz+a+b@example.pl", "", "łukasz@example.pl"},
		{TikTokEmailLegacy, "Ł.U.+x@mail.example.pl", "", "łu@mail.example.pl"},
		{TikTokEmailLegacy, "...@example.pl", "", ""},

		{MetaPhone, "+４８ ６０１ １００ ２００", "", "48601100200"},
		{MetaPhone, "٠٠٤٨ ٦٠١ ١٠٠ ٢٠٠", "", "48601100200"},
		{MetaPhone, "601-100-200", "PL", "48601100200"},
		{MetaPhone, "(22) 555 01 23", "PL", "48225550123"},
		{MetaPhone, "\u202a+48 601 100 200\u202c", "", "48601100200"},
		{MetaPhone, "+48\u00a0601\u00a0100\u00a0200", "", "48601100200"},
		{MetaPhone, "030 901820", "DE", "4930901820"},
		{MetaPhone, "0049 (0)30 901820", "PL", "4930901820"}, // its own country, not the person's
		{MetaPhone, "601 100 200", "", ""},
		{MetaPhone, "+48 601 100 200 ext. 5", "", ""},
		{MetaPhone, "0800 FLOWERS", "GB", ""},
		{MetaPhone, "+0048601100200", "", ""},
		{MetaPhone, "+1234567890123456", "", ""},
		{TikTokPhone, "+４８ ６０１ １００ ２００", "", "+48601100200"},
		{TikTokPhone, "601-100-200", "PL", "+48601100200"},
		{TikTokPhone, "48601100200", "PL", "+48601100200"},
		{TikTokPhone, "15559876543", "", ""}, // Meta takes it as it is; with + it could be anybody's
		{TikTokPhone, "+1234567", "", ""},

		{MetaMADID, "{6D92078A-8246-4BA4-AE5B-76104861E7DC}", "", ""},
		{TikTokAAID, "384000008cf011bdb23e10b96e40000d", "", ""},
	} {
		t.Run(string(v.scheme)+" "+v.input+" "+v.country, func(t *testing.T) {
			form, reason := appendForm(nil, v.scheme, v.input, v.country)
			if v.form == "" {
				require.NotEmpty(t, reason, "%q", form)
				return
			}
			require.Empty(t, reason)
			require.Equal(t, v.form, string(form))
		})
	}
}

// TestCountries: whatever has a normal form is a code of two letters that has the same form itself, and a name of its own.
func TestCountries(t *testing.T) {
	codes := map[string]bool{}
	for name, code := range countryNames() {
		require.GreaterOrEqual(t, len(name), 4, "%s: shorter names would be read as codes", code)
		form, reason := appendCountry(nil, name)
		require.Empty(t, reason, name)
		require.Equal(t, code, string(form))
		require.Equal(t, code, countryOfCode(code))
		codes[code] = true
	}
	require.Len(t, codes, 250, "the 249 of ISO 3166-1, and Kosovo")
}
