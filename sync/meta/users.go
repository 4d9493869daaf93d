package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// usersAnswer is what the users edge says (2.4). num_received is of no use: it may count a session or a call.
type usersAnswer struct {
	AudienceID json.RawMessage `json:"audience_id"`
	Received   *int64          `json:"num_received"`
	Invalid    int             `json:"num_invalid_entries"`
	Samples    json.RawMessage `json:"invalid_entry_samples"`
}

// Apply sends one batch to the users edge.
func (c *Client) Apply(ctx context.Context, audienceID string, b destination.Batch) (destination.Result, error) {
	method := map[destination.Op]string{destination.Add: http.MethodPost, destination.Remove: http.MethodDelete}[b.Op]
	if method == "" || !sendable(&b) || !accountShape.MatchString(audienceID) {
		return destination.Result{}, malformed()
	}
	if c.isReplacing(audienceID) {
		return destination.Result{}, replaceRuns()
	}
	result, err := c.send(ctx, method, audienceID+"/users", wholeSession(len(b.Rows)), layoutOf(&b), &b)
	return result, c.aboutAudience(audienceID, err)
}

// Erase removes people from all customer-file audiences of the ad account (2.7), those made elsewhere included.
func (c *Client) Erase(ctx context.Context, b destination.Batch) (destination.Result, error) {
	if b.Op != destination.Remove || !sendable(&b) {
		return destination.Result{}, malformed()
	}
	return c.send(ctx, http.MethodDelete, "act_"+c.account+"/usersofanyaudience", wholeSession(len(b.Rows)), layout{schemes: b.Schema}, &b)
}

func sendable(b *destination.Batch) bool { return len(b.Rows) > 0 && len(b.Schema) > 0 }

func malformed() error {
	return &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfRequest,
		Err: errors.New("a batch needs an operation, a schema, rows and the number of an audience")}
}

// newSession is a fresh id; sessions are unique in an ad account by their 62 random bits.
func newSession() int64 { return 1 + rand.Int64N(1<<62) }

// wholeSession is a session of one request.
func wholeSession(rows int) part {
	return part{session: newSession(), number: 1, last: true, total: int64(rows)}
}

// send sends rows to an edge that takes them, and reads which were refused.
func (c *Client) send(ctx context.Context, method, path string, p part, l layout, b *destination.Batch) (destination.Result, error) {
	body := appendPayload(make([]byte, 0, payloadBytes(l, len(b.Rows))), p, l, b.Rows)
	var answer usersAnswer
	pace, err := c.call(ctx, method, path, nil, body, &answer)
	result := destination.Result{Pace: pace}
	if err != nil {
		return result, err
	}
	if answer.AudienceID == nil && answer.Received == nil {
		return result, &destination.Error{Kind: destination.Transient, Err: errors.New("the answer does not say what was received")}
	}
	result.RequestID = fmt.Sprintf("session %d", p.session)
	result.Rejected = namedRows(answer.Samples, l.schemes, b.Rows)
	result.Unnamed = max(0, min(answer.Invalid, len(b.Rows))-len(result.Rejected))
	return result, nil
}

// aboutAudience makes the error of a call on an audience mean what it means at its age (4.2, rule 7).
func (c *Client) aboutAudience(id string, err error) error {
	var e *destination.Error
	if errors.As(err, &e) && (e.Code == "803" || e.Code == "100/33") && c.isFresh(id) {
		e.Kind, e.Scope, e.Remedy = destination.Transient, destination.OfAudience, ""
	}
	return err
}

// namedRows leads the samples of refused rows back to the rows of a request, by the cells of their identifiers. Samples are
// an object from the row as JSON text to the reason, or a list; each row in them is a list of cells. What is none of this
// stays unnamed.
func namedRows(samples json.RawMessage, schemes []audience.Scheme, rows []destination.Row) []destination.Rejection {
	reasons := map[string]string{} // by cells as we wrote them
	note := func(row, reason string) {
		var cells []json.RawMessage
		if json.Unmarshal([]byte(row), &cells) != nil || len(cells) < len(schemes) {
			return
		}
		texts := make([]string, len(schemes))
		for i := range texts {
			if json.Unmarshal(cells[i], &texts[i]) != nil {
				return
			}
		}
		reasons[`["`+strings.Join(texts, `","`)] = destination.Clean(reason)
	}
	var object map[string]json.RawMessage
	var list []json.RawMessage
	switch {
	case json.Unmarshal(samples, &object) == nil:
		for row, reason := range object {
			note(row, textOf(reason))
		}
	case json.Unmarshal(samples, &list) == nil:
		for _, row := range list {
			note(textOf(row), "refused by Meta without a reason")
		}
	}
	if len(reasons) == 0 {
		return nil
	}
	var rejected []destination.Rejection
	var text []byte
	for i := range rows {
		text = appendCells(text[:0], schemes, rows[i].Identifiers)
		if reason, ok := reasons[string(text)]; ok {
			rejected = append(rejected, destination.Rejection{Row: i, Reason: reason})
		}
	}
	return rejected
}

// textOf is the string in a JSON value, or its text when it is no string.
func textOf(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}
