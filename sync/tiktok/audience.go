package tiktok

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kohorta/kohorta/sync/destination"
)

// maxTitle is where the platform cuts names (2.1). In bytes it is safe whatever the platform counts.
const maxTitle = 70

// title is the name of an audience on the platform. It ends in the key, by which the audience is found again, and is the key
// alone where that begins with the name.
func title(spec destination.AudienceSpec) string {
	key := string(spec.Key)
	if strings.HasPrefix(key, spec.Name) {
		return key
	}
	name, suffix := spec.Name, " ["+key+"]"
	for len(name)+len(suffix) > maxTitle && name != "" {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return strings.TrimSpace(name + suffix)
}

// EnsureAudience finds the audience by its name among the advertiser's own segment audiences, or creates it.
func (c *Client) EnsureAudience(ctx context.Context, spec destination.AudienceSpec) (string, error) {
	c.creating.Lock()
	defer c.creating.Unlock()
	name := title(spec)
	id, err := c.find(ctx, name, typeSegment)
	if err != nil || id != "" {
		return id, err
	}
	return c.create(ctx, "segment/audience/", map[string]any{"advertiser_id": c.account, "action": "create", "custom_audience_name": name})
}

// Types of audience, as list and get name them (3.4).
const (
	typeSegment   = "Partner" // made by segment/audience/
	typeFile      = "Customer File Audience"
	typeLookalike = "Lookalike Audience"
)

// create makes an audience of any type; the segment endpoint names the new id otherwise than the others (0).
func (c *Client) create(ctx context.Context, path string, fields map[string]any) (string, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return "", err
	}
	var created struct {
		Segment string `json:"audience_id"`
		Custom  string `json:"custom_audience_id"`
	}
	said, err := c.call(ctx, http.MethodPost, path, nil, body, &created)
	if err != nil {
		return "", err
	}
	id := cmp.Or(created.Custom, created.Segment)
	if !idShape.MatchString(id) {
		return "", &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, RequestID: said.requestID,
			Err: errors.New("the answer has no id of the new audience")}
	}
	return id, nil
}

// find walks the list of audiences, 100 a page, and gives the id of the advertiser's own of a type with the name, or "".
func (c *Client) find(ctx context.Context, name, kind string) (string, error) {
	for page := 1; ; page++ {
		var data struct {
			List []struct {
				ID        string `json:"audience_id"`
				Name      string `json:"name"`
				Type      string `json:"audience_type"`
				Shared    bool   `json:"shared"`
				IsCreator bool   `json:"is_creator"`
			} `json:"list"`
			Info *struct {
				Pages int `json:"total_page"`
			} `json:"page_info"`
		}
		said, err := c.call(ctx, http.MethodGet, "dmp/custom_audience/list/", c.query(url.Values{"page": {strconv.Itoa(page)}, "page_size": {"100"}}), nil, &data)
		if err != nil {
			return "", err
		}
		if data.Info == nil {
			return "", &destination.Error{Kind: destination.Transient, Scope: destination.OfAccount, RequestID: said.requestID,
				Err: errors.New("the answer is no list of audiences")}
		}
		for _, a := range data.List {
			received := a.Shared && !a.IsCreator
			if a.Name == name && a.Type == kind && !received {
				return a.ID, nil
			}
		}
		if page >= data.Info.Pages {
			return "", nil
		}
	}
}

// query adds the advertiser to q.
func (c *Client) query(q url.Values) url.Values {
	q.Set("advertiser_id", c.account)
	return q
}

// DeleteAudience deletes for good.
func (c *Client) DeleteAudience(ctx context.Context, id string) error {
	body, err := json.Marshal(map[string]string{"advertiser_id": c.account, "action": "delete", "delete_audience_id": id})
	if err != nil {
		return err
	}
	var none json.RawMessage
	_, err = c.call(ctx, http.MethodPost, "segment/audience/", nil, body, &none)
	var e *destination.Error
	if errors.As(err, &e) && e.Kind == destination.Gone {
		return nil
	}
	return err
}

// Check asks who the token is and reads one audience of the advertiser, which takes scope 30. Scope 31 shows only when
// something is written.
func (c *Client) Check(ctx context.Context) error {
	var data json.RawMessage
	if _, err := c.call(ctx, http.MethodGet, "user/info/", nil, nil, &data); err != nil {
		return err
	}
	_, err := c.call(ctx, http.MethodGet, "dmp/custom_audience/list/", c.query(url.Values{"page": {"1"}, "page_size": {"1"}}), nil, &data)
	return err
}
