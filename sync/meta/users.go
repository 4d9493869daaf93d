package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"

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
	var method string
	switch b.Op {
	case destination.Add:
		method = http.MethodPost
	case destination.Remove:
		method = http.MethodDelete
	}
	if method == "" || len(b.Rows) == 0 || len(b.Schema) == 0 || !accountShape.MatchString(audienceID) {
		return destination.Result{}, &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfRequest,
			Err: errors.New("a batch needs an operation, a schema, rows and the number of an audience")}
	}
	session := 1 + rand.Int64N(1<<62)
	body := appendPayload(make([]byte, 0, payloadBytes(&b)), session, &b)
	var answer usersAnswer
	pace, err := c.call(ctx, method, audienceID+"/users", nil, body, &answer)
	result := destination.Result{Pace: pace}
	if err != nil {
		return result, c.aboutAudience(audienceID, err)
	}
	if answer.AudienceID == nil && answer.Received == nil {
		return result, &destination.Error{Kind: destination.Transient, Err: errors.New("the answer does not say what was received")}
	}
	result.RequestID = fmt.Sprintf("session %d", session)
	result.Rejected = namedRows(answer.Samples, &b)
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

// namedRows leads the samples of refused rows back to the rows of the batch. Samples are an object from the row as JSON
// text to the reason, or a list; each row in them is a list of cells. What is none of this stays unnamed.
func namedRows(samples json.RawMessage, b *destination.Batch) []destination.Rejection {
	reasons := map[string]string{} // by row as we wrote it
	note := func(row, reason string) {
		var cells []string
		if json.Unmarshal([]byte(row), &cells) != nil || len(cells) != len(b.Schema) {
			return
		}
		reasons[`["`+strings.Join(cells, `","`)+`"]`] = destination.Clean(reason)
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
	for i := range b.Rows {
		text = appendRow(text[:0], b.Schema, b.Rows[i].Identifiers)
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
