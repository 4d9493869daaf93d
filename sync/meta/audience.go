package meta

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// mark is the description by which an audience is found again; names are not unique and people change them.
func mark(key audience.AudienceID) string { return "kohorta:" + string(key) }

// EnsureAudience finds the audience by its description, or creates it.
func (c *Client) EnsureAudience(ctx context.Context, spec destination.AudienceSpec) (string, error) {
	c.creating.Lock()
	defer c.creating.Unlock()
	id, err := c.find(ctx, func(a listed) bool { return a.Subtype == "CUSTOM" && a.Description == mark(spec.Key) })
	if err != nil || id != "" {
		return id, err
	}
	body, err := json.Marshal(map[string]any{
		"name": cmp.Or(spec.Name, string(spec.Key)), "description": mark(spec.Key),
		"subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY",
	})
	if err != nil {
		return "", err
	}
	var created struct {
		ID string `json:"id"`
	}
	if _, err := c.call(ctx, http.MethodPost, "act_"+c.account+"/customaudiences", nil, body, &created); err != nil {
		return "", err
	}
	if !accountShape.MatchString(created.ID) {
		return "", &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, Err: errors.New("the answer has no id of the new audience")}
	}
	c.remember(created.ID)
	return created.ID, nil
}

// listed is an audience as the list edge shows it.
type listed struct {
	ID          string `json:"id"`
	Description string `json:"description"`
	Subtype     string `json:"subtype"`
}

// find walks the account's audiences, 20 a page as 2.2 advises, and gives the id of the first that matches, or "".
func (c *Client) find(ctx context.Context, match func(listed) bool) (string, error) {
	const mostPages = 1000 // 20 000 audiences, more than all kinds together may be
	query := url.Values{"fields": {"id,description,subtype"}, "limit": {"20"}}
	for range mostPages {
		var page struct {
			Data   *[]listed `json:"data"`
			Paging struct {
				Next    string `json:"next"`
				Cursors struct {
					After string `json:"after"`
				} `json:"cursors"`
			} `json:"paging"`
		}
		if _, err := c.call(ctx, http.MethodGet, "act_"+c.account+"/customaudiences", query, nil, &page); err != nil {
			return "", err
		}
		if page.Data == nil {
			return "", &destination.Error{Kind: destination.Transient, Scope: destination.OfAccount, Err: errors.New("the answer is no list of audiences")}
		}
		for _, a := range *page.Data {
			if match(a) {
				return a.ID, nil
			}
		}
		if page.Paging.Next == "" {
			return "", nil
		}
		if after := page.Paging.Cursors.After; after == "" || after == query.Get("after") {
			break
		}
		query.Set("after", page.Paging.Cursors.After)
	}
	return "", &destination.Error{Kind: destination.Transient, Scope: destination.OfAccount, Err: errors.New("the list of audiences does not end")}
}

// code is a status as the API gives it.
type code struct {
	Code        int    `json:"code"`
	Description string `json:"description"`
}

// Audience reads an audience's size bounds and its two statuses.
func (c *Client) Audience(ctx context.Context, id string) (destination.Status, error) {
	var a struct {
		ID        string `json:"id"`
		Low       *int64 `json:"approximate_count_lower_bound"`
		High      *int64 `json:"approximate_count_upper_bound"`
		Operation code   `json:"operation_status"`
		Delivery  code   `json:"delivery_status"`
	}
	query := url.Values{"fields": {"id,approximate_count_lower_bound,approximate_count_upper_bound,operation_status,delivery_status"}}
	if _, err := c.call(ctx, http.MethodGet, url.PathEscape(id), query, nil, &a); err != nil {
		return destination.Status{}, c.aboutAudience(id, err)
	}
	if a.ID != id {
		return destination.Status{}, &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, Err: errors.New("the answer is about no audience, or another")}
	}
	status := statusOf(a.Operation, a.Delivery)
	status.Low, status.High = sizeOf(a.Low), sizeOf(a.High)
	return status, nil
}

func sizeOf(n *int64) int64 {
	if n == nil || *n < 0 {
		return -1
	}
	return *n
}

// statusOf puts the two status codes (2.8) into the words of the contract. What stops work outranks what is merely not
// usable in advertisements yet.
func statusOf(operation, delivery code) destination.Status {
	s := destination.Status{State: destination.Ready, Writable: true, Reason: destination.Clean(operation.Description)}
	switch operation.Code {
	case 100:
		s.State, s.Reason = destination.Expiring, "used by no active ad set for two years; Meta deletes it within 90 days"
	case 300, 414, 441:
		s.State, s.Writable = destination.Processing, false
	case 412, 470, 471, 500:
		s.State, s.Writable = destination.Blocked, false
	case 421, 422, 423, 431, 432, 433, 434, 442:
		s.State = destination.Blocked
	case 450:
		s.State = destination.Expired
	default:
		switch {
		case delivery.Code == 300:
			s.State, s.Reason = destination.TooSmall, destination.Clean(delivery.Description)
		case delivery.Code >= 400:
			s.State, s.Reason = destination.Blocked, destination.Clean(delivery.Description)
		case operation.Code == 200 || operation.Code == 0:
			s.Reason = ""
		}
	}
	return s
}

// DeleteAudience deletes for good. Where the API only says that it sees no such audience, the list decides whether it is gone.
func (c *Client) DeleteAudience(ctx context.Context, id string) error {
	var answer struct {
		Success bool `json:"success"`
	}
	_, err := c.call(ctx, http.MethodDelete, url.PathEscape(id), nil, nil, &answer)
	var e *destination.Error
	switch {
	case errors.As(err, &e) && e.Kind == destination.Gone:
		return nil
	case errors.As(err, &e) && (e.Code == "803" || e.Code == "100/33"):
		found, listErr := c.find(ctx, func(a listed) bool { return a.ID == id })
		if listErr == nil && found == "" {
			return nil
		}
		return cmp.Or(listErr, err)
	case err == nil && !answer.Success:
		return &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, Err: errors.New("the answer does not say that the audience was deleted")}
	}
	return err
}

// Check reads the account: the token must see it, and the terms of custom audiences must be accepted (2.7).
func (c *Client) Check(ctx context.Context) error {
	var a struct {
		Accepted map[string]json.RawMessage `json:"tos_accepted"`
	}
	if _, err := c.call(ctx, http.MethodGet, "act_"+c.account, url.Values{"fields": {"tos_accepted"}}, nil, &a); err != nil {
		return err
	}
	if accepted := string(a.Accepted["custom_audience_tos"]); accepted != "1" && accepted != "true" {
		return &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfAccount, Remedy: acceptTerms, Err: errors.New("the terms of custom audiences are not accepted")}
	}
	return nil
}
