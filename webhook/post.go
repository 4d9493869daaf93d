package webhook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// verdict is what to do about a request that was not accepted.
type verdict int

const (
	again    verdict = iota // the same, later
	never                   // the receiver does not want it
	gone                    // the receiver wants nothing any more
	unsigned                // it could not be signed: a person must act here
)

// refusal is why a request was not accepted. It holds neither secret, URL nor body.
type refusal struct {
	verdict verdict
	wait    time.Duration // the receiver asked for; 0: it did not say
	reason  string        // in words
}

// maxAnswer bounds what is read of an answer, so that its connection can be used again; what it says does not matter.
const maxAnswer = 64 << 10

// newClient makes the client of all webhooks: no redirect is followed, because it would carry users elsewhere.
func newClient() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// post sends a body to a webhook's receiver once; nil when it was accepted. When ctx ends, nobody knows.
func (s *Sender) post(ctx context.Context, webhook audience.Webhook, keys keyFile, body []byte) *refusal {
	secrets, err := keys.Read()
	if err != nil {
		return &refusal{verdict: unsigned, reason: err.Error()}
	}
	timeout := cmp.Or(webhook.Timeout, audience.DefaultWebhookTimeout)
	sending, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(sending, http.MethodPost, webhook.URL, bytes.NewReader(body))
	if err != nil {
		return &refusal{verdict: never, reason: "url cannot be called; correct it"}
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "Kohorta", TimestampHeader: timestamp, SignatureHeader: Sign(secrets, timestamp, body),
	} {
		req.Header.Set(name, value)
	}
	answer, err := s.client.Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return &refusal{reason: fmt.Sprintf("no answer within %s", timeout)}
	}
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return &refusal{reason: fmt.Sprintf("no answer: %v", err)}
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	return refusalOf(answer.StatusCode, answer.Header.Get("Retry-After"))
}

// refusalOf reads the status of an answer; nil for a success.
func refusalOf(status int, retryAfter string) *refusal {
	r := &refusal{reason: "answered " + strconv.Itoa(status)}
	if text := http.StatusText(status); text != "" {
		r.reason += " " + text
	}
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusGone:
		r.verdict = gone
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		r.wait = waitOf(retryAfter)
	case status >= 400:
		r.verdict = never
	case status >= 300:
		r.reason += "; redirects are not followed, set url to where the receiver is"
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
