package sandbox

import "time"

// What the zero Config accepts.
const (
	DemoMetaAccount      = "1122334455"
	DemoMetaToken        = "EAASANDBOXDEMOTOKEN"
	DemoMetaAppSecret    = "5a4db0b05a4db0b05a4db0b05a4db0b0"
	DemoTikTokAdvertiser = "7000000000000000001"
	DemoTikTokToken      = "tiktok-sandbox-demo-token" //nolint:gosec // opens this stand-in and nothing else
	DemoTikTokAppID      = "7100000000000000001"
	DemoTikTokAppSecret  = "tiktok-sandbox-demo-secret" //nolint:gosec // likewise
)

// Config describes both platforms. The zero value is two platforms with one demo account each and the platforms' own
// quotas, delays and limits.
type Config struct {
	// Now is the clock everything follows. Nil means time.Now.
	Now func() time.Time
	// QuotasOff lets any number of requests through.
	QuotasOff bool
	Meta      MetaConfig
	TikTok    TikTokConfig
}

// MetaConfig describes the Meta side.
type MetaConfig struct {
	// Accounts are the ad accounts, digits only. Empty means DemoMetaAccount.
	Accounts []string
	// Tokens maps each access token to the accounts it has a role on. Empty means DemoMetaToken on all Accounts.
	Tokens map[string][]string
	// AppSecret keys the appsecret_proof. Empty means DemoMetaAppSecret.
	AppSecret string
	// ProofOptional lets calls without appsecret_proof through. A proof that is sent is checked in any case.
	ProofOptional bool
	// LimitedTier gives the small budgets of an app before review instead of the Full tier's.
	LimitedTier bool
	// SessionRequired refuses /users calls without session, as the guide words it; production takes them.
	SessionRequired bool
	// SamplesAsArray sends invalid_entry_samples as an array of reasons, the other form on record.
	SamplesAsArray bool
	// FreshMiss answers the first call on a new audience with 803, as if it had not spread yet.
	FreshMiss bool
	// AutoUpgrade serves calls on ended versions under the oldest living one, with a warning in a header, as for some apps,
	// instead of refusing them.
	AutoUpgrade bool
	// RemovalFloor refuses removals that would leave fewer rows (200/1870047). 0 means no floor.
	RemovalFloor int
	// VisibleAfter is how long a change takes to show in the counts. 0 means 24 hours.
	VisibleAfter time.Duration
	// ReplaceLimit is the size from which an audience takes no replace. 0 means 100,000,000.
	ReplaceLimit int
	// ReplaceTakes is how long a replace goes on after its last batch. 0 means one minute.
	ReplaceTakes time.Duration
	// MatchRate is the share of rows that are people of the platform. 0 means 1.
	MatchRate float64
}

// TikTokConfig describes the TikTok side.
type TikTokConfig struct {
	// Advertisers are the ad accounts, digits only. Empty means DemoTikTokAdvertiser.
	Advertisers []string
	// Tokens maps each access token to the advertisers that granted it. Empty means DemoTikTokToken on all Advertisers.
	Tokens map[string][]string
	// AppID and AppSecret identify the developer app. Empty means DemoTikTokAppID and DemoTikTokAppSecret.
	AppID, AppSecret string
	// QPS is the app's requests a second; a minute allows 60 times, a day 86,400 times as many. 0 means 10, the Basic level.
	QPS int
	// AdvertiserQPS is the requests a second of one advertiser. 0 means no limit of its own.
	AdvertiserQPS int
	// Universe names the kind (EMAIL, PHONE, IDFA, AAID) of known hashes; a known hash in another kind's slot is refused,
	// where the real service would take it in silence. Nil checks no kinds.
	Universe map[string]string
	// SmallFloorSync refuses an update that leaves fewer than 1,000 at once; otherwise it fails after processing.
	SmallFloorSync bool
	// VisibleAfter is how long a mapping takes to show in cover_num. 0 means 10 hours.
	VisibleAfter time.Duration
	// ProcessingFor is how long a file audience cannot be edited after a change. 0 means 48 hours.
	ProcessingFor time.Duration
	// FileLifetime is how long an uploaded file can be used. 0 means 24 hours.
	FileLifetime time.Duration
	// MaxFileBytes is the largest upload. 0 means 250,000,000; the older texts say 50,000,000.
	MaxFileBytes int
	// MatchRate is the share of ids that are users of the platform. 0 means 1.
	MatchRate float64
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Meta = c.Meta.withDefaults()
	c.TikTok = c.TikTok.withDefaults()
	return c
}

func (c MetaConfig) withDefaults() MetaConfig {
	if len(c.Accounts) == 0 {
		c.Accounts = []string{DemoMetaAccount}
	}
	if len(c.Tokens) == 0 {
		c.Tokens = map[string][]string{DemoMetaToken: c.Accounts}
	}
	setDefault(&c.AppSecret, DemoMetaAppSecret)
	setDefault(&c.VisibleAfter, 24*time.Hour)
	setDefault(&c.ReplaceLimit, 100_000_000)
	setDefault(&c.ReplaceTakes, time.Minute)
	setDefault(&c.MatchRate, 1)
	return c
}

func (c TikTokConfig) withDefaults() TikTokConfig {
	if len(c.Advertisers) == 0 {
		c.Advertisers = []string{DemoTikTokAdvertiser}
	}
	if len(c.Tokens) == 0 {
		c.Tokens = map[string][]string{DemoTikTokToken: c.Advertisers}
	}
	setDefault(&c.AppID, DemoTikTokAppID)
	setDefault(&c.AppSecret, DemoTikTokAppSecret)
	setDefault(&c.QPS, 10)
	setDefault(&c.VisibleAfter, 10*time.Hour)
	setDefault(&c.ProcessingFor, 48*time.Hour)
	setDefault(&c.FileLifetime, 24*time.Hour)
	setDefault(&c.MaxFileBytes, 250_000_000)
	setDefault(&c.MatchRate, 1)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
