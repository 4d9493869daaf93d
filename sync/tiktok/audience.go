package tiktok

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kohorta/kohorta/sync/destination"
)

// maxTitle is where the platform cuts names (2.1). In bytes it is safe whatever the platform counts.
const maxTitle = 70

// title is the name of an audience on the platform. It ends in the key, by which the audience is found again.
func title(spec destination.AudienceSpec) string {
	key := string(spec.Key)
	if spec.Name == "" || spec.Name == key {
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
	id, err := c.find(ctx, name)
	if err != nil || id != "" {
		return id, err
	}
	body, err := json.Marshal(map[string]string{"advertiser_id": c.account, "action": "create", "custom_audience_name": name})
	if err != nil {
		return "", err
	}
	var created struct {
		ID string `json:"audience_id"`
	}
	said, err := c.call(ctx, http.MethodPost, "segment/audience/", nil, body, &created)
	if err != nil {
		return "", err
	}
	if !idShape.MatchString(created.ID) {
		return "", &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, RequestID: said.requestID,
			Err: errors.New("the answer has no id of the new audience")}
	}
	return created.ID, nil
}

// find walks the list of audiences, 100 a page, and gives the id of the segment audience with the name, or "".
func (c *Client) find(ctx context.Context, name string) (string, error) {
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
			if a.Name == name && a.Type == "Partner" && !received {
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

// details are what the platform tells of an audience (3.4).
type details struct {
	ID       string  `json:"audience_id"`
	Covered  int64   `json:"cover_num"`
	Valid    bool    `json:"is_valid"`
	Expiring bool    `json:"is_expiring"`
	Message  *string `json:"error_msg"`
	Created  string  `json:"create_time"`
	Expires  string  `json:"expired_time"`
}

// Audience reads an audience's state.
func (c *Client) Audience(ctx context.Context, id string) (destination.Status, error) {
	ids, err := json.Marshal([]string{id}) // arrays stand in one parameter, as JSON (1.3)
	if err != nil {
		return destination.Status{}, err
	}
	var data struct {
		List *[]struct {
			Details details `json:"audience_details"`
		} `json:"list"`
	}
	said, err := c.call(ctx, http.MethodGet, "dmp/custom_audience/get/", c.query(url.Values{"custom_audience_ids": {string(ids)}, "history_size": {"1"}}), nil, &data)
	if err != nil {
		return destination.Status{}, err
	}
	if data.List == nil {
		return destination.Status{}, &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, RequestID: said.requestID,
			Err: errors.New("the answer is about no audience")}
	}
	for _, a := range *data.List {
		if a.Details.ID == id {
			return statusOf(a.Details, time.Now()), nil
		}
	}
	return destination.Status{}, &destination.Error{Kind: destination.Gone, Scope: destination.OfAudience, RequestID: said.requestID,
		Remedy: verdicts[40007].remedy, Err: errors.New("TikTok lists no such audience")}
}

// statusOf is the derivation of 3.4. Members can be changed at any time but after the end.
func statusOf(d details, now time.Time) destination.Status {
	const slowest = 48 * time.Hour // until a new audience is usable
	s := destination.Status{Writable: true, Low: d.Covered, High: d.Covered}
	if d.Covered <= 0 {
		s.Low, s.High = -1, -1
	}
	var failure string
	if d.Message != nil {
		failure = destination.Clean(*d.Message)
	}
	created, err := time.Parse(time.DateTime, d.Created)
	young := err == nil && now.Sub(created) < slowest
	expires, err := time.Parse(time.DateTime, d.Expires)
	over := err == nil && now.After(expires)
	switch {
	case d.Valid && d.Expiring:
		s.State, s.Reason = destination.Expiring, "expires on "+expires.Format(time.DateOnly)
	case d.Valid:
		s.State = destination.Ready
	case young && failure == "":
		s.State, s.Reason = destination.Processing, "new audiences take up to 48 hours"
	case over:
		s.State, s.Writable, s.Reason = destination.Expired, false, "expired on "+expires.Format(time.DateOnly)
	case failure != "":
		s.State, s.Reason = destination.Blocked, failure
	default:
		s.State, s.Reason = destination.TooSmall, "fewer than 1000 matched users"
	}
	return s
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
