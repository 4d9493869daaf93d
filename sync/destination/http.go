package destination

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxAnswerBytes bounds what is read of an answer; the longest, a page of audiences, has a tenth of it.
const maxAnswerBytes = 4 << 20

// Answer is an HTTP answer, read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// NewHTTPClient makes the client for one account: no redirect is followed, because it would carry the token elsewhere.
func NewHTTPClient(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Send sends one request and reads its answer. When there is none, or only a part, the error is that of an ended context
// or a Transient *Error, which never shows the URL: whether the platform did what was asked is unknown.
func Send(client *http.Client, req *http.Request) (Answer, error) {
	resp, err := client.Do(req) //nolint:gosec // the host is the configured one, and redirects are not followed
	if err != nil {
		return Answer{}, noAnswer(req.Context(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err == nil && len(body) > maxAnswerBytes {
		err = fmt.Errorf("the answer has more than %d bytes", maxAnswerBytes)
	}
	if err != nil {
		return Answer{}, noAnswer(req.Context(), err)
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

func noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	return &Error{Kind: Transient, Err: fmt.Errorf("no answer: %w", err)}
}
