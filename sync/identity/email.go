package identity

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The two tables say which lower-case bytes an e-mail may have: atoms of RFC 5322 before the @, labels after it.
var atomByte, labelByte = byteSet("!#$%&'*+-/=?^_`{|}~"), byteSet("-")

func byteSet(extra string) (set [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyz0123456789" + extra {
		set[c] = true
	}
	return set
}

// appendMetaEmail: trimmed, lower case, ASCII; dots and plus tags stay (sheet Meta 3.3).
func appendMetaEmail(dst []byte, v string) ([]byte, string) {
	start := len(dst)
	if !isASCII(v) {
		v = norm.NFC.String(v)
	}
	dst = appendLowerASCII(dst, strings.TrimSpace(v))
	if !isAddress(dst[start:]) {
		return dst, "is not an e-mail address Meta can match: ASCII, one @, a domain with a dot"
	}
	return dst, ""
}

// isAddress reports whether a is dot-separated atoms, an @ and a domain of at least two labels.
func isAddress(a []byte) bool {
	at := bytes.IndexByte(a, '@')
	return at > 0 && dotted(a[:at], &atomByte, false) >= 1 && dotted(a[at+1:], &labelByte, true) >= 2
}

// dotted counts the dot-separated parts of s: 0 when one of them is empty, has a byte that is not allowed, or, with inner
// set, begins or ends with a dash.
func dotted(s []byte, allowed *[256]bool, inner bool) int {
	parts, last := 1, byte('.')
	for _, c := range s {
		if c == '.' {
			parts++
			if last == '.' || (inner && last == '-') {
				return 0
			}
		} else if !allowed[c] || (inner && c == '-' && last == '.') {
			return 0
		}
		last = c
	}
	if last == '.' || (inner && last == '-') {
		return 0
	}
	return parts
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
	if at < 1 || bytes.IndexByte(form[at+1:], '@') >= 0 || bytes.IndexByte(form[at+1:], '.') < 0 || len(form) > 254 {
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
