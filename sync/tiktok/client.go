package tiktok

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
)

// Client speaks for one advertiser. It is safe for concurrent use.
type Client struct {
	account   string
	root      string // base URL and version
	token     *destination.SecretFile
	schemes   []audience.Scheme
	batchRows int
	fileBytes int
	perSecond float64
	http      *http.Client
	uploads   *http.Client
	log       *slog.Logger
	now       func() time.Time

	creating sync.Mutex // one creation at a time: two would not see each other's audience
	limit    ladder     // of waits while the app is over its quota
}

var (
	_ destination.Destination = (*Client)(nil)
	_ destination.Bulk        = (*Client)(nil)
	_ destination.Lookalikes  = (*Client)(nil)
	_ destination.Renewable   = (*Client)(nil)
)

// New makes a client. It opens no file and sends nothing; Check does.
func New(cfg Config, log *slog.Logger) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	log = log.With("platform", "tiktok", "account", cfg.Account)
	c := &Client{
		account:   cfg.Account,
		root:      strings.TrimRight(cmp.Or(cfg.BaseURL, "https://business-api.tiktok.com"), "/") + "/open_api/v1.3/",
		token:     destination.NewSecretFile("token_file", cfg.TokenFile, log),
		schemes:   []audience.Scheme{emailModes[cfg.EmailMode], identity.TikTokPhone, identity.TikTokIDFA, identity.TikTokAAID},
		batchRows: min(cmp.Or(cfg.BatchRows, defaultRows), (maxBodyBytes-envelopeBytes)/rowBytes),
		perSecond: cmp.Or(cfg.RequestsPerSecond, 8),
		fileBytes: cmp.Or(cfg.FileBytes, fileBytes),
		http:      destination.NewHTTPClient(2 * time.Minute),
		uploads:   destination.NewHTTPClient(15 * time.Minute),
		log:       log,
		now:       cfg.Now,
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// Schemes lists the identifiers of the configured e-mail mode, then phones and device ids.
func (c *Client) Schemes() []audience.Scheme { return c.schemes }

// Secrets rises when the token has become another one.
func (c *Client) Secrets() uint64 { return c.token.Generation() }

// Limits are the safe ones of the sheet (10). The quota is the app's, whatever the advertiser (1.4).
func (c *Client) Limits() destination.Limits {
	return destination.Limits{Rows: c.batchRows, Bytes: maxBodyBytes, Audiences: maxAudiences, RequestsPerSecond: c.perSecond, AppRequestsPerSecond: c.perSecond,
		Files: destination.FileLimits{Bytes: c.fileBytes, PerCall: filesPerCall, Locked: slowest}}
}

// call sends one request with a JSON body, or none, and decodes the data of its answer into out. Paths end in a slash, or the
// platform does not know them. The request id holds beside an error too.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body []byte, out any) (said, error) {
	target := c.root + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return said{}, uncallable()
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.send(c.http, req, out)
}

func uncallable() error {
	return &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfAccount,
		Remedy: "correct base_url", Err: errors.New("base_url cannot be called")}
}

// send adds the token to a request, and reads the answer.
func (c *Client) send(client *http.Client, req *http.Request, out any) (said, error) {
	token, err := c.token.Read()
	if err != nil {
		return said{}, err
	}
	req.Header.Set("Access-Token", string(token))
	answer, err := destination.Send(client, req)
	if err != nil {
		return said{}, err
	}
	answer.Body = bytes.ReplaceAll(answer.Body, []byte(token), []byte("[token]"))
	s, err := decode(answer, out)
	if err != nil {
		return s, c.limit.note(c.token.Outdated(token, err), c.now())
	}
	c.limit.clear()
	return s, nil
}
