package identity

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kohorta/kohorta/internal/audience"
)

// maxAddress is the most bytes of an e-mail address (sheet TikTok 6; RFC 5321).
const maxAddress = 254

// appendMetaEmail: trimmed, lower case, ASCII; dots and plus tags stay (sheet Meta 3.3).
func appendMetaEmail(dst []byte, v string) ([]byte, string) {
	form, ok := appendAddress(dst, strings.TrimSpace(v))
	if !ok && !isASCII(v) { // what looks foreign may be ASCII once composed
		form, ok = appendAddress(dst, strings.TrimSpace(norm.NFC.String(v)))
	}
	if !ok {
		return dst, "is not an e-mail address Meta can match: ASCII, one @, a domain with a dot"
	}
	return form, ""
}

// addressLetters maps the letters and digits of an address to their lower case, all other bytes to 0.
var addressLetters = func() (lower [256]byte) {
	for c := range lower {
		switch {
		case 'A' <= c && c <= 'Z':
			lower[c] = byte(c) | 0x20
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			lower[c] = byte(c)
		}
	}
	return lower
}()

// appendAddress appends v in lower case and reports whether it is dot-separated atoms (RFC 5322), an @ and a domain of at
// least two labels. One pass with a table: this is the hottest loop of building a payload from raw e-mails.
func appendAddress(dst []byte, v string) ([]byte, bool) {
	start := len(dst)
	dst = slices.Grow(dst, len(v))[:start+len(v)]
	address := dst[start:][:len(v)]
	domain, dots, part := false, 0, 0 // part is where the atom or label at hand begins
	for i := range len(v) {
		c := v[i]
		if lower := addressLetters[c]; lower != 0 {
			address[i] = lower
			continue
		}
		address[i] = c
		switch {
		case c == '.' && i > part && (!domain || v[i-1] != '-'):
			dots, part = dots+1, i+1
		case c == '@' && i > part && !domain:
			domain, dots, part = true, 0, i+1
		case c == '-' && (!domain || i > part):
		case !domain && strings.IndexByte("!#$%&'*+/=?^_`{|}~", c) >= 0:
		default:
			return dst, false
		}
	}
	return dst, domain && dots > 0 && part < len(v) && v[len(v)-1] != '-'
}

// emailMode is which of TikTok's published rules applies (sheet TikTok 6).
type emailMode uint8

const (
	basic     emailMode = iota // white space removed, lower case
	stripPlus                  // basic, cut from the first + to the @
	legacy                     // stripPlus, dots before the @ removed
)

// emailModeOf is the mode that a scheme's form of a plain address is made by; false for schemes of other fields.
func emailModeOf(s audience.Scheme) (emailMode, bool) {
	switch s {
	case MetaEmail, TikTokEmailBasic:
		return basic, true
	case TikTokEmailStripPlus:
		return stripPlus, true
	case TikTokEmailLegacy:
		return legacy, true
	}
	return basic, false
}

// appendTikTokEmail applies one of TikTok's rules.
func appendTikTokEmail(dst []byte, v string, mode emailMode) ([]byte, string) {
	const notOne = "is not an e-mail address: one @, something before it, a domain with a dot, at most 254 bytes"
	start := len(dst)
	for _, r := range v {
		if !unicode.IsSpace(r) {
			dst = utf8.AppendRune(dst, unicode.ToLower(r))
		}
	}
	form := dst[start:]
	at := bytes.IndexByte(form, '@')
	if at < 1 || bytes.IndexByte(form[at+1:], '@') >= 0 || bytes.IndexByte(form[at+1:], '.') < 0 || len(form) > maxAddress {
		return dst, notOne
	}
	return applyMode(dst, start, mode)
}

// applyMode makes of the basic form at the end of dst, from start on, that of the mode.
func applyMode(dst []byte, start int, mode emailMode) ([]byte, string) {
	if mode == basic {
		return dst, ""
	}
	form := dst[start:]
	at := bytes.IndexByte(form, '@')
	local := form[:at]
	if plus := bytes.IndexByte(local, '+'); plus >= 0 {
		local = local[:plus]
	}
	if mode == legacy {
		kept := local[:0]
		for _, c := range local {
			if c != '.' {
				kept = append(kept, c)
			}
		}
		local = kept
	}
	if len(local) == 0 {
		return dst, "has nothing left before the @ without its tag and dots"
	}
	return append(dst[:start+len(local)], form[at:]...), ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
