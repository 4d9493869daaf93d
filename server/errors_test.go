package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// TestErrorsOfTheRooms: each kind of error a room may return, as the caller sees it.
func TestErrorsOfTheRooms(t *testing.T) {
	const secret = "10.1.2.3:9000"
	wrap := func(err error) error { return fmt.Errorf("read membership: %w", err) }
	cases := []struct {
		name   string
		err    error
		code   codes.Code
		reason audiencev1.ErrorReason
		check  func(*testing.T, details)
	}{
		{"invalid with fields", wrap(audience.Invalid("user_id", "is odd")), codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_INVALID_FIELD,
			func(t *testing.T, d details) { require.Equal(t, []string{"user_id: is odd"}, d.fields()) }},
		{"invalid", wrap(audience.ErrInvalid), codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_INVALID_FIELD, nil},
		{"not found", wrap(&audience.ResourceError{Kind: audience.ErrNotFound, Name: "segments/vip"}), codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND,
			func(t *testing.T, d details) {
				require.Equal(t, "segments", d.resource.GetResourceType())
				require.Equal(t, "segments/vip", d.resource.GetResourceName())
			}},
		{"not found, nobody knows what", wrap(audience.ErrNotFound), codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND,
			func(t *testing.T, d details) { require.NotNil(t, d.resource) }},
		{"exists", wrap(&audience.ResourceError{Kind: audience.ErrExists, Name: "segments/vip"}), codes.AlreadyExists, audiencev1.ErrorReason_ERROR_REASON_ALREADY_EXISTS,
			func(t *testing.T, d details) { require.Equal(t, "segments/vip", d.resource.GetResourceName()) }},
		{"conflict", wrap(audience.ErrConflict), codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT, nil},
		{"precondition", wrap(audience.ErrPrecondition), codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION,
			func(t *testing.T, d details) { require.Len(t, d.precondition.GetViolations(), 1) }},
		{"exhausted", wrap(audience.ErrExhausted), codes.ResourceExhausted, audiencev1.ErrorReason_ERROR_REASON_EXHAUSTED,
			func(t *testing.T, d details) { require.NotNil(t, d.quota); require.NotNil(t, d.retry) }},
		{"unavailable", wrap(&audience.UnavailableError{What: "redis", RetryAfter: 7 * time.Second, Err: errors.New(secret)}),
			codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE,
			func(t *testing.T, d details) {
				require.Equal(t, 7*time.Second, d.retry.GetRetryDelay().AsDuration())
				require.Equal(t, "redis is unavailable", d.message)
			}},
		{"unavailable, nobody knows for how long", wrap(audience.ErrUnavailable), codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE,
			func(t *testing.T, d details) { require.Positive(t, d.retry.GetRetryDelay().AsDuration()) }},
		{"anything else", wrap(errors.New("code 60 at " + secret)), codes.Internal, audiencev1.ErrorReason_ERROR_REASON_INTERNAL,
			func(t *testing.T, d details) { require.NotEmpty(t, d.request.GetRequestId()) }},
		{"text that is not UTF-8", wrap(audience.Invalid("a\xff", "b\xff")), codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_INVALID_FIELD,
			func(t *testing.T, d details) { require.Len(t, d.fields(), 1) }},
	}
	h := start(t, server.Config{})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h.fail(c.err)
			_, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1"})
			d := requireStatus(t, err, c.code, c.reason)
			require.NotContains(t, fmt.Sprint(err, d), secret, "no innards for the caller")
			if c.check != nil {
				c.check(t, d)
			}
			if id := d.request.GetRequestId(); id != "" {
				line := h.log.lineWith(t, id)
				require.Contains(t, line, secret, "the cause is in the log, under the request's id")
				require.Contains(t, line, `"level":"ERROR"`)
			}
		})
	}
}

// TestAThousandFaultsFitIntoAStatus: the first ones are named, the others counted; headers stay small.
func TestAThousandFaultsFitIntoAStatus(t *testing.T) {
	h := start(t, server.Config{})
	bad := users(1000)
	for i := range bad {
		bad[i] += "\n"
	}
	_, err := h.membership.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: bad})
	d := requireStatus(t, err, codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_INVALID_FIELD)
	require.Len(t, d.fields(), 51)
	require.Equal(t, "user_ids[50]: and 950 more fields are at fault", d.fields()[50])
	require.Less(t, proto.Size(status.Convert(err).Proto()), 8<<10)
}

func TestPanicsAreSurvived(t *testing.T) {
	h := start(t, server.Config{})
	h.panics = true
	_, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1"})
	d := requireStatus(t, err, codes.Internal, audiencev1.ErrorReason_ERROR_REASON_INTERNAL)
	require.Contains(t, h.log.lineWith(t, d.request.GetRequestId()), "fakes_test.go", "the stack is in the log")
	h.panics = false
	_, err = h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1"})
	require.NoError(t, err)
}

func TestDeadlines(t *testing.T) {
	h := start(t, server.Config{Deadline: 30 * time.Millisecond})
	h.wait = true
	get := func(ctx context.Context) error {
		_, err := h.membership.GetMembership(ctx, &audiencev1.GetMembershipRequest{UserId: "u1"})
		return err
	}
	t.Run("the service's own where the caller set none", func(t *testing.T) {
		requireStatus(t, get(t.Context()), codes.DeadlineExceeded, audiencev1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED)
	})
	t.Run("the caller's, though it is longer", func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		require.Error(t, get(ctx))
		require.GreaterOrEqual(t, time.Since(began), 250*time.Millisecond)
	})
}

func TestAccessLogKnowsNoUser(t *testing.T) {
	h := start(t, server.Config{})
	const canary = "canary-user"
	h.memberships["canary-user"] = nil
	_, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: canary})
	require.NoError(t, err)
	_, err = h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: canary + "\x00"})
	require.Error(t, err)
	_, err = h.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{purchase(canary, "e1")}})
	require.NoError(t, err)
	_, err = h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: canary})
	require.Error(t, err)

	require.NotContains(t, h.log.String(), canary)
	lines := strings.Split(strings.TrimSpace(h.log.String()), "\n")
	require.Len(t, lines, 4, "one line a call")
	require.Contains(t, lines[0], `"level":"DEBUG"`, "reads that succeed")
	require.Contains(t, lines[1], `"code":"InvalidArgument"`)
	require.Contains(t, lines[2], `"level":"INFO"`)
	for _, line := range lines {
		require.Contains(t, line, `"call":"/audience.v1.`)
		require.Contains(t, line, `"took":`)
	}
}
