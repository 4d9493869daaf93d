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
	fields := map[string]any{
		"name": cmp.Or(spec.Name, string(spec.Key)), "description": mark(spec.Key),
		"subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY",
	}
	if spec.ValueBased {
		fields["is_value_based"] = true
	}
	if id, err = c.create(ctx, fields); spec.ValueBased {
		err = ofValueTerms(err)
	}
	return id, err
}

// ofValueTerms has an error about terms say that those of value-based audiences are meant. Other audiences of the account go on.
func ofValueTerms(err error) error {
	var e *destination.Error
	if errors.As(err, &e) && e.Remedy == acceptTerms {
		e.Scope, e.Remedy = destination.OfAudience, acceptValues
	}
	return err
}

// create makes an audience of either kind.
func (c *Client) create(ctx context.Context, fields map[string]any) (string, error) {
	body, err := json.Marshal(fields)
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
	ID          string        `json:"id"`
	Description string        `json:"description"`
	Subtype     string        `json:"subtype"`
	Lookalike   lookalikeSpec `json:"lookalike_spec"`
}

// find walks the account's audiences, 20 a page as 2.2 advises, and gives the id of the first that matches, or "".
func (c *Client) find(ctx context.Context, match func(listed) bool) (string, error) {
	const mostPages = 1000 // 20 000 audiences, more than all kinds together may be
	query := url.Values{"fields": {"id,description,subtype,lookalike_spec"}, "limit": {"20"}}
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

// DeleteAudience deletes for good.
func (c *Client) DeleteAudience(ctx context.Context, id string) error {
	var answer struct {
		Success bool `json:"success"`
	}
	_, err := c.call(ctx, http.MethodDelete, url.PathEscape(id), nil, nil, &answer)
	err = c.goneOr(ctx, id, err)
	var e *destination.Error
	switch {
	case errors.As(err, &e) && e.Kind == destination.Gone:
		return nil
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
