package meta

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/identity"
)

// maxRows is the most rows one request may carry (2.9).
const maxRows = 10_000

// Config is one ad account.
type Config struct {
	// Account is the number of the ad account, without act_. Required.
	Account string `yaml:"account"`
	// TokenFile names the file that holds the access token. Required.
	TokenFile string `yaml:"token_file"`
	// AppSecretFile names the file that holds the app's secret; with it each request carries a proof. "" sends none.
	AppSecretFile string `yaml:"app_secret_file"`
	// BaseURL is where the Graph API answers. "" means https://graph.facebook.com.
	// http:// is for a stand-in on this machine only.
	BaseURL string `yaml:"base_url"`
	// Version of the API. "" means v26.0.
	Version string `yaml:"api_version"`
	// Columns are the keys to send, such as EMAIL or ZIP. Empty means EMAIL, PHONE and MADID, each of which finds a person by
	// itself; the others only improve the match, and tell Meta more about people.
	Columns []string `yaml:"columns"`
	// BatchRows is how many rows one request carries. 0 means 10 000, the most the API takes.
	BatchRows int `yaml:"batch_rows"`
	// RequestsPerSecond is the pace to start at. 0 means 20; the API takes 100.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	// Now is the clock. Nil means time.Now.
	Now func() time.Time `yaml:"-"`
}

// columns are the keys Meta takes, with the scheme of each, in our order of preference: first those that find a person.
var columns = []struct {
	name   string
	scheme audience.Scheme
}{
	{"EMAIL", identity.MetaEmail}, {"PHONE", identity.MetaPhone}, {"MADID", identity.MetaMADID},
	{"LN", identity.MetaLastName}, {"FN", identity.MetaFirstName}, {"FI", identity.MetaInitial},
	{"ZIP", identity.MetaZip}, {"CT", identity.MetaCity}, {"ST", identity.MetaState}, {"COUNTRY", identity.MetaCountry},
	{"DOBY", identity.MetaBirthYear}, {"DOBM", identity.MetaBirthMonth}, {"DOBD", identity.MetaBirthDay},
	{"GEN", identity.MetaGender},
}

// findsAlone reports whether an identifier of the scheme finds a person by itself. The others only improve the match.
func findsAlone(s audience.Scheme) bool {
	return s == identity.MetaEmail || s == identity.MetaPhone || s == identity.MetaMADID
}

// columnOf is the key of a scheme, "" when Meta has none for it.
func columnOf(s audience.Scheme) string {
	for _, c := range columns {
		if c.scheme == s {
			return c.name
		}
	}
	return ""
}

var (
	accountShape = regexp.MustCompile(`^[0-9]{1,20}$`)
	versionShape = regexp.MustCompile(`^v[0-9]{1,3}\.[0-9]{1,2}$`)
)

// Validate says all that is wrong with the configuration.
func (c *Config) Validate() error {
	var v audience.Violations
	if !accountShape.MatchString(c.Account) {
		v.Add("account", "%.40q is not the number of an ad account; take the digits after act_", c.Account)
	}
	if c.TokenFile == "" {
		v.Add("token_file", "is empty; name the file that holds the access token")
	}
	if c.BaseURL != "" {
		audience.CheckURL(&v, "base_url", c.BaseURL, "https://graph.facebook.com")
	}
	if c.Version != "" && !versionShape.MatchString(c.Version) {
		v.Add("api_version", "%.20q is not a version such as v26.0", c.Version)
	}
	for i, name := range c.Columns {
		switch {
		case schemeOf(name) == "":
			v.Add("columns", "%.20q is not a key of Meta's; use %s", name, columnNames())
		case slices.Contains(c.Columns[:i], name):
			v.Add("columns", "names %s twice", name)
		}
	}
	if len(c.Columns) > 0 && !slices.ContainsFunc(c.schemes(), findsAlone) {
		v.Add("columns", "has none of EMAIL, PHONE and MADID; a person is found only by one of them")
	}
	if c.BatchRows < 0 || c.BatchRows > maxRows {
		v.Add("batch_rows", "is %d; use 1 to %d, 0 means %d", c.BatchRows, maxRows, maxRows)
	}
	if !(c.RequestsPerSecond >= 0 && c.RequestsPerSecond <= 100) {
		v.Add("requests_per_second", "is %g; use up to 100, 0 means 20", c.RequestsPerSecond)
	}
	return v.Err()
}

// schemes are those of the columns, in order of preference.
func (c *Config) schemes() (schemes []audience.Scheme) {
	for _, column := range columns {
		if slices.Contains(c.Columns, column.name) || (len(c.Columns) == 0 && findsAlone(column.scheme)) {
			schemes = append(schemes, column.scheme)
		}
	}
	return schemes
}

func schemeOf(name string) audience.Scheme {
	for _, c := range columns {
		if c.name == name {
			return c.scheme
		}
	}
	return ""
}

func columnNames() string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}
