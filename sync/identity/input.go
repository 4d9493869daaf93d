package identity

import "github.com/kohorta/kohorta/internal/audience"

// Field is a fact about a person that platforms can match, under the name callers use.
type Field string

// The fields there are.
const (
	Email      Field = "email"
	Phone      Field = "phone"
	FirstName  Field = "first_name"
	LastName   Field = "last_name"
	City       Field = "city"
	State      Field = "state" // or region: "California", "CA"
	Zip        Field = "zip"
	Country    Field = "country" // ISO 3166-1 alpha-2 or alpha-3, or the English name
	Gender     Field = "gender"
	BirthDate  Field = "birth_date" // YYYY-MM-DD; the same as the next three
	BirthYear  Field = "birth_year"
	BirthMonth Field = "birth_month" // 1 to 12, or the English name
	BirthDay   Field = "birth_day"
	IDFA       Field = "idfa"  // Apple's advertising id
	GAID       Field = "gaid"  // Google's advertising id
	MADID      Field = "madid" // an advertising id of unknown kind; only Meta can use it
)

// Fields are all fields, in the order above.
var Fields = []Field{Email, Phone, FirstName, LastName, City, State, Zip, Country, Gender,
	BirthDate, BirthYear, BirthMonth, BirthDay, IDFA, GAID, MADID}

// Input is one fact about a person.
type Input struct {
	Field Field
	Value Raw
	// Hashed says that Value is a SHA-256 in hex already, of the normal form of Scheme.
	Hashed bool
	// Scheme of a hashed value. Without one a hashed e-mail counts as trimmed and lower-cased, which serves MetaEmail and
	// TikTokEmailBasic; names, places and the like serve Meta, device ids TikTok. A hashed phone must name its scheme:
	// Meta hashes the digits without +, TikTok with it.
	Scheme audience.Scheme
}

// Dropped is a fact, or its use for some platforms, that was left out.
type Dropped struct {
	Input   int               // its place among the inputs
	Schemes []audience.Scheme // those that went without
	Reason  string            // without the value
}

// schemesOf lists what a field in the clear serves. E-mails stand in the order in which their normal forms are likely to
// be equal.
func schemesOf(f Field) []audience.Scheme {
	switch f {
	case Email:
		return []audience.Scheme{MetaEmail, TikTokEmailBasic, TikTokEmailStripPlus, TikTokEmailLegacy}
	case Phone:
		return []audience.Scheme{MetaPhone, TikTokPhone}
	case FirstName:
		return []audience.Scheme{MetaFirstName, MetaInitial}
	case LastName:
		return []audience.Scheme{MetaLastName}
	case City:
		return []audience.Scheme{MetaCity}
	case State:
		return []audience.Scheme{MetaState}
	case Zip:
		return []audience.Scheme{MetaZip}
	case Country:
		return []audience.Scheme{MetaCountry}
	case Gender:
		return []audience.Scheme{MetaGender}
	case BirthDate:
		return []audience.Scheme{MetaBirthYear, MetaBirthMonth, MetaBirthDay}
	case BirthYear:
		return []audience.Scheme{MetaBirthYear}
	case BirthMonth:
		return []audience.Scheme{MetaBirthMonth}
	case BirthDay:
		return []audience.Scheme{MetaBirthDay}
	case IDFA:
		return []audience.Scheme{MetaMADID, TikTokIDFA}
	case GAID:
		return []audience.Scheme{MetaMADID, TikTokAAID}
	case MADID:
		return []audience.Scheme{MetaMADID}
	}
	return nil
}

// hashedSchemesOf lists what a hashed value of a field serves when it names no scheme.
func hashedSchemesOf(f Field) []audience.Scheme {
	switch f {
	case Email:
		return []audience.Scheme{MetaEmail, TikTokEmailBasic}
	case FirstName:
		return []audience.Scheme{MetaFirstName}
	case IDFA:
		return []audience.Scheme{TikTokIDFA}
	case GAID:
		return []audience.Scheme{TikTokAAID}
	case Phone, BirthDate, MADID:
		return nil
	default:
		return schemesOf(f)
	}
}
