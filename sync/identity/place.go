package identity

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
	"golang.org/x/text/unicode/norm"
)

// appendCity: a to z only; accented letters go, as the sheet decides (Meta 3.5).
func appendCity(dst []byte, v string) ([]byte, string) {
	start := len(dst)
	if dst = appendLetters(dst, v); len(dst) == start {
		return dst, "has no letter from a to z"
	}
	return dst, ""
}

// appendState: a to z only; names of US states become their two letters where the country is the US or unknown.
func appendState(dst []byte, v, country string) ([]byte, string) {
	start := len(dst)
	if dst = appendLetters(dst, v); len(dst) == start {
		return dst, "has no letter from a to z"
	}
	if code, ok := usStates[string(dst[start:])]; ok && (country == "US" || country == "") {
		return append(dst[:start], code...), ""
	}
	return dst, ""
}

// appendZip: lower case, no white space, no dash; of the US the first five digits.
func appendZip(dst []byte, v, country string) ([]byte, string) {
	zip := strings.ToLower(asciiDigits(norm.NFC.String(v)))
	zip = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		if unicode.Is(unicode.Pd, r) {
			return '-'
		}
		return r
	}, zip)
	if country == "US" || isZipPlus4(zip) {
		zip, _, _ = strings.Cut(zip, "-")
		zip = zip[:min(len(zip), 5)]
	}
	zip = strings.ReplaceAll(zip, "-", "")
	if zip == "" || strings.Trim(zip, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return dst, "has no digit or letter from a to z, or others besides"
	}
	return append(dst, zip...), ""
}

// isZipPlus4 reports whether zip is five digits, a dash and four digits.
func isZipPlus4(zip string) bool {
	if len(zip) != 10 || zip[5] != '-' {
		return false
	}
	for i := range len(zip) {
		if i != 5 && (zip[i] < '0' || zip[i] > '9') {
			return false
		}
	}
	return true
}

// appendCountry: ISO 3166-1 alpha-2 in lower case, of such a code, an alpha-3 code or an English name.
func appendCountry(dst []byte, v string) ([]byte, string) {
	letters := string(appendLetters(nil, v))
	code := countryNames()[letters]
	if len(letters) == 2 || len(letters) == 3 {
		code = countryOfCode(letters)
	}
	if code == "" {
		return dst, "is not a country: send its ISO 3166-1 code, such as \"de\""
	}
	return append(dst, code...), ""
}

// notAssigned are codes that Unicode's tables have as regions of their own, though ISO 3166-1 only reserves them, for
// parts of countries and for unions.
var notAssigned = []string{"ac", "cp", "dg", "ea", "ez", "ic", "ta", "un"}

// countryOfCode is the alpha-2 code, in lower case, of an alpha-2 or alpha-3 code, one of a country's former codes included;
// "" when it is none.
func countryOfCode(code string) string {
	region, err := language.ParseRegion(code)
	region = region.Canonicalize()
	code = strings.ToLower(region.String())
	if err != nil || !region.IsCountry() || slices.Contains(notAssigned, code) || englishName(region) == "" { // states that are no more have no name
		return ""
	}
	return code
}

// countryNames maps the letters of each country's English names to its code.
var countryNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{
		"unitedstatesofamerica": "us", "greatbritain": "gb", "czechrepublic": "cz", "trkiye": "tr", "hongkong": "hk", "macau": "mo",
		"macao": "mo", "myanmar": "mm", "burma": "mm", "ivorycoast": "ci", "capeverde": "cv", "swaziland": "sz", "easttimor": "tl",
		"palestine": "ps", "russianfederation": "ru", "republicofkorea": "kr", "holland": "nl",
	}
	written := strings.NewReplacer("&", "and", "St.", "Saint")
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			code := string([]rune{a, b})
			if countryOfCode(code) == code {
				region := language.MustParseRegion(code)
				names[englishName(region)] = code
				names[string(appendLetters(nil, written.Replace(display.English.Regions().Name(region))))] = code
			}
		}
	}
	return names
})

// englishName is the letters of a region's English name, "" where it has none.
func englishName(r language.Region) string {
	return string(appendLetters(nil, display.English.Regions().Name(r)))
}

// appendLetters appends the letters a to z of v in lower case and nothing else.
func appendLetters(dst []byte, v string) []byte {
	for _, r := range strings.ToLower(norm.NFC.String(v)) {
		if r >= 'a' && r <= 'z' {
			dst = append(dst, byte(r))
		}
	}
	return dst
}

// usStates maps the letters of the names of the states, the federal district and the territories to their codes.
var usStates = map[string]string{
	"alabama": "al", "alaska": "ak", "arizona": "az", "arkansas": "ar", "california": "ca", "colorado": "co",
	"connecticut": "ct", "delaware": "de", "florida": "fl", "georgia": "ga", "hawaii": "hi", "idaho": "id",
	"illinois": "il", "indiana": "in", "iowa": "ia", "kansas": "ks", "kentucky": "ky", "louisiana": "la", "maine": "me",
	"maryland": "md", "massachusetts": "ma", "michigan": "mi", "minnesota": "mn", "mississippi": "ms", "missouri": "mo",
	"montana": "mt", "nebraska": "ne", "nevada": "nv", "newhampshire": "nh", "newjersey": "nj", "newmexico": "nm",
	"newyork": "ny", "northcarolina": "nc", "northdakota": "nd", "ohio": "oh", "oklahoma": "ok", "oregon": "or",
	"pennsylvania": "pa", "rhodeisland": "ri", "southcarolina": "sc", "southdakota": "sd", "tennessee": "tn",
	"texas": "tx", "utah": "ut", "vermont": "vt", "virginia": "va", "washington": "wa", "westvirginia": "wv",
	"wisconsin": "wi", "wyoming": "wy", "districtofcolumbia": "dc", "americansamoa": "as", "guam": "gu",
	"northernmarianaislands": "mp", "puertorico": "pr", "virginislands": "vi",
}
