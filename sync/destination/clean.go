package destination

import (
	"regexp"
	"strings"
	"unicode"
)

const maxTextRunes = 300

// personal matches what may be an e-mail, a phone, a device id, a digest or a token.
var personal = regexp.MustCompile(`[^\s"'<>,;()\[\]{}]+@[^\s"'<>,;()\[\]{}]+` +
	`|[A-Za-z0-9_-]{24,}` +
	`|\+?[0-9][0-9 ()./-]{5,}[0-9]`)

// Clean makes the words of a platform fit for logs, errors and the ledger: values it may have echoed are replaced, control
// characters go, the length is bounded. Ids of 16 to 20 digits, as platforms give to audiences, stay.
func Clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = personal.ReplaceAllStringFunc(text, func(match string) string {
		if digits := strings.Trim(match, "0123456789"); digits == "" && len(match) >= 16 && len(match) <= 20 {
			return match
		}
		if strings.ContainsAny(match, "@0123456789") {
			return "[value]"
		}
		return match
	})
	if runes := []rune(text); len(runes) > maxTextRunes {
		text = string(runes[:maxTextRunes]) + "…"
	}
	return strings.TrimSpace(text)
}
