package meta

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/kohorta/kohorta/sync/destination"
)

const (
	replaceRows = 100_000_000      // an audience of so many takes no replace (2.5)
	replaceTime = 90 * time.Minute // from the first batch on; then the platform ends the replace by itself
	replacePoll = 5 * time.Minute  // between looks at the status of a busy audience (5.4)
)

// phase is how far a replacement has come.
type phase uint8

const (
	opening phase = iota // the first batch has not left, or was refused
	unsure               // it has left and its answer is lost: sending it again could empty the audience a second time
	open                 // it was taken; each later batch may be sent again under its number
	closed               // the last batch was taken, or the platform takes no more
	lost                 // the platform knows nothing of the first batch
)

// replacement is one rebuild of an audience: the state machine of 2.5, seen from the client.
type replacement struct {
	client   *Client
	audience string
	spec     destination.ReplaceSpec

	mu      sync.Mutex // batches go one after the other
	phase   phase
	session int64
	number  int       // of the batch to send next, from 1
	began   time.Time // just before the first batch left
}

// BeginReplace checks what 2.5 asks for: members that take changes now, fewer than 100 million, values as at creation.
func (c *Client) BeginReplace(ctx context.Context, audienceID string, spec destination.ReplaceSpec) (destination.Replacement, error) {
	if !accountShape.MatchString(audienceID) {
		return nil, malformed()
	}
	if c.isReplacing(audienceID) {
		return nil, replaceRuns()
	}
	a, err := c.read(ctx, audienceID)
	if err != nil {
		return nil, err
	}
	refuse := func(remedy, format string, args ...any) error {
		return &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfRequest, Remedy: remedy, Err: fmt.Errorf(format, args...)}
	}
	switch code := a.Operation.Code; {
	case a.Subtype != "CUSTOM":
		return nil, refuse("", "only customer-file audiences can be replaced")
	case spec.Rows >= replaceRows || a.High != nil && *a.High >= replaceRows:
		return nil, refuse("add and remove instead", "an audience of 100 million members or more takes no replace")
	case a.ValueBased != spec.Valued:
		return nil, refuse("", "the rows have values and the audience is not value-based, or the other way round")
	case !statusOf(a).Writable && code != flagged:
		return nil, &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, RetryAfter: replacePoll,
			Err: fmt.Errorf("the audience takes no changes now (status %d)", code)}
	case code != normal && code != replaceFailed:
		status := statusOf(a)
		return nil, refuse(status.Remedy, "the audience takes no replace in status %d; add instead", code)
	}
	return &replacement{client: c, audience: audienceID, spec: spec, session: newSession(), number: 1}, nil
}

// Send sends the next batch under its number, the first only once the one before is known not to have arrived.
func (r *replacement) Send(ctx context.Context, b destination.Batch, last bool) (destination.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := layout{schemes: r.client.schemes, valued: r.spec.Valued, limited: r.spec.Limited} // the same in every batch (2.5)
	if b.Op != destination.Add || !sendable(&b) || !l.carries(layoutOf(&b)) {
		return destination.Result{}, malformed()
	}
	if r.phase == unsure {
		result, taken, err := r.look(ctx, &b)
		if err != nil {
			return result, err
		}
		if taken {
			r.advance(last)
			return result, nil
		}
		r.phase, r.session = opening, newSession()
	}
	if r.phase == open && r.client.now().Sub(r.began) >= replaceTime {
		r.close(closed)
	}
	if r.phase >= closed {
		return destination.Result{}, over("the platform ended the replace, or 90 minutes are over")
	}
	if r.phase == opening {
		if !r.client.beginReplacing(r.audience, r) {
			return destination.Result{}, replaceRuns()
		}
		r.phase, r.began = unsure, r.client.now()
	}
	p := part{session: r.session, number: r.number, last: last, total: r.spec.Rows}
	result, err := r.client.send(ctx, http.MethodPost, r.audience+"/usersreplace", p, l, &b)
	if err != nil {
		return result, r.failed(r.client.aboutAudience(r.audience, err))
	}
	r.advance(last)
	return result, nil
}

// advance notes that a batch was taken.
func (r *replacement) advance(last bool) {
	r.phase, r.number = open, r.number+1
	if last {
		r.close(closed)
	}
}

// failed moves the state machine on by the error of a batch, and says what the caller can do.
func (r *replacement) failed(err error) error {
	var e *destination.Error
	switch {
	case !errors.As(err, &e): // the context ended; whether the batch arrived nobody knows
		return err
	case e.Code == "2650/1870158" || e.Code == "2650/1870159":
		r.close(closed)
		return over("the platform has closed the replace")
	case e.Code == "2650/1870147":
		r.close(lost)
		return over("the platform knows nothing of the first batch")
	case e.Kind != destination.Transient && r.phase == unsure: // refused: nothing began
		r.phase = opening
		r.client.endReplacing(r.audience, r)
	}
	return err
}

// look finds out whether the first batch arrived, by the sessions and the status of the audience (2.5, 2.6).
func (r *replacement) look(ctx context.Context, b *destination.Batch) (result destination.Result, taken bool, err error) {
	var sessions struct {
		Data *[]struct {
			ID      string `json:"session_id"`
			Invalid string `json:"num_invalid_entries"`
		} `json:"data"`
	}
	id := strconv.FormatInt(r.session, 10)
	pace, err := r.client.call(ctx, http.MethodGet, r.audience+"/sessions", url.Values{"session_id": {id}}, nil, &sessions)
	result.Pace = pace
	if err != nil {
		return result, false, err
	}
	if sessions.Data == nil {
		return result, false, &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, Err: errors.New("the answer is no list of sessions")}
	}
	a, err := r.client.read(ctx, r.audience)
	if err != nil {
		return result, false, err
	}
	for _, s := range *sessions.Data {
		if s.ID != id {
			continue
		}
		if a.Operation.Code == replaceFailed {
			r.close(closed)
			return result, false, over("the replace failed at the platform")
		}
		invalid, err := strconv.Atoi(s.Invalid)
		if err != nil {
			invalid = len(b.Rows)
		}
		result.Unnamed = min(max(0, invalid), len(b.Rows))
		result.RequestID = "session " + id
		return result, true, nil
	}
	if a.Operation.Code == replaceRunning { // somebody else's, or ours before it shows
		return result, false, replaceRuns()
	}
	return result, false, nil
}

// Finish reads the status, which alone is to be trusted: the stage of a session may stay "uploading" (2.6).
func (r *replacement) Finish(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase == lost {
		return replaceFailure("the platform lost the first batch")
	}
	if left := replaceTime - r.client.now().Sub(r.began); r.phase == open || r.phase == unsure {
		if left > 0 {
			return &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, RetryAfter: left,
				Err: errors.New("the replace has not been ended by a last batch; the platform ends it 90 minutes after the first")}
		}
		r.close(closed)
	}
	a, err := r.client.read(ctx, r.audience)
	if err != nil {
		return err
	}
	switch status := statusOf(a); {
	case a.Operation.Code == replaceFailed:
		return replaceFailure("the platform says that the replace failed")
	case status.State == destination.Processing:
		return &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, RetryAfter: replacePoll, Err: errors.New("the platform is still taking in the replace")}
	case !status.Writable:
		return &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfAudience, Remedy: status.Remedy, Err: errors.New(status.Reason)}
	}
	return nil
}

// close ends the replacement; the audience may be changed otherwise as soon as the platform allows.
func (r *replacement) close(p phase) {
	r.phase = p
	r.client.endReplacing(r.audience, r)
}

func over(why string) error {
	return &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, RetryAfter: replacePoll,
		Err: fmt.Errorf("%w: %s", destination.ErrReplaceOver, why)}
}

func replaceRuns() error {
	return &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, RetryAfter: replacePoll,
		Err: errors.New("the audience is being replaced")}
}

func replaceFailure(why string) error {
	return &destination.Error{Kind: destination.Rejected, Scope: destination.OfAudience, Code: "415", Err: errors.New(why)}
}

// claim is a replacement that has begun to rebuild an audience.
type claim struct {
	by    *replacement
	since time.Time
}

// isReplacing reports whether this client is rebuilding the audience; nothing else may change its members then.
func (c *Client) isReplacing(audienceID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.replacing[audienceID]
	if ok && c.now().Sub(held.since) >= replaceTime { // given up by whoever began it, and ended by the platform
		delete(c.replacing, audienceID)
		return false
	}
	return ok
}

// beginReplacing claims the audience, unless another replacement holds it.
func (c *Client) beginReplacing(audienceID string, r *replacement) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held, ok := c.replacing[audienceID]; ok && held.by != r {
		return false
	}
	c.replacing[audienceID] = claim{by: r, since: c.now()}
	return true
}

func (c *Client) endReplacing(audienceID string, r *replacement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.replacing[audienceID].by == r {
		delete(c.replacing, audienceID)
	}
}
