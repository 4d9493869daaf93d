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
	"github.com/kohorta/kohorta/internal/secret"
)

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
		r := &refusal{verdict: waiting, reason: err.Error()}
		if unread := (*secret.Error)(nil); errors.As(err, &unread) {
			r.remedy = unread.Remedy
		}
		return r
	}
	timeout := cmp.Or(webhook.Timeout, audience.DefaultWebhookTimeout)
	sending, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(sending, http.MethodPost, webhook.URL, bytes.NewReader(body))
	if err != nil {
		return &refusal{verdict: waiting, reason: "url cannot be called", remedy: "correct url"}
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
