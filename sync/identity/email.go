package identity

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
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

// appendAddress appends v in lower case and reports whether it is dot-separated atoms (RFC 5322), an @ and a domain of at
// least two labels. One pass: this is the hottest loop of building a payload from raw e-mails.
func appendAddress(dst []byte, v string) ([]byte, bool) {
	start := len(dst)
	dst = append(dst, v...)
	address := dst[start:]
	domain, dots, last := false, 0, byte('.') // last is '.' where a part begins
	for i, c := range address {
		if c-'A' < 26 {
			c |= 0x20
			address[i] = c
		}
		if c-'a' < 26 || c-'0' < 10 {
			last = c
			continue
		}
		switch {
		case c == '.' && last != '.' && (!domain || last != '-'):
			dots++
		case c == '@' && last != '.' && !domain:
			domain, dots, c = true, 0, '.'
		case c == '-' && (!domain || last != '.'):
		case !domain && strings.IndexByte("!#$%&'*+/=?^_`{|}~", c) >= 0:
		default:
			return dst, false
		}
		last = c
	}
	return dst, domain && dots > 0 && last != '.' && last != '-'
}

// emailMode is which of TikTok's published rules applies (sheet TikTok 6).
type emailMode uint8

const (
	basic     emailMode = iota // white space removed, lower case
	stripPlus                  // basic, cut from the first + to the @
	legacy                     // stripPlus, dots before the @ removed
)

// appendTikTokEmail applies one of TikTok's rules.
func appendTikTokEmail(dst []byte, v string, mode emailMode) ([]byte, string) {
	const notOne = "is not an e-mail address: one @, something before it, a domain with a dot, at most 254 bytes"
	start := len(dst)
	if isASCII(v) {
		dst = appendLowerASCII(dst, v)
		if bytes.ContainsAny(dst[start:], " \t\r\n\v\f") {
			dst = append(dst[:start], bytes.Join(bytes.Fields(dst[start:]), nil)...)
		}
	} else {
		for _, r := range v {
			if !unicode.IsSpace(r) {
				dst = utf8.AppendRune(dst, unicode.ToLower(r))
			}
		}
	}
	form := dst[start:]
	at := bytes.IndexByte(form, '@')
	if at < 1 || bytes.IndexByte(form[at+1:], '@') >= 0 || bytes.IndexByte(form[at+1:], '.') < 0 || len(form) > maxAddress {
		return dst, notOne
	}
	if mode == basic {
		return dst, ""
	}
	domain := form[at:]
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
	return append(dst[:start+len(local)], domain...), ""
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendLowerASCII appends s with A to Z in lower case.
func appendLowerASCII(dst []byte, s string) []byte {
	start := len(dst)
	dst = append(dst, s...)
	for i := start; i < len(dst); i++ {
		if c := dst[i]; c-'A' < 26 {
			dst[i] = c | 0x20
		}
	}
	return dst
}
