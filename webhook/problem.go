package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// problem is why a request is refused, in the form of RFC 9457.
type problem struct {
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail"`
	Errors []fieldFault  `json:"errors,omitempty"`
	wait   time.Duration // until it makes sense to come again; 0: nobody knows
}

// fieldFault is what is wrong with one field or header.
type fieldFault struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

func (p *problem) Error() string { return p.Title + ": " + p.Detail }

// problemOf is what a caller hears of an error.
func problemOf(err error) *problem {
	var (
		known       *problem
		invalid     *audience.InvalidError
		unavailable *audience.UnavailableError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &invalid):
		return faulty(http.StatusUnprocessableEntity, "The move cannot be made", invalid.Violations)
	case errors.Is(err, audience.ErrConflict):
		return faulty(http.StatusConflict, "The request id is taken", audience.Violations{
			{Field: "request_id", Reason: "was used for another move of the user; use a new one for each move"}})
	case errors.Is(err, audience.ErrPrecondition):
		return &problem{Title: "The segment is not ready", Status: http.StatusConflict,
			Detail: strings.TrimSuffix(err.Error(), ": "+audience.ErrPrecondition.Error())}
	case errors.As(err, &unavailable):
		return &problem{Title: "Not available", Status: http.StatusServiceUnavailable, wait: unavailable.RetryAfter,
			Detail: unavailable.What + " cannot answer now; sign the request anew and send it again with its request_id"}
	case errors.Is(err, audience.ErrUnavailable), errors.Is(err, audience.ErrExhausted), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &problem{Title: "Not available", Status: http.StatusServiceUnavailable, wait: time.Second,
			Detail: "the service cannot answer now; sign the request anew and send it again with its request_id"}
	}
	return &problem{Title: "A fault of the service", Status: http.StatusInternalServerError,
		Detail: "its log has the cause; sign the request anew and send it again with its request_id"}
}

// faulty is a problem of fields.
func faulty(status int, title string, faults audience.Violations) *problem {
	p := &problem{Title: title, Status: status}
	for _, fault := range faults {
		if fault.Field == "user_id" { // as the nouns call it
			fault.Field = "user"
		}
		if p.Detail == "" {
			p.Detail = fault.Field + ": " + fault.Reason
		}
		p.Errors = append(p.Errors, fieldFault{fault.Field, fault.Reason})
	}
	return p
}

// write answers with the problem.
func (p *problem) write(w http.ResponseWriter) {
	if p.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.wait.Seconds()))))
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// writeJSON answers with a document. A caller who has gone does not hear it.
func writeJSON(w http.ResponseWriter, status int, kind string, document any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}
