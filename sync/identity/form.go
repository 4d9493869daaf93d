package identity

import (
	"unicode/utf8"

	"github.com/kohorta/kohorta/internal/audience"
)

// appendForm appends the normal form of v under a scheme to dst, or gives the reason why v has none. Country is that of
// the person, alpha-2 in upper case, "" when unknown.
func appendForm(dst []byte, s audience.Scheme, v, country string) (form []byte, reason string) {
	if mode, ok := emailModeOf(s); ok && len(v) <= maxAddress {
		switch form, ok := appendAddress(dst, v); { // by far the most values; one pass says all about it
		case ok && mode == basic:
			return form, ""
		case ok:
			return applyMode(form, len(dst), mode)
		}
	}
	switch {
	case len(v) > maxInputBytes:
		return dst, "is longer than 512 bytes"
	case !utf8.ValidString(v):
		return dst, "is not valid UTF-8"
	}
	switch s {
	case MetaEmail:
		return appendMetaEmail(dst, v)
	case TikTokEmailBasic:
		return appendTikTokEmail(dst, v, basic)
	case TikTokEmailStripPlus:
		return appendTikTokEmail(dst, v, stripPlus)
	case TikTokEmailLegacy:
		return appendTikTokEmail(dst, v, legacy)
	case MetaPhone:
		return appendMetaPhone(dst, v, country)
	case TikTokPhone:
		return appendTikTokPhone(dst, v, country)
	case MetaMADID, TikTokIDFA, TikTokAAID:
		return appendDevice(dst, v)
	case MetaFirstName, MetaLastName:
		return appendName(dst, v)
	case MetaInitial:
		return appendInitial(dst, v)
	case MetaCity:
		return appendCity(dst, v)
	case MetaState:
		return appendState(dst, v, country)
	case MetaZip:
		return appendZip(dst, v, country)
	case MetaCountry:
		return appendCountry(dst, v)
	case MetaGender:
		return appendGender(dst, v)
	case MetaBirthYear:
		return appendBirthYear(dst, v)
	case MetaBirthMonth:
		return appendBirthMonth(dst, v)
	case MetaBirthDay:
		return appendBirthDay(dst, v)
	}
	return dst, "no such scheme"
}

// inClear reports whether a scheme's values are sent as they are.
func inClear(s audience.Scheme) bool { return s == MetaMADID }
