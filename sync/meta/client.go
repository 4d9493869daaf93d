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
	account       string
	root          string // base URL and version
	version       string
	tokenFile     string
	appSecretFile string
	schemes       []audience.Scheme
	batchRows     int
	perSecond     float64
	http          *http.Client
	log           *slog.Logger

	creating sync.Mutex // one EnsureAudience at a time: two would not see each other's audience
	mu       sync.Mutex
	fresh    map[string]time.Time // audiences created here, by id, until they are freshFor old
	warned   string               // the version last warned about
}

var _ destination.Destination = (*Client)(nil)

// New makes a client. It opens no file and sends nothing; Check does.
func New(cfg Config, log *slog.Logger) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	version := cmp.Or(cfg.Version, "v26.0")
	return &Client{
		account:       cfg.Account,
		root:          strings.TrimRight(cmp.Or(cfg.BaseURL, "https://graph.facebook.com"), "/") + "/" + version,
		version:       version,
		tokenFile:     cfg.TokenFile,
		appSecretFile: cfg.AppSecretFile,
		schemes:       cfg.schemes(),
		batchRows:     cmp.Or(cfg.BatchRows, maxRows),
		perSecond:     cmp.Or(cfg.RequestsPerSecond, 20),
		http:          destination.NewHTTPClient(2 * time.Minute),
		log:           log.With("platform", "meta", "account", cfg.Account),
		fresh:         map[string]time.Time{},
	}, nil
}

// Schemes lists the identifiers the configured columns carry.
func (c *Client) Schemes() []audience.Scheme { return c.schemes }

// Limits are those of 2.9; Meta states none on bytes.
func (c *Client) Limits() destination.Limits {
	return destination.Limits{Rows: c.batchRows, Audiences: 500, RequestsPerSecond: c.perSecond}
}

// call sends one request to a node or edge and decodes what it says into out. The pace holds beside an error too.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body []byte, out any) (destination.Pace, error) {
	token, err := destination.ReadSecret("token_file", c.tokenFile)
	if err != nil {
		return destination.Pace{}, err
	}
	if query == nil {
		query = url.Values{}
	}
	if c.appSecretFile != "" {
		secret, err := destination.ReadSecret("app_secret_file", c.appSecretFile)
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
	return budget.pace(), decode(answer, budget, out)
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

// remember notes that an audience was created just now.
func (c *Client) remember(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh[id] = time.Now()
}

// isFresh reports whether an audience was created here moments ago.
func (c *Client) isFresh(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	created, ok := c.fresh[id]
	if ok && time.Since(created) > freshFor {
		delete(c.fresh, id)
		return false
	}
	return ok
}
