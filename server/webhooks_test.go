package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// receivers remember what they were asked, and keep dead letters in memory.
type receivers struct {
	asked   []string
	letters []audience.DeadLetter
	refuse  string // what Redeliver hears after the first letter, when set
	fault   error  // of Begin, when set
}

func (r *receivers) Begin(_ context.Context, webhook audience.Webhook) error {
	r.asked = append(r.asked, fmt.Sprint("begin ", webhook.ID, webhook.Number))
	return r.fault
}

func (r *receivers) Changed() { r.asked = append(r.asked, "changed") }

func (r *receivers) Forget(_ context.Context, webhook audience.Webhook) error {
	r.asked = append(r.asked, fmt.Sprint("forget ", webhook.ID))
	return nil
}

func (r *receivers) Statuses(context.Context) (map[audience.Number]audience.WebhookStatus, error) {
	return map[audience.Number]audience.WebhookStatus{1: {
		WebhookState: audience.WebhookState{Delivered: time.Unix(5, 0), Error: "answered 401", Remedy: "renew it", Failed: time.Unix(6, 0), Attempts: 2},
		Following:    true, Lag: time.Minute, DeadLetters: int64(len(r.letters)),
	}}, nil
}

func (r *receivers) DeadLetters(_ context.Context, _ audience.Webhook, version uint64, user audience.UserID, limit int) ([]audience.DeadLetter, error) {
	var out []audience.DeadLetter
	for _, letter := range r.letters {
		if (letter.Version > version || letter.Version == version && letter.User > user) && len(out) < limit {
			out = append(out, letter)
		}
	}
	return out, nil
}

func (r *receivers) Redeliver(ctx context.Context, webhook audience.Webhook, ids []string) (int, string, error) {
	if r.refuse != "" {
		r.letters = r.letters[1:]
		return 1, r.refuse, nil
	}
	delivered, err := r.Drop(ctx, webhook, ids)
	return int(delivered), "", err
}

func (r *receivers) Drop(_ context.Context, _ audience.Webhook, ids []string) (int64, error) {
	before := len(r.letters)
	r.letters = slices.DeleteFunc(r.letters, func(l audience.DeadLetter) bool { return len(ids) == 0 || slices.Contains(ids, l.ID) })
	return int64(before - len(r.letters)), nil
}

func hook() *audiencev1.Webhook {
	return &audiencev1.Webhook{Title: "CRM", Url: "https://crm.example.com/kohorta", Secret: "crm-secret",
		Segments: []string{"segments/vip"}, BatchSize: 7, Timeout: durationpb.New(3 * time.Second), MaxAttempts: 4}
}

func TestWebhooks(t *testing.T) {
	h := start(t, server.Config{})
	client := audiencev1.NewWebhookServiceClient(h.conn)
	_, err := h.segments.Create(t.Context(), audience.Segment{ID: "vip"})
	require.NoError(t, err)

	created, err := client.CreateWebhook(t.Context(), &audiencev1.CreateWebhookRequest{WebhookId: "crm", Webhook: hook()})
	require.NoError(t, err)
	want := hook()
	want.Name, want.Etag = "webhooks/crm", created.GetWebhook().GetEtag()
	want.CreateTime, want.UpdateTime = created.GetWebhook().GetCreateTime(), created.GetWebhook().GetUpdateTime()
	require.Empty(t, cmp.Diff(want, created.GetWebhook(), protocmp.Transform()))

	got, err := client.GetWebhook(t.Context(), &audiencev1.GetWebhookRequest{Name: "webhooks/crm"})
	require.NoError(t, err)
	status := got.GetWebhook().GetStatus()
	require.Equal(t, time.Minute, status.GetLag().AsDuration())
	require.Equal(t, "answered 401", status.GetLastError())
	require.Equal(t, "renew it", status.GetRemedy())
	require.Equal(t, audiencev1.WebhookStatus_STATE_WAITING, status.GetState())
	require.EqualValues(t, 6, status.GetLastErrorTime().GetSeconds())
	require.EqualValues(t, 5, status.GetLastSuccessTime().GetSeconds())
	list, err := client.ListWebhooks(t.Context(), &audiencev1.ListWebhooksRequest{})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff([]*audiencev1.Webhook{got.GetWebhook()}, list.GetWebhooks(), protocmp.Transform()))

	changed, err := client.UpdateWebhook(t.Context(), &audiencev1.UpdateWebhookRequest{
		Webhook: &audiencev1.Webhook{Name: "webhooks/crm", Disabled: true}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled", "timeout"}},
	})
	require.NoError(t, err)
	require.True(t, changed.GetWebhook().GetDisabled())
	require.Nil(t, changed.GetWebhook().GetTimeout())

	_, err = h.segment.DeleteSegment(t.Context(), &audiencev1.DeleteSegmentRequest{Name: "segments/vip"})
	d := requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	require.Equal(t, "webhooks/crm", d.precondition.GetViolations()[0].GetSubject(), "a webhook tells of it")

	_, err = client.DeleteWebhook(t.Context(), &audiencev1.DeleteWebhookRequest{Name: "webhooks/crm", Etag: "stale"})
	requireStatus(t, err, codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)
	_, err = client.DeleteWebhook(t.Context(), &audiencev1.DeleteWebhookRequest{Name: "webhooks/crm"})
	require.NoError(t, err)
	require.Equal(t, []string{"begin crm1", "changed", "changed", "forget crm"}, h.receivers.asked)
}

// TestAWebhookThatCannotBeginIsNotThere: it would miss what happens until it does.
func TestAWebhookThatCannotBeginIsNotThere(t *testing.T) {
	h := start(t, server.Config{})
	h.receivers.fault = &audience.UnavailableError{What: "clickhouse", RetryAfter: time.Second, Err: errors.New("away")}
	client := audiencev1.NewWebhookServiceClient(h.conn)
	webhook := hook()
	webhook.Segments = nil
	request := &audiencev1.CreateWebhookRequest{WebhookId: "crm", Webhook: webhook, RequestId: uuid.NewString()}
	_, err := client.CreateWebhook(t.Context(), request)
	requireStatus(t, err, codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE)
	h.receivers.fault = nil
	_, err = client.CreateWebhook(t.Context(), request)
	require.NoError(t, err)
}

func TestBadWebhooks(t *testing.T) {
	h := start(t, server.Config{})
	client := audiencev1.NewWebhookServiceClient(h.conn)
	for name, c := range map[string]struct {
		spoil func(*audiencev1.Webhook)
		field string
	}{
		"in the clear":        {func(w *audiencev1.Webhook) { w.Url = "http://crm.example.com" }, "webhook.url"},
		"a secret in the URL": {func(w *audiencev1.Webhook) { w.Url += "?token=1" }, "webhook.url"},
		"no URL":              {func(w *audiencev1.Webhook) { w.Url = "" }, "webhook.url"},
		"a path as secret":    {func(w *audiencev1.Webhook) { w.Secret = "../token" }, "webhook.secret"},
		"no secret":           {func(w *audiencev1.Webhook) { w.Secret = "" }, "webhook.secret"},
		"a negative batch":    {func(w *audiencev1.Webhook) { w.BatchSize = -1 }, "webhook.batch_size"},
		"a large batch":       {func(w *audiencev1.Webhook) { w.BatchSize = 1001 }, "webhook.batch_size"},
		"too patient":         {func(w *audiencev1.Webhook) { w.Timeout = durationpb.New(time.Hour) }, "webhook.timeout"},
		"no duration":         {func(w *audiencev1.Webhook) { w.Timeout = &durationpb.Duration{Seconds: 1, Nanos: -1} }, "webhook.timeout"},
		"too many attempts":   {func(w *audiencev1.Webhook) { w.MaxAttempts = 101 }, "webhook.max_attempts"},
		"an unknown segment":  {func(w *audiencev1.Webhook) {}, "webhook.segments[0]"},
		"no segment's name":   {func(w *audiencev1.Webhook) { w.Segments = []string{"vip"} }, "webhook.segments[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			webhook := hook()
			c.spoil(webhook)
			_, err := client.CreateWebhook(t.Context(), &audiencev1.CreateWebhookRequest{WebhookId: "crm", Webhook: webhook})
			d := requireStatus(t, err, codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_INVALID_FIELD)
			require.Equal(t, c.field, d.bad.GetFieldViolations()[0].GetField())
		})
	}
}

func TestDeadLetters(t *testing.T) {
	h := start(t, server.Config{})
	client := audiencev1.NewWebhookServiceClient(h.conn)
	webhook := hook()
	webhook.Segments = nil
	_, err := client.CreateWebhook(t.Context(), &audiencev1.CreateWebhookRequest{WebhookId: "crm", Webhook: webhook})
	require.NoError(t, err)
	for i, user := range []string{"a", "b/c", "d", "e", "f"} {
		h.receivers.letters = append(h.receivers.letters, audience.DeadLetter{
			ID: fmt.Sprint("id", i), User: audience.UserID(user), Version: uint64(1 + i/2), Change: []byte("{}"), Reason: "answered 400", Time: time.Unix(1, 0)})
	}
	var users []string
	for token := ""; ; {
		page, err := client.ListDeadLetters(t.Context(), &audiencev1.ListDeadLettersRequest{Parent: "webhooks/crm", PageSize: 2, PageToken: token})
		require.NoError(t, err)
		for _, letter := range page.GetDeadLetters() {
			users = append(users, letter.GetUserId())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	require.Equal(t, []string{"a", "b/c", "d", "e", "f"}, users)

	sent, err := client.RedeliverDeadLetters(t.Context(), &audiencev1.RedeliverDeadLettersRequest{Parent: "webhooks/crm", Ids: []string{"id1"}})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(&audiencev1.RedeliverDeadLettersResponse{DeliveredCount: 1, RemainingCount: 4}, sent, protocmp.Transform()))
	h.receivers.refuse = "answered 500"
	sent, err = client.RedeliverDeadLetters(t.Context(), &audiencev1.RedeliverDeadLettersRequest{Parent: "webhooks/crm"})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(&audiencev1.RedeliverDeadLettersResponse{DeliveredCount: 1, RemainingCount: 3, Error: "answered 500"}, sent, protocmp.Transform()))

	drop := func(ids []string, all bool) (int64, error) {
		r, err := client.DropDeadLetters(t.Context(), &audiencev1.DropDeadLettersRequest{Parent: "webhooks/crm", Ids: ids, All: all})
		return r.GetDroppedCount(), err
	}
	for field, bad := range map[string]struct {
		ids []string
		all bool
	}{"all": {[]string{"id3"}, true}, "ids": {}, "ids ": {make([]string, 1001), false}} {
		_, err := drop(bad.ids, bad.all)
		d := requireStatus(t, err, codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_INVALID_FIELD)
		require.Contains(t, field, d.bad.GetFieldViolations()[0].GetField())
	}
	dropped, err := drop([]string{"id3", "none"}, false)
	require.NoError(t, err)
	require.EqualValues(t, 1, dropped)
	dropped, err = drop(nil, true)
	require.NoError(t, err)
	require.EqualValues(t, 2, dropped)
	_, err = client.ListDeadLetters(t.Context(), &audiencev1.ListDeadLettersRequest{Parent: "webhooks/none"})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
}
