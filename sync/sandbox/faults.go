package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// FaultKind is what goes wrong.
type FaultKind string

// The faults. Those that replace the answer or refuse leave the request without effect unless Fault.After is set.
const (
	FaultHTTP500          FaultKind = "http_500"          // replaces the answer: an error of theirs, is_transient true at Meta
	FaultHTTP502HTML      FaultKind = "http_502_html"     // replaces the answer: a proxy's page
	FaultHTML400          FaultKind = "html_400"          // replaces the answer: a page instead of JSON
	FaultEmpty200         FaultKind = "empty_200"         // replaces the answer: success without a body
	FaultPlainText200     FaultKind = "plain_text_200"    // replaces the answer: "Service Unavailable" with status 200
	FaultResetBefore      FaultKind = "reset_before"      // connection reset, nothing applied
	FaultResetAfter       FaultKind = "reset_after"       // applied, then connection reset
	FaultTruncatedJSON    FaultKind = "truncated_json"    // applied, half the body sent
	FaultSlow             FaultKind = "slow"              // applied, second half of the body after Wait
	FaultCodeAsString     FaultKind = "code_as_string"    // applied, TikTok's code sent as a JSON string
	FaultCode             FaultKind = "code"              // refused with Code, Subcode, Message
	FaultLocalizedMessage FaultKind = "localized_message" // refused with Code (default: a parameter error), text in another language
	FaultErrorDataString  FaultKind = "error_data_string" // refused with Code at Meta, error_data as JSON text in a string
	FaultRateLimited      FaultKind = "rate_limited"      // refused over quota, until Wait has passed when Wait is given
	FaultTokenRevoked     FaultKind = "token_revoked"     // refused: 190/467 or 40105
	FaultAudienceDeleted  FaultKind = "audience_deleted"  // refused: 1487366 or 40007
	FaultAudienceLocked   FaultKind = "audience_locked"   // refused: 2650/1870145 or 40002 "not editable"
	FaultRejectHalf       FaultKind = "reject_half"       // every second row refused: invalid entries at Meta, 20001 at TikTok
	FaultRejectValues     FaultKind = "reject_values"     // rows with one of Values refused: invalid entries at Meta, 40002 for the batch at TikTok
)

var (
	replacingFaults = []FaultKind{FaultHTTP500, FaultHTTP502HTML, FaultHTML400, FaultEmpty200, FaultPlainText200}
	refusingFaults  = []FaultKind{FaultCode, FaultLocalizedMessage, FaultErrorDataString, FaultRateLimited, FaultTokenRevoked,
		FaultAudienceDeleted, FaultAudienceLocked}
	otherFaults = []FaultKind{FaultResetBefore, FaultResetAfter, FaultTruncatedJSON, FaultSlow, FaultCodeAsString,
		FaultRejectHalf, FaultRejectValues}
)

func (k FaultKind) replaces() bool { return slices.Contains(replacingFaults, k) }
func (k FaultKind) refuses() bool  { return slices.Contains(refusingFaults, k) }
func (k FaultKind) known() bool {
	return k.replaces() || k.refuses() || slices.Contains(otherFaults, k)
}

// Fault is an order to fail. The first order that matches a request is carried out.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Platform is "meta", "tiktok", or empty for both.
	Platform string `json:"platform,omitempty"`
	// Method is the HTTP method, empty for any.
	Method string `json:"method,omitempty"`
	// Path is a part of the request path, such as "/users" or "/segment/mapping/"; empty matches every path.
	Path string `json:"path,omitempty"`
	// Count is how many requests fail. 0 means all until the faults are cleared.
	Count int `json:"count,omitempty"`
	// Probability is the share of matching requests that fail, drawn from Seed. 0 means all.
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`
	// After applies the request before its answer is replaced or a refusal is told.
	After bool `json:"after,omitempty"`
	// Wait is the delay of slow and the time to wait of rate_limited.
	Wait Duration `json:"wait,omitempty"`
	// Code, Subcode and Message are the refusal's; Subcode exists at Meta only.
	Code    int    `json:"code,omitempty"`
	Subcode int    `json:"subcode,omitempty"`
	Message string `json:"message,omitempty"`
	// Values are the hashes or ids that reject_values refuses.
	Values []string `json:"values,omitempty"`

	random *rand.Rand
	until  time.Time // end of a rate_limited fault with Wait, set when it first strikes
}

// Duration is a time.Duration written as "1m30s" in JSON.
type Duration time.Duration

// MarshalText writes the form of time.Duration.String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

const proxyPage = "<!DOCTYPE html><html><head><title>%s</title></head><body><h1>%[1]s</h1></body></html>"

// brokenReply is what comes when no API logic answers.
func brokenReply(platform string, kind FaultKind) reply {
	switch kind {
	case FaultHTTP502HTML:
		return textReply(http.StatusBadGateway, "text/html", fmt.Sprintf(proxyPage, "502 Bad Gateway"))
	case FaultHTML400:
		return textReply(http.StatusBadRequest, "text/html", fmt.Sprintf(proxyPage, "Sorry, something went wrong."))
	case FaultEmpty200:
		return reply{status: http.StatusOK}
	case FaultPlainText200:
		return textReply(http.StatusOK, "text/plain", "Service Unavailable")
	default: // FaultHTTP500
	}
	if platform == platformTikTok {
		return textReply(http.StatusInternalServerError, "text/plain", "Internal Server Error")
	}
	transient := true
	e := &metaError{status: http.StatusInternalServerError, Code: 2, Type: "OAuthException", Message: "An unexpected error has occurred. Please retry your request later.", Transient: &transient}
	return e.reply("fault")
}

var codeMember = regexp.MustCompile(`"code":(-?\d+)`)

// quoteCode turns the envelope's code into a string.
func quoteCode(body []byte) []byte {
	if at := codeMember.FindSubmatchIndex(body); at != nil && json.Valid(body) {
		quoted := fmt.Appendf(nil, `"code":"%s"`, body[at[2]:at[3]])
		return bytes.Replace(body, body[at[0]:at[1]], quoted, 1)
	}
	return body
}

// refusedRow tells whether a fault refuses the i-th row, which holds values.
func (f *Fault) refusedRow(i int, values func(yield func(string) bool)) bool {
	if f == nil {
		return false
	}
	switch f.Kind {
	case FaultRejectHalf:
		return i%2 == 1
	case FaultRejectValues:
		for v := range values {
			if slices.Contains(f.Values, v) {
				return true
			}
		}
	default:
	}
	return false
}
