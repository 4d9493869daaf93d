package tiktok

import (
	"regexp"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/identity"
)

const (
	defaultRows  = 1000      // platform default of a large peer (2.2)
	maxRows      = 10_000    // the highest that any source states
	maxBodyBytes = 1_000_000 // 1 MB (2.2)
	maxAudiences = 400       // of an advertiser

	fileBytes    = 50_000_000     // of a file, valid under every reading of the sheet (3.1)
	maxFileBytes = 250_000_000    // the highest the API's own page states
	filesPerCall = 49             // fewer than 50 are recommended (3.2)
	slowest      = 48 * time.Hour // until what was created or changed is usable (3.4)
)

// Config is one advertiser.
type Config struct {
	// Account is the advertiser id, aadvid in the address of TikTok Ads Manager. Required.
	Account string `yaml:"account"`
	// TokenFile names the file that holds the access token. Required.
	TokenFile string `yaml:"token_file"`
	// BaseURL is where the API answers. "" means https://business-api.tiktok.com.
	// http:// is for a stand-in on this machine only.
	BaseURL string `yaml:"base_url"`
	// EmailMode is the rule by which e-mails are normalised before hashing: basic, strip_plus or legacy. "" means basic.
	// Removals send what was added, whatever the mode is now.
	EmailMode string `yaml:"email_mode"`
	// BatchRows is how many rows one request carries. 0 means 1000; at most 10 000, and never more than fit into 1 MB.
	BatchRows int `yaml:"batch_rows"`
	// RequestsPerSecond is the pace to start at. 0 means 8: four fifths of what the API grants a new app. The app's quota is
	// shared by all its advertisers.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	// FileBytes is how large a file of identifiers is. 0 means 50 000 000, which all of TikTok's texts allow.
	FileBytes int `yaml:"file_bytes"`
	// Now is the clock. Nil means time.Now.
	Now func() time.Time `yaml:"-"`
}

// idSchemas are the types of identifier a request can carry (2.2), by the scheme of the value. MD5 is left out: TikTok
// warns of mixing it with SHA-256.
var idSchemas = map[audience.Scheme]string{
	identity.TikTokEmailBasic:     "EMAIL_SHA256",
	identity.TikTokEmailStripPlus: "EMAIL_SHA256",
	identity.TikTokEmailLegacy:    "EMAIL_SHA256",
	identity.TikTokPhone:          "PHONE_SHA256",
	identity.TikTokIDFA:           "IDFA_SHA256",
	identity.TikTokAAID:           "AAID_SHA256",
}

var emailModes = map[string]audience.Scheme{
	"":           identity.TikTokEmailBasic,
	"basic":      identity.TikTokEmailBasic,
	"strip_plus": identity.TikTokEmailStripPlus,
	"legacy":     identity.TikTokEmailLegacy,
}

// ids are digits only: the platform casts them to int64 (1.1).
var idShape = regexp.MustCompile(`^[0-9]{1,20}$`)

// Validate says all that is wrong with the configuration.
func (c *Config) Validate() error {
	var v audience.Violations
	if !idShape.MatchString(c.Account) {
		v.Add("account", "%.40q is not an advertiser id; take the digits of aadvid from the address of TikTok Ads Manager", c.Account)
	}
	if c.TokenFile == "" {
		v.Add("token_file", "is empty; name the file that holds the access token")
	}
	if c.BaseURL != "" {
		audience.CheckURL(&v, "base_url", c.BaseURL, "https://business-api.tiktok.com")
	}
	if _, ok := emailModes[c.EmailMode]; !ok {
		v.Add("email_mode", "%.20q is not a mode; there are basic, strip_plus and legacy", c.EmailMode)
	}
	if c.BatchRows < 0 || c.BatchRows > maxRows {
		v.Add("batch_rows", "is %d; use 1 to %d, 0 means %d", c.BatchRows, maxRows, defaultRows)
	}
	if c.FileBytes < 0 || c.FileBytes > maxFileBytes || (c.FileBytes > 0 && c.FileBytes < 1000) {
		v.Add("file_bytes", "is %d; use 1000 to %d, 0 means %d", c.FileBytes, maxFileBytes, fileBytes)
	}
	if !(c.RequestsPerSecond >= 0 && c.RequestsPerSecond <= 50) {
		v.Add("requests_per_second", "is %g; use up to 50, 0 means 8", c.RequestsPerSecond)
	}
	return v.Err()
}
