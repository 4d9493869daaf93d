package meta

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kohorta/kohorta/sync/destination"
)

// Codes of operation_status that decide more than words (2.8).
const (
	normal         = 200
	replaceRunning = 414
	replaceFailed  = 415
	flagged        = 471
)

// details are what the API tells of an audience (2.2).
type details struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Subtype    string        `json:"subtype"`
	ValueBased bool          `json:"is_value_based"`
	Low        *int64        `json:"approximate_count_lower_bound"`
	High       *int64        `json:"approximate_count_upper_bound"`
	Operation  code          `json:"operation_status"`
	Delivery   code          `json:"delivery_status"`
	DeleteTime int64         `json:"delete_time"` // seconds since 1970; 0 when it will stay
	Violating  words         `json:"fields_violating_integrity_policy"`
	Lookalike  lookalikeSpec `json:"lookalike_spec"`
}

// detailFields are those of details.
const detailFields = "id,name,subtype,is_value_based,approximate_count_lower_bound,approximate_count_upper_bound," +
	"operation_status,delivery_status,delete_time,fields_violating_integrity_policy,lookalike_spec"

// code is a status as the API gives it.
type code struct {
	Code        int    `json:"code"`
	Description string `json:"description"`
}

// words is a list of texts; anything else the API may send there is none.
type words []string

// UnmarshalJSON never fails: what it cannot read must not hide the rest of an answer.
func (w *words) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, (*[]string)(w)) != nil {
		*w = nil
	}
	return nil
}

// read reads an audience.
func (c *Client) read(ctx context.Context, id string) (details, error) {
	var a details
	if _, err := c.call(ctx, http.MethodGet, url.PathEscape(id), url.Values{"fields": {detailFields}}, nil, &a); err != nil {
		return details{}, c.goneOr(ctx, id, c.aboutAudience(id, err))
	}
	if a.ID != id {
		return details{}, &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, Err: errors.New("the answer is about no audience, or another")}
	}
	return a, nil
}

// goneOr is err, or that the audience is gone: where the API only says that it sees no such audience, which it also says to who
// has no role on the account, the account's list decides.
func (c *Client) goneOr(ctx context.Context, id string, err error) error {
	var e *destination.Error
	if !errors.As(err, &e) || e.Kind != destination.Misconfigured || e.Code != "803" && e.Code != "100/33" {
		return err
	}
	found, listErr := c.find(ctx, func(a listed) bool { return a.ID == id })
	switch {
	case listErr != nil:
		return listErr
	case found != "":
		return err
	}
	e.Kind, e.Remedy = destination.Gone, deleted
	return err
}

// Audience reads an audience's size bounds and its two statuses.
func (c *Client) Audience(ctx context.Context, id string) (destination.Status, error) {
	a, err := c.read(ctx, id)
	if err != nil {
		return destination.Status{}, err
	}
	return statusOf(a), nil
}

func sizeOf(n *int64) int64 {
	if n == nil || *n < 0 {
		return -1
	}
	return *n
}

// statusOf puts the two status codes (2.8) into the words of the contract. What stops work outranks what is merely not
// usable in advertisements yet.
func statusOf(a details) destination.Status {
	s := destination.Status{State: destination.Ready, Writable: true, Low: sizeOf(a.Low), High: sizeOf(a.High),
		Reason: destination.Clean(a.Operation.Description)}
	switch a.Operation.Code {
	case 100:
		s.State, s.Remedy = destination.Expiring, "use the audience in an active ad set to keep it"
		s.Reason = "used by no active ad set for two years; Meta deletes it within 90 days"
		if a.DeleteTime > 0 {
			s.Reason = "used by no active ad set for two years; Meta deletes it on " + time.Unix(a.DeleteTime, 0).UTC().Format(time.DateOnly)
		}
	case 300, replaceRunning, 441:
		s.State, s.Writable = destination.Processing, false
	case replaceFailed:
		s.Remedy = "a replace failed: have the audience replaced or sent in full again"
	case 412:
		s.State, s.Writable, s.Remedy = destination.Blocked, false, "most rows were invalid: check how identifiers are hashed before sending more"
	case 470:
		s.State, s.Writable, s.Remedy = destination.Blocked, false, "whoever created the audience is inactive at Meta; another person must take it over"
	case flagged:
		s.State, s.Writable, s.Remedy = destination.Blocked, false, unflag
		if len(a.Violating) > 0 {
			s.Reason = destination.Clean("flagged for its " + strings.Join(a.Violating, " and "))
		}
	case 500:
		s.State, s.Writable, s.Remedy = destination.Blocked, false, "Meta reports an error of its own; if it lasts, ask Meta's support"
	case 421, 422, 423, 431, 432, 433, 434, 442:
		s.State = destination.Blocked
	case 450:
		s.State, s.Remedy = destination.Expired, "use it in an ad set, or make a new one"
	default:
		switch {
		case a.Delivery.Code == 300:
			s.State, s.Reason = destination.TooSmall, destination.Clean(a.Delivery.Description)
		case a.Delivery.Code >= 400:
			s.State, s.Reason = destination.Blocked, destination.Clean(a.Delivery.Description)
		case a.Operation.Code == normal || a.Operation.Code == 0:
			s.Reason = ""
		}
	}
	return s
}
