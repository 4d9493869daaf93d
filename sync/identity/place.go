package identity

import (
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
	if zip == "" || !isASCII(zip) {
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
	const unknown = "is not a country: send its ISO 3166-1 code, such as \"de\""
	letters := string(appendLetters(nil, v))
	if len(letters) == 2 || len(letters) == 3 {
		region, err := language.ParseRegion(letters)
		if region = region.Canonicalize(); err != nil || !region.IsCountry() {
			return dst, unknown
		}
		return append(dst, strings.ToLower(region.String())...), ""
	}
	code, ok := countryNames()[letters]
	if !ok {
		return dst, unknown
	}
	return append(dst, code...), ""
}

// countryNames maps the letters of each country's English names to its code.
var countryNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{"unitedstatesofamerica": "us", "greatbritain": "gb", "czechrepublic": "cz", "turkey": "tr"}
	english := display.English.Regions()
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			region, err := language.ParseRegion(string([]rune{a, b}))
			if err == nil && region.IsCountry() && region.Canonicalize() == region {
				names[string(appendLetters(nil, english.Name(region)))] = strings.ToLower(region.String())
			}
		}
	}
	return names
})

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
