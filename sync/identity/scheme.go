package identity

import "github.com/kohorta/kohorta/internal/audience"

// The schemes there are. One field often serves several: equal digests under two schemes are still two identifiers,
// because a removal must send what was added, under the rule by which it was added.
const (
	MetaEmail      audience.Scheme = "meta:EMAIL"
	MetaPhone      audience.Scheme = "meta:PHONE" // digits without +
	MetaMADID      audience.Scheme = "meta:MADID" // in the clear
	MetaFirstName  audience.Scheme = "meta:FN"
	MetaLastName   audience.Scheme = "meta:LN"
	MetaInitial    audience.Scheme = "meta:FI" // first letter of the first name
	MetaCity       audience.Scheme = "meta:CT"
	MetaState      audience.Scheme = "meta:ST"
	MetaZip        audience.Scheme = "meta:ZIP"
	MetaCountry    audience.Scheme = "meta:COUNTRY"
	MetaGender     audience.Scheme = "meta:GEN"
	MetaBirthYear  audience.Scheme = "meta:DOBY"
	MetaBirthMonth audience.Scheme = "meta:DOBM"
	MetaBirthDay   audience.Scheme = "meta:DOBD"

	TikTokEmailBasic     audience.Scheme = "tiktok:EMAIL_SHA256:basic"      // no white space, lower case
	TikTokEmailStripPlus audience.Scheme = "tiktok:EMAIL_SHA256:strip_plus" // basic, without the +tag
	TikTokEmailLegacy    audience.Scheme = "tiktok:EMAIL_SHA256:legacy"     // strip_plus, without dots before the @
	TikTokPhone          audience.Scheme = "tiktok:PHONE_SHA256"            // E.164 with +
	TikTokIDFA           audience.Scheme = "tiktok:IDFA_SHA256"
	TikTokAAID           audience.Scheme = "tiktok:AAID_SHA256" // Google's advertising id, GAID in TikTok's file API
)
