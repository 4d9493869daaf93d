package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// TikTok stands in for the Business API of TikTok, v1.3.
type TikTok struct {
	server    *Server // its mu guards the rest
	audiences map[string]*tikTokAudience
	files     map[string]*tikTokFile
	quota     tikTokQuota
	created   int64 // objects made so far
	requests  int64
}

func (t *TikTok) reset() {
	t.audiences, t.files = map[string]*tikTokAudience{}, map[string]*tikTokFile{}
	t.quota = newTikTokQuota(t.server.cfg.TikTok)
	t.created, t.requests = 0, 0
}

// tikTokCall is a request on its way through a handler.
type tikTokCall struct {
	*request
	cfg     TikTokConfig
	now     time.Time
	granted []string // advertisers the token may act for
}

// tikTokRoute is one endpoint. read checks what the request says by itself, without the lock, and returns what acts on
// state, which runs under it.
type tikTokRoute struct {
	method string
	read   func(*tikTokCall) (tikTokAct, error)
}

// tikTokAct checks ownership, limits and state, applies the request and returns the envelope's data.
type tikTokAct func(*TikTok) (any, error)

var tikTokRoutes = map[string]tikTokRoute{
	"segment/audience/":                     {http.MethodPost, readSegmentAudience},
	"segment/mapping/":                      {http.MethodPost, readMapping},
	"dmp/custom_audience/list/":             {http.MethodGet, readList},
	"dmp/custom_audience/get/":              {http.MethodGet, readGet},
	"dmp/custom_audience/delete/":           {http.MethodPost, readDelete},
	"dmp/custom_audience/file/upload/":      {http.MethodPost, readUpload},
	"dmp/custom_audience/create/":           {http.MethodPost, readFileCreate},
	"dmp/custom_audience/update/":           {http.MethodPost, readFileUpdate},
	"dmp/custom_audience/lookalike/create/": {http.MethodPost, readLookalikeCreate},
	"user/info/":                            {http.MethodGet, readUserInfo},
	"oauth2/advertiser/get/":                {http.MethodGet, readAdvertisers},
}

func (t *TikTok) answer(req *request) reply {
	version, path, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/open_api/"), "/")
	if version != "v1.3" {
		return t.envelope(nil, refusal(40006, "The API version is wrong: "+version))
	}
	route, known := tikTokRoutes[path]
	switch {
	case !known: // a missing final slash included
		return textReply(http.StatusNotFound, "text/plain", "404 page not found")
	case route.method != req.Method:
		return textReply(http.StatusMethodNotAllowed, "text/plain", "405 method not allowed")
	}
	call := &tikTokCall{request: req, cfg: t.server.cfg.TikTok}
	if err := t.admit(call); err != nil {
		return t.envelope(nil, err)
	}
	act, err := route.read(call)
	if err != nil {
		return t.envelope(nil, err)
	}
	t.server.mu.Lock()
	data, err := act(t)
	t.server.mu.Unlock()
	return t.envelope(data, err)
}

// admit checks token and app quota.
func (t *TikTok) admit(c *tikTokCall) error {
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	c.now = t.server.now()
	token := c.Header.Get("Access-Token")
	granted, known := c.cfg.Tokens[token]
	switch {
	case token == "":
		return refusal(40104, "Access token is null, you should set it in http header with key Access-Token.")
	case !known || t.server.revoked[token]:
		return refusal(40105, "Access token is incorrect or has been revoked.")
	case !t.quota.takeApp(c.now) && t.server.quotas:
		return refusal(40100, "Requests made too frequently. The app is temporarily restricted.")
	}
	c.granted = granted
	return nil
}

// own checks that the token may act for an advertiser and that the advertiser has quota left. It needs mu.
func (t *TikTok) own(c *tikTokCall, advertiser string) error {
	if !slices.Contains(c.granted, advertiser) {
		path := strings.TrimPrefix(c.URL.Path, "/open_api/v1.3")
		return refusal(40001, fmt.Sprintf("The advertiser does not grant you %s:%s permission", path, c.Method))
	}
	if limit := c.cfg.AdvertiserQPS; limit > 0 && !t.quota.takeAdvertiser(c.now, advertiser, limit) && t.server.quotas {
		return refusal(40133, fmt.Sprintf("The QPS of advertiser exceeds its limit: current %d, allowed %d", limit+1, limit))
	}
	return nil
}
