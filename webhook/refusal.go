package webhook

import (
	"net/http"
	"strconv"
	"time"
)

// verdict is what to do about a request that was not accepted.
type verdict int

const (
	again   verdict = iota // the same, later, a number of times
	later                  // the same, later, as often as it takes: the receiver has said that it is busy
	waiting                // the same, later, as often as it takes: it is not what the request holds; a person must act
	refused                // never the same: something it holds is not wanted
	tooLong                // never the same: less of it might be taken
	gone                   // nothing any more
)

// refusal is why a request was not accepted. It holds neither secret, URL nor body.
type refusal struct {
	verdict verdict
	wait    time.Duration // the receiver asked for; 0: it did not say
	reason  string        // in words
	remedy  string        // what a person can do; "" unless only a person can help
}

// remedies are what a person can do about answers that are not about what the request holds.
var remedies = map[int]string{
	http.StatusUnauthorized:         "let the receiver take what is signed with the secret of the webhook, which may have been renewed on one side only",
	http.StatusPaymentRequired:      "settle the account with whoever runs the receiver",
	http.StatusForbidden:            "let the receiver take requests of this service, signed with the secret of the webhook",
	http.StatusNotFound:             "set url to where the receiver is, or put it there",
	http.StatusMethodNotAllowed:     "set url to where the receiver takes requests by POST",
	http.StatusProxyAuthRequired:    "let this service through the proxy before the receiver",
	http.StatusUnsupportedMediaType: "let the receiver take application/json",
	http.StatusGone:                 "set url to where the receiver is now and enable the webhook, or delete it",
}

// refusalOf reads the status of an answer; nil for a success.
func refusalOf(status int, retryAfter string) *refusal {
	if status >= 200 && status < 300 {
		return nil
	}
	r := &refusal{reason: "answered " + strconv.Itoa(status), remedy: remedies[status], wait: waitOf(retryAfter)}
	if text := http.StatusText(status); text != "" {
		r.reason += " " + text
	}
	switch {
	case status == http.StatusGone:
		r.verdict = gone
	case status == http.StatusTooManyRequests:
		r.verdict = later
	case status == http.StatusRequestEntityTooLarge:
		r.verdict = tooLong
	case status >= 300 && status < 400:
		r.verdict, r.remedy = waiting, "set url to where the receiver is"
		r.reason += "; redirects are not followed"
	case r.remedy != "":
		r.verdict = waiting
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooEarly:
		r.verdict = refused
	}
	return r
}

// longestWait bounds what a receiver may ask for.
const longestWait = time.Hour

// waitOf reads a Retry-After: seconds or a date.
func waitOf(text string) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(text); err == nil {
		wait = time.Until(date)
	}
	return min(max(wait, 0), longestWait)
}
