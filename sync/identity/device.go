package identity

import "strings"

// appendDevice: trimmed, lower case, hyphens kept; 8-4-4-4-12 hexadecimal digits, not all zero (sheets Meta 3.2, TikTok 6).
func appendDevice(dst []byte, v string) ([]byte, string) {
	const shape = "is not an advertising id of 8-4-4-4-12 hexadecimal digits"
	start := len(dst)
	dst = appendLowerASCII(dst, strings.TrimSpace(v))
	id := dst[start:]
	if len(id) != 36 {
		return dst, shape
	}
	zeros := true
	for i, c := range id {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return dst, shape
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return dst, shape
		case c != '0':
			zeros = false
		}
	}
	if zeros {
		return dst, "is the all-zero id of people who limit ad tracking"
	}
	return dst, ""
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
