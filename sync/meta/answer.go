package meta

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/kohorta/kohorta/sync/destination"
)

// graphError is the error of an envelope (1.4). Other members are left alone: error_data may be an object or a text.
type graphError struct {
	Message     string `json:"message"`
	Code        int    `json:"code"`
	Subcode     int    `json:"error_subcode"`
	IsTransient bool   `json:"is_transient"`
	UserTitle   string `json:"error_user_title"`
	UserMessage string `json:"error_user_msg"`
	TraceID     string `json:"fbtrace_id"`
}

// decode reads an answer into out, or into the *destination.Error it amounts to. A body that is no JSON object, whatever
// its status, says nothing about what was done (1.4, 4.2).
func decode(a destination.Answer, budget budget, out any) error {
	var envelope struct {
		Error *graphError `json:"error"`
	}
	switch err := json.Unmarshal(a.Body, &envelope); {
	case a.Status == http.StatusRequestEntityTooLarge || a.Status == http.StatusRequestURITooLong:
		return &destination.Error{Kind: destination.TooLarge, Err: fmt.Errorf("HTTP %d", a.Status)}
	case err == nil && envelope.Error != nil:
		return classify(envelope.Error, a.Status, budget)
	case err != nil || a.Status != http.StatusOK:
		return &destination.Error{Kind: destination.Transient, RetryAfter: budget.retryAfter,
			Err: fmt.Errorf("HTTP %d without a readable answer (%s)", a.Status, shapeOf(a.Body))}
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return &destination.Error{Kind: destination.Transient, Err: errors.New("an answer of another shape than the API's")}
	}
	return nil
}

// shapeOf describes a body without showing it.
func shapeOf(body []byte) string {
	switch {
	case len(body) == 0:
		return "empty body"
	case body[0] == '<':
		return "an HTML page"
	case body[0] == '{':
		return "JSON, cut or of another shape"
	}
	return "plain text"
}
