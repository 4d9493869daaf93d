package sandbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
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
	case !known:
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

// tikTokError is a code other than 0, told in the envelope with HTTP status 200.
type tikTokError struct {
	code    int
	message string
	data    any
}

func (e *tikTokError) Error() string { return e.message }

func refusal(code int, format string, args ...any) error {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return &tikTokError{code: code, message: format}
}

// empty is the data of an answer that has none.
type empty struct{}

// envelope wraps data or the refusal err. The request id is the header X-TT-LOGID as well.
func (t *TikTok) envelope(data any, err error) reply {
	t.server.mu.Lock()
	t.requests++
	id := t.server.now().Format("20060102150405") + fmt.Sprintf("%014X", t.requests)
	t.server.mu.Unlock()
	body := struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Request string `json:"request_id"`
		Data    any    `json:"data,omitempty"`
	}{0, "OK", id, data}
	if refused := (*tikTokError)(nil); errors.As(err, &refused) {
		body.Code, body.Message, body.Data = refused.code, refused.message, refused.data
		if body.Data == nil {
			body.Data = empty{}
		}
	}
	rep := jsonReply(http.StatusOK, body)
	rep.header["X-Tt-Logid"] = []string{id}
	rep.code = body.Code
	return rep
}

// refuse answers a fault with the code it stands for.
func (t *TikTok) refuse(req *request) reply {
	f := req.fault
	code, message := cmp.Or(f.Code, 40002), cmp.Or(f.Message, "Refused on demand")
	switch f.Kind {
	case FaultLocalizedMessage:
		message = cmp.Or(f.Message, "请求参数错误")
	case FaultRateLimited:
		code, message = cmp.Or(f.Code, 40100), cmp.Or(f.Message, "Requests made too frequently. The app is temporarily restricted.")
	case FaultTokenRevoked:
		code, message = 40105, "Access token is incorrect or has been revoked."
	case FaultAudienceDeleted:
		code, message = 40007, "The audience does not exist."
	case FaultAudienceLocked:
		code, message = 40002, "The audience is not editable."
	}
	return t.envelope(nil, refusal(code, message))
}

// decodeBody reads a JSON body into v: known fields only, ids as strings.
func (c *tikTokCall) decodeBody(v any) error {
	if media, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); media != "application/json" {
		return refusal(40002, "Content-Type must be application/json")
	}
	err := decodeStrict(string(c.body), v)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return refusal(40002, "%s: Not a valid %s.", wrong.Field, wrong.Type.Kind())
	} else if err != nil {
		return refusal(40002, "Invalid JSON: %v", err)
	}
	return nil
}

// query reads the query of a GET; names are those it may have.
func (c *tikTokCall) query(names ...string) (url.Values, error) {
	q, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, refusal(40002, "The query string is malformed")
	}
	for name, values := range q {
		if !slices.Contains(names, name) {
			return nil, refusal(40002, "%s: Unknown field.", name)
		}
		if len(values) > 1 {
			return nil, refusal(40002, "%s: Sent more than once; arrays go in one parameter as JSON.", name)
		}
	}
	return q, nil
}

// required names the fields that are missing, in the words of the platform. It takes pairs of name and presence.
func required(fields ...requiredField) error {
	var missing []string
	for _, f := range fields {
		if !f.present {
			missing = append(missing, f.name)
		}
	}
	if missing == nil {
		return nil
	}
	return refusal(40002, "Missing required field(s): %s.", strings.Join(missing, ", "))
}

type requiredField struct {
	name    string
	present bool
}

// checkIDs wants ids of digits only.
func checkIDs(name string, ids ...string) error {
	for _, id := range ids {
		if id == "" || strings.Trim(id, "0123456789") != "" {
			return refusal(40002, "%s: Not a valid id, digits expected.", name)
		}
	}
	return nil
}
