package tiktok

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/kohorta/kohorta/sync/destination"
)

// Codes that are no failure (7).
const (
	success          = 0
	partlySuccessful = 20001
	nothingToUpdate  = 40012
)

// said is the outer part of an answer.
type said struct {
	code      int
	requestID string
}

// decode reads an answer's data into out, or gives the *destination.Error its code amounts to. Success is a code of the
// platform's, never an HTTP status; without a code that is an integer nobody knows what was done (1.3).
func decode(a destination.Answer, out any) (said, error) {
	var envelope struct {
		Code      *int            `json:"code"`
		Message   string          `json:"message"`
		RequestID string          `json:"request_id"`
		Data      json.RawMessage `json:"data"`
	}
	err := json.Unmarshal(a.Body, &envelope)
	s := said{requestID: destination.Clean(envelope.RequestID)}
	if s.requestID == "" {
		s.requestID = destination.Clean(a.Header.Get("X-TT-LOGID"))
	}
	if err != nil || envelope.Code == nil || (a.Status >= http.StatusInternalServerError && *envelope.Code == success) {
		return s, unreadable(a, s)
	}
	s.code = *envelope.Code
	switch s.code {
	case success, partlySuccessful, nothingToUpdate:
	default:
		return s, classify(s, envelope.Message)
	}
	if data := bytes.TrimSpace(envelope.Data); len(data) > 0 {
		if err := json.Unmarshal(data, out); err != nil {
			return s, &destination.Error{Kind: destination.Transient, RequestID: s.requestID, Err: errors.New("data of another shape than the API's")}
		}
	}
	return s, nil
}

// unreadable is the error of an answer without a code.
func unreadable(a destination.Answer, s said) error {
	e := &destination.Error{Kind: destination.Transient, RequestID: s.requestID, Err: fmt.Errorf("HTTP %d without a code", a.Status)}
	switch {
	case a.Status == http.StatusRequestEntityTooLarge:
		e.Kind = destination.TooLarge
	case a.Status >= 300 && a.Status < 500 && a.Status != http.StatusTooManyRequests && a.Status != http.StatusRequestTimeout:
		e.Kind, e.Scope, e.Remedy = destination.Misconfigured, destination.OfAccount, "correct base_url; no such path is served there"
	}
	return e
}
