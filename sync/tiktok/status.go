package tiktok

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/kohorta/kohorta/sync/destination"
)

// details are what the platform tells of an audience (3.4).
type details struct {
	ID        string         `json:"audience_id"`
	Name      string         `json:"name"`
	Type      string         `json:"type"`
	Covered   int64          `json:"cover_num"`
	Valid     bool           `json:"is_valid"`
	Expiring  bool           `json:"is_expiring"`
	Message   *string        `json:"error_msg"`
	Created   string         `json:"create_time"`
	Expires   string         `json:"expired_time"`
	Lookalike *lookalikeSpec `json:"lookalike_spec"`

	Changed string `json:"-"` // time of the newest entry of the history, "" when there is none
}

// read reads an audience.
func (c *Client) read(ctx context.Context, id string) (details, error) {
	ids, err := json.Marshal([]string{id}) // arrays stand in one parameter, as JSON (1.3)
	if err != nil {
		return details{}, err
	}
	var data struct {
		List *[]struct {
			Details details `json:"audience_details"`
			History []struct {
				Time string `json:"opt_time"`
			} `json:"audience_history"`
		} `json:"list"`
	}
	said, err := c.call(ctx, http.MethodGet, "dmp/custom_audience/get/", c.query(url.Values{"custom_audience_ids": {string(ids)}, "history_size": {"1"}}), nil, &data)
	if err != nil {
		return details{}, err
	}
	if data.List == nil {
		return details{}, &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, RequestID: said.requestID,
			Err: errors.New("the answer is about no audience")}
	}
	for _, a := range *data.List {
		if a.Details.ID != id {
			continue
		}
		if len(a.History) > 0 {
			a.Details.Changed = a.History[0].Time
		}
		return a.Details, nil
	}
	return details{}, &destination.Error{Kind: destination.Gone, Scope: destination.OfAudience, RequestID: said.requestID,
		Remedy: verdicts[40007].remedy, Err: errors.New("TikTok lists no such audience")}
}

// Audience reads an audience's state.
func (c *Client) Audience(ctx context.Context, id string) (destination.Status, error) {
	d, err := c.read(ctx, id)
	if err != nil {
		return destination.Status{}, err
	}
	return statusOf(d, c.now()), nil
}

// age is how long ago an audience was created or changed; false when the platform does not say.
func (d details) age(now time.Time) (time.Duration, bool) {
	created, createdErr := time.Parse(time.DateTime, d.Created)
	changed, changedErr := time.Parse(time.DateTime, d.Changed)
	if createdErr != nil && changedErr != nil {
		return 0, false
	}
	if changed.After(created) {
		created = changed
	}
	return now.Sub(created), true
}

// statusOf is the derivation of 3.4. The members of a segment can be changed at any time but after the end; those of a file
// audience not while the platform works on it.
func statusOf(d details, now time.Time) destination.Status {
	s := destination.Status{Writable: true, Low: d.Covered, High: d.Covered}
	if d.Covered <= 0 {
		s.Low, s.High = -1, -1
	}
	var failure string
	if d.Message != nil {
		failure = destination.Clean(*d.Message)
	}
	age, known := d.age(now)
	expires, err := time.Parse(time.DateTime, d.Expires)
	over := err == nil && now.After(expires)
	switch {
	case d.Valid && d.Expiring:
		s.State, s.Reason = destination.Expiring, "expires on "+expires.Format(time.DateOnly)
		s.Remedy = "use the audience in an active ad group to keep it"
	case d.Valid:
		s.State = destination.Ready
	case known && age < slowest && failure == "":
		s.State, s.Writable, s.Reason = destination.Processing, d.Type != typeFile, "what was created or changed takes up to 48 hours"
	case over:
		s.State, s.Writable, s.Reason = destination.Expired, false, "expired on "+expires.Format(time.DateOnly)
		s.Remedy = "sync it with recreate to load all members into a new one"
	case failure != "":
		s.State, s.Reason, s.Remedy = destination.Blocked, failure, "TikTok could not take in the last change; read its words"
	default:
		s.State, s.Reason = destination.TooSmall, "fewer than 1000 matched users"
		s.Remedy = "add members, or identifiers of more kinds"
	}
	return s
}

// pollWait is when to look again at an audience that TikTok has been working on for so long (7: 15 minutes to 1 hour, up to
// 48 hours).
func pollWait(age time.Duration) time.Duration {
	switch {
	case age < 2*time.Hour:
		return 15 * time.Minute
	case age < 8*time.Hour:
		return 30 * time.Minute
	}
	return time.Hour
}

// tellApart finds out what a 40002 about an audience means (7): TikTok has one code for an audience it is still working on,
// for one that came out empty, and for a wrong parameter. Well is what to do when the audience is well. Other errors stay as
// they are.
func (c *Client) tellApart(ctx context.Context, id string, err error, well string) error {
	var e *destination.Error
	if !errors.As(err, &e) || e.Code != "40002" {
		return err
	}
	d, readErr := c.read(ctx, id)
	if readErr != nil {
		return readErr
	}
	e.Scope = destination.OfAudience
	age, _ := d.age(c.now())
	switch status := statusOf(d, c.now()); status.State {
	case destination.Processing:
		e.Kind, e.RetryAfter, e.Remedy = destination.Busy, pollWait(age), ""
	case destination.TooSmall:
		e.Kind, e.Remedy = destination.Misconfigured, "fewer than 1000 people of it are known to TikTok: delete the audience and make one of more"
	case destination.Blocked, destination.Expired:
		e.Kind, e.Remedy = destination.Misconfigured, status.Reason+"; "+status.Remedy
	default:
		e.Kind, e.Remedy = destination.Misconfigured, well
	}
	return err
}
