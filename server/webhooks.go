package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// Bounds of webhooks.
const (
	maxWebhookSegments = 1000
	maxDeadLetters     = 1000 // named in one call
)

// webhookService keeps webhooks and their dead letters.
type webhookService struct {
	audiencev1.UnsafeWebhookServiceServer
	kind[audience.Webhook, *audiencev1.Webhook]
	receivers Receivers
	repeats   *repeats
}

func newWebhookService(deps Deps, repeats *repeats, writing *sync.Mutex) *webhookService {
	return &webhookService{receivers: deps.Receivers, repeats: repeats, kind: kind[audience.Webhook, *audiencev1.Webhook]{
		collection: webhooksCollection, field: "webhook", store: deps.Webhooks, writing: writing,
		id:    func(w audience.Webhook) string { return string(w.ID) },
		meta:  func(w *audience.Webhook) *audience.Meta { return &w.Meta },
		make:  func(id string) audience.Webhook { return audience.Webhook{ID: audience.WebhookID(id)} },
		write: writeWebhook, read: readWebhook,
		check: func(ctx context.Context, after audience.Webhook, _ *audience.Webhook) error {
			var v audience.Violations
			for i, id := range after.Segments {
				if _, err := deps.Segments.Get(ctx, string(id)); !v.Merge("", missing("segments["+strconv.Itoa(i)+"]", err)) {
					return err
				}
			}
			return v.Err()
		},
		users: func(context.Context, audience.Webhook) ([]string, error) { return nil, nil },
		fixed: map[string]bool{"name": true, "etag": true, "create_time": true, "update_time": true, "status": true},
	}}
}

func (s *webhookService) CreateWebhook(ctx context.Context, req *audiencev1.CreateWebhookRequest) (*audiencev1.CreateWebhookResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.CreateWebhookResponse, error) {
		created, err := s.create(ctx, req.GetWebhookId(), req.GetWebhook())
		if err != nil {
			return nil, err
		}
		webhook, err := s.store.Get(ctx, req.GetWebhookId())
		if err == nil {
			err = s.receivers.Begin(ctx, webhook)
		}
		if err != nil { // it would miss what happens until it begins by itself
			return nil, errors.Join(fmt.Errorf("begin %s: %w", created.GetName(), err), s.store.Delete(ctx, req.GetWebhookId(), ""))
		}
		s.receivers.Changed()
		return &audiencev1.CreateWebhookResponse{Webhook: created}, nil
	})
}

func (s *webhookService) GetWebhook(ctx context.Context, req *audiencev1.GetWebhookRequest) (*audiencev1.GetWebhookResponse, error) {
	webhook, err := s.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	statuses, err := s.receivers.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	message := writeWebhook(webhook)
	message.Status = writeWebhookStatus(webhook, statuses[webhook.Number])
	return &audiencev1.GetWebhookResponse{Webhook: message}, nil
}

func (s *webhookService) ListWebhooks(ctx context.Context, req *audiencev1.ListWebhooksRequest) (*audiencev1.ListWebhooksResponse, error) {
	webhooks, next, err := s.page(ctx, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	statuses, err := s.receivers.Statuses(ctx)
	if err != nil {
		return nil, err
	}
	out := &audiencev1.ListWebhooksResponse{NextPageToken: next}
	for _, webhook := range webhooks {
		message := writeWebhook(webhook)
		message.Status = writeWebhookStatus(webhook, statuses[webhook.Number])
		out.Webhooks = append(out.Webhooks, message)
	}
	return out, nil
}

func (s *webhookService) UpdateWebhook(ctx context.Context, req *audiencev1.UpdateWebhookRequest) (*audiencev1.UpdateWebhookResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.UpdateWebhookResponse, error) {
		changed, err := s.update(ctx, req.GetWebhook(), req.GetUpdateMask())
		s.receivers.Changed()
		return &audiencev1.UpdateWebhookResponse{Webhook: changed}, err
	})
}

func (s *webhookService) DeleteWebhook(ctx context.Context, req *audiencev1.DeleteWebhookRequest) (*audiencev1.DeleteWebhookResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.DeleteWebhookResponse, error) {
		webhook, err := s.find(ctx, "name", req.GetName())
		if err == nil {
			err = s.delete(ctx, req.GetName(), req.GetEtag())
		}
		if err != nil {
			return nil, err
		}
		return &audiencev1.DeleteWebhookResponse{}, s.receivers.Forget(ctx, webhook)
	})
}

func (s *webhookService) ListDeadLetters(ctx context.Context, req *audiencev1.ListDeadLettersRequest) (*audiencev1.ListDeadLettersResponse, error) {
	webhook, err := s.find(ctx, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.GetPageSize(), req.GetPageToken(), "dead letters", req.GetParent())
	if err != nil {
		return nil, err
	}
	// A place is written as 17/user.
	place := func(letter audience.DeadLetter) string {
		return strconv.FormatUint(letter.Version, 10) + "/" + string(letter.User)
	}
	digits, user, _ := strings.Cut(p.after, "/")
	version, _ := strconv.ParseUint(digits, 10, 64) // of a token of this list, or 0
	letters, err := s.receivers.DeadLetters(ctx, webhook, version, audience.UserID(user), p.size+1)
	if err != nil {
		return nil, err
	}
	letters, next := cut(p, letters, place)
	out := &audiencev1.ListDeadLettersResponse{NextPageToken: next}
	for _, letter := range letters {
		out.DeadLetters = append(out.DeadLetters, &audiencev1.DeadLetter{
			Id: letter.ID, UserId: string(letter.User), Change: string(letter.Change), Reason: letter.Reason, Time: timestampOf(letter.Time),
		})
	}
	return out, nil
}

func (s *webhookService) RedeliverDeadLetters(ctx context.Context, req *audiencev1.RedeliverDeadLettersRequest) (*audiencev1.RedeliverDeadLettersResponse, error) {
	webhook, err := s.deadLettersOf(ctx, req)
	if err != nil {
		return nil, err
	}
	delivered, refused, err := s.receivers.Redeliver(ctx, webhook, req.GetIds())
	if err != nil {
		return nil, err
	}
	statuses, err := s.receivers.Statuses(ctx)
	return &audiencev1.RedeliverDeadLettersResponse{
		DeliveredCount: int64(delivered), Error: refused, RemainingCount: statuses[webhook.Number].DeadLetters,
	}, err
}

func (s *webhookService) DropDeadLetters(ctx context.Context, req *audiencev1.DropDeadLettersRequest) (*audiencev1.DropDeadLettersResponse, error) {
	webhook, err := s.deadLettersOf(ctx, req)
	if err != nil {
		return nil, err
	}
	ids := req.GetIds()
	switch {
	case req.GetAll() && len(ids) > 0:
		return nil, audience.Invalid("all", "does not go with ids; name those to drop, or say all")
	case req.GetAll():
		ids = nil
	case len(ids) == 0:
		return nil, audience.Invalid("ids", "is empty; name those to drop, or say all")
	}
	dropped, err := s.receivers.Drop(ctx, webhook, ids)
	return &audiencev1.DropDeadLettersResponse{DroppedCount: dropped}, err
}

// deadLettersOf reads the webhook of a request that names dead letters.
func (s *webhookService) deadLettersOf(ctx context.Context, req interface {
	GetParent() string
	GetIds() []string
}) (audience.Webhook, error) {
	if len(req.GetIds()) > maxDeadLetters {
		return audience.Webhook{}, audience.Invalid("ids", "has %d ids; at most %d are allowed, split them", len(req.GetIds()), maxDeadLetters)
	}
	return s.find(ctx, "parent", req.GetParent())
}

func writeWebhook(w audience.Webhook) *audiencev1.Webhook {
	message := &audiencev1.Webhook{
		Name: nameOf(webhooksCollection, w.ID), Title: w.Title, Url: w.URL, Secret: w.Secret,
		BatchSize: int32(w.Batch), MaxAttempts: int32(w.Attempts), Disabled: w.Disabled,
		Etag: w.Etag, CreateTime: timestampOf(w.CreateTime), UpdateTime: timestampOf(w.UpdateTime),
	}
	for _, id := range w.Segments {
		message.Segments = append(message.Segments, nameOf(segmentsCollection, id))
	}
	if w.Timeout > 0 {
		message.Timeout = durationpb.New(w.Timeout)
	}
	return message
}

func writeWebhookStatus(webhook audience.Webhook, status audience.WebhookStatus) *audiencev1.WebhookStatus {
	state := audiencev1.WebhookStatus_STATE_OK
	switch {
	case webhook.Disabled:
		state = audiencev1.WebhookStatus_STATE_DISABLED
	case status.Remedy != "":
		state = audiencev1.WebhookStatus_STATE_WAITING
	case status.Attempts > 0:
		state = audiencev1.WebhookStatus_STATE_RETRYING
	}
	message := &audiencev1.WebhookStatus{
		State: state, Remedy: status.Remedy,
		LastSuccessTime: timestampOf(status.Delivered), LastErrorTime: timestampOf(status.Failed), LastError: status.Error,
		FailedAttempts: int32(status.Attempts), DeadLetterCount: status.DeadLetters,
	}
	if status.Following {
		message.Lag = durationpb.New(status.Lag.Round(time.Millisecond))
	}
	return message
}

func readWebhook(into *audience.Webhook, message *audiencev1.Webhook) error {
	var v audience.Violations
	into.Title, into.URL, into.Secret, into.Disabled = message.GetTitle(), message.GetUrl(), message.GetSecret(), message.GetDisabled()
	into.Batch, into.Attempts, into.Timeout, into.Segments = int(message.GetBatchSize()), int(message.GetMaxAttempts()), 0, nil
	checkText(&v, "title", into.Title, maxTitleBytes)
	if message.GetTimeout() != nil {
		if err := message.GetTimeout().CheckValid(); err != nil {
			v.Add("timeout", "is not a duration; write one such as 10s")
		}
		into.Timeout = message.GetTimeout().AsDuration()
	}
	if len(message.GetSegments()) > maxWebhookSegments {
		v.Add("segments", "has %d names; at most %d are allowed, or none for all", len(message.GetSegments()), maxWebhookSegments)
		return v.Err()
	}
	for i, name := range message.GetSegments() {
		id, err := idOf("segments["+strconv.Itoa(i)+"]", segmentsCollection, name)
		v.Merge("", err)
		into.Segments = append(into.Segments, audience.SegmentID(id))
	}
	v.Merge("", into.Validate())
	return v.Err()
}
