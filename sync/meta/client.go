package meta

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// freshFor is how long a new audience may still be unknown to the edges that need it (2.1: 803 on the first add).
const freshFor = 10 * time.Minute

// Client speaks for one ad account. It is safe for concurrent use.
type Client struct {
	account   string
	root      string // base URL and version
	version   string
	token     *destination.SecretFile
	appSecret *destination.SecretFile // nil: requests carry no proof
	schemes   []audience.Scheme
	batchRows int
	perSecond float64
	http      *http.Client
	log       *slog.Logger
	now       func() time.Time

	creating  sync.Mutex // one EnsureAudience or EnsureLookalike at a time: two would not see each other's audience
	mu        sync.Mutex
	fresh     map[string]time.Time // audiences created here, by id, until they are freshFor old
	replacing map[string]claim     // audiences being rebuilt by this client
	warned    string               // the version last warned about
	tier      string               // of access, as last told; "" while it is not known
}

var (
	_ destination.Destination = (*Client)(nil)
	_ destination.Replacer    = (*Client)(nil)
	_ destination.Eraser      = (*Client)(nil)
	_ destination.Lookalikes  = (*Client)(nil)
	_ destination.Renewable   = (*Client)(nil)
	_ destination.Foreseeing  = (*Client)(nil)
)

// New makes a client. It opens no file and sends nothing; Check does.
func New(cfg Config, log *slog.Logger) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	version := cmp.Or(cfg.Version, newest)
	log = log.With("platform", "meta", "account", cfg.Account)
	c := &Client{
		account:   cfg.Account,
		root:      strings.TrimRight(cmp.Or(cfg.BaseURL, "https://graph.facebook.com"), "/") + "/" + version,
		version:   version,
		token:     destination.NewSecretFile("token_file", cfg.TokenFile, log),
		schemes:   cfg.schemes(),
		batchRows: cmp.Or(cfg.BatchRows, maxRows),
		perSecond: cmp.Or(cfg.RequestsPerSecond, 20),
		http:      destination.NewHTTPClient(2 * time.Minute),
		log:       log,
		now:       cfg.Now,
		fresh:     map[string]time.Time{},
		replacing: map[string]claim{},
	}
	if c.now == nil {
		c.now = time.Now
	}
	if cfg.AppSecretFile != "" {
		c.appSecret = destination.NewSecretFile("app_secret_file", cfg.AppSecretFile, log)
	}
	return c, nil
}

// Schemes lists the identifiers the configured columns carry.
func (c *Client) Schemes() []audience.Scheme { return c.schemes }

// Secrets rises when the token or the app's secret has become another one.
func (c *Client) Secrets() uint64 {
	generation := c.token.Generation()
	if c.appSecret != nil {
		generation += c.appSecret.Generation()
	}
	return generation
}

// Limits are those of 2.9; Meta states none on bytes.
func (c *Client) Limits() destination.Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return destination.Limits{Rows: c.batchRows, Audiences: 500, RequestsPerSecond: c.perSecond, Budget: budgetOf(c.tier),
		Replace: destination.ReplaceLimits{Rows: replaceRows, Within: replaceTime}}
}

// call sends one request to a node or edge and decodes what it says into out. The pace holds beside an error too.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body []byte, out any) (destination.Pace, error) {
	token, err := c.token.Read()
	if err != nil {
		return destination.Pace{}, err
	}
	if query == nil {
		query = url.Values{}
	}
	if c.appSecret != nil {
		secret, err := c.appSecret.Read()
		if err != nil {
			return destination.Pace{}, err
		}
		query.Set("appsecret_proof", proof(token, secret))
	}
	target := c.root + "/" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return destination.Pace{}, &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfAccount,
			Remedy: "correct base_url", Err: fmt.Errorf("base_url cannot be called")}
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	answer, err := destination.Send(c.http, req)
	if err != nil {
		return destination.Pace{}, err
	}
	answer.Body = bytes.ReplaceAll(answer.Body, []byte(token), []byte("[token]"))
	c.watchVersion(answer.Header)
	budget := readBudget(answer.Header, c.account)
	c.watchTier(budget)
	return budget.pace(), c.token.Outdated(token, decode(answer, budget, out))
}

// proof is the plain appsecret_proof (1.2): the HMAC-SHA256 of the token under the app's secret.
func proof(token, secret destination.Secret) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(token))
	return hex.EncodeToString(mac.Sum(nil))
}

// watchVersion warns, once for each version, when the API answers under another than asked for, or will soon (1.1).
func (c *Client) watchVersion(h http.Header) {
	used, warned := h.Get("facebook-api-version"), h.Get("X-Ad-Api-Version-Warning") != ""
	if !warned && (used == "" || used == c.version) {
		return
	}
	if !versionShape.MatchString(used) {
		used = "not told"
	}
	c.mu.Lock()
	known := c.warned == used
	c.warned = used
	c.mu.Unlock()
	if !known {
		c.log.Warn("api version is not the one asked for, or ends soon; raise it in the configuration", "asked", c.version, "used", used)
	}
}

// watchTier notes the tier that an answer tells.
func (c *Client) watchTier(b budget) {
	if b.tier == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tier = b.tier
}

// remember notes that an audience was created just now.
func (c *Client) remember(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh[id] = c.now()
}

// isFresh reports whether an audience was created here moments ago.
func (c *Client) isFresh(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	created, ok := c.fresh[id]
	if ok && c.now().Sub(created) > freshFor {
		delete(c.fresh, id)
		return false
	}
	return ok
}
