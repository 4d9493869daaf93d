package audience

import "time"

// Scheme names a platform, its kind of identifier and the normal form behind the hash: "meta:EMAIL", "meta:MADID",
// "tiktok:EMAIL_SHA256:basic". The schemes that exist are listed in sync/identity.
type Scheme string

// Identifier is one value by which a platform can match a user: for hashed schemes the 32 raw bytes of the SHA-256,
// for the others the clear value the platform asks for (a device id). Never a raw e-mail or phone.
type Identifier struct {
	Scheme Scheme
	Value  string
}

// Profile is the latest known state of a user beside events.
type Profile struct {
	User        UserID
	Country     string             // ISO 3166-1 alpha-2, upper case; "" when unknown
	Texts       map[string]string  // attributes: attr["plan"]
	Numbers     map[string]float64 // attributes: attr["age"]
	Identifiers []Identifier       // sorted by scheme, then value; no repeats
}

// Validate says all that is wrong with the profile.
func (p *Profile) Validate() error {
	var v Violations
	v.Merge("", p.User.Validate())
	if p.Country != "" && !isCountry(p.Country) {
		v.Add("country", "%.8q is not an ISO 3166-1 alpha-2 code such as \"DE\"", p.Country)
	}
	validProperties(&v, "attributes", p.Texts, p.Numbers)
	return v.Err()
}

func isCountry(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

// Consent is what a user has decided for one purpose at one destination. Nothing is sent without a granted one.
type Consent struct {
	User        UserID
	Purpose     string        // e.g. "advertising"
	Destination DestinationID // "" means every destination; a decision on one destination outranks it
	Granted     bool
	Time        time.Time // of the decision; the latest stands
}

// ProfileUpdate changes what it names and leaves the rest of the user's profile as it is.
type ProfileUpdate struct {
	User               UserID
	Country            *string // nil: stays; "": unknown from now on
	Texts              map[string]string
	Numbers            map[string]float64 // an attribute is a text or a number: setting one kind removes the other
	RemovedAttributes  []string           // applied before Texts and Numbers
	Identifiers        []Identifier       // replace those of the same schemes
	ReplaceIdentifiers bool               // Identifiers are all there are from now on; none removes all
}

// Validate says all that is wrong with the update.
func (u *ProfileUpdate) Validate() error {
	var v Violations
	v.Merge("", u.User.Validate())
	if u.Country != nil && *u.Country != "" && !isCountry(*u.Country) {
		v.Add("country", "%.8q is not an ISO 3166-1 alpha-2 code such as \"DE\"", *u.Country)
	}
	validProperties(&v, "attributes", u.Texts, u.Numbers)
	return v.Err()
}

// DefaultPurpose is the purpose of audiences that name none.
const DefaultPurpose = "advertising"

// MaxPurposeBytes bounds the name of a purpose.
const MaxPurposeBytes = 64

// Validate says all that is wrong with the consent.
func (c *Consent) Validate() error {
	var v Violations
	v.Merge("", c.User.Validate())
	v.Merge("", validText("purpose", c.Purpose, MaxPurposeBytes))
	if c.Destination != "" {
		v.Merge("", ValidSlug("destination", string(c.Destination)))
	}
	if c.Time.Before(EarliestEvent) || !c.Time.Before(LatestEvent) {
		v.Add("time", "is outside 1970 to 2099; send the UTC time at which the user said so")
	}
	return v.Err()
}
