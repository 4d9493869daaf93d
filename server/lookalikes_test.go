package server_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// CreateLookalike is a platform that makes lookalikes of whatever has an id there, each ratio once.
func (w *world) CreateLookalike(ctx context.Context, l audience.Lookalike) (string, error) {
	source, err := w.audiences.Get(ctx, string(l.Source))
	switch {
	case err != nil:
		return "", err
	case source.PlatformID == "":
		return "", audience.Invalid("source", "was never synced; sync it first")
	case l.Ratio > 0.2:
		return "", audience.Invalid("ratio", "is %g; 0.01 to 0.20 are possible", l.Ratio)
	case w.unreachable != nil:
		return "", w.unreachable
	}
	w.made = append(w.made, l)
	return "like 2384", nil
}

func (w *world) Lookalike(context.Context, audience.Lookalike) (audience.LookalikeStatus, error) {
	return audience.LookalikeStatus{State: "too_small", Reason: "few", Remedy: "add members", Low: -1, High: 900}, nil
}

func (w *world) DeleteLookalike(context.Context, audience.Lookalike) error {
	return w.unreachable
}

func TestLookalikes(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.createAudience(t)
	create := func(id string, l *audiencev1.Lookalike) (*audiencev1.Lookalike, error) {
		r, err := h.destination.CreateLookalike(t.Context(), &audiencev1.CreateLookalikeRequest{LookalikeId: id, Lookalike: l})
		return r.GetLookalike(), err
	}
	like := func() *audiencev1.Lookalike {
		return &audiencev1.Lookalike{Source: "audiences/vip-meta", Places: []string{"PL"}, Ratio: 0.01, Size: audiencev1.Lookalike_SIZE_BROAD, MobileOs: audiencev1.Lookalike_MOBILE_OS_IOS}
	}
	_, err := create("like", like())
	requireInvalid(t, err, "lookalike.source")
	stored, err := h.audiences.Get(t.Context(), "vip-meta")
	require.NoError(t, err)
	stored.PlatformID = "2384"
	_, err = h.audiences.Update(t.Context(), stored)
	require.NoError(t, err)

	for name, test := range map[string]struct {
		id     string
		like   *audiencev1.Lookalike
		fields []string
	}{
		"nothing":            {"like", nil, []string{"lookalike"}},
		"a bad id":           {"Like", like(), []string{"lookalike_id"}},
		"of no audience":     {"like", &audiencev1.Lookalike{Source: "segments/vip", Ratio: -1}, []string{"lookalike.source", "lookalike.ratio"}},
		"of one that is not": {"like", &audiencev1.Lookalike{Source: "audiences/none"}, []string{"lookalike.source"}},
		"too large":          {"like", &audiencev1.Lookalike{Source: "audiences/vip-meta", Ratio: 0.5}, []string{"lookalike.ratio"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := create(test.id, test.like)
			requireInvalid(t, err, test.fields...)
		})
	}
	h.unreachable = &audience.UnavailableError{What: "meta", RetryAfter: 7}
	_, err = create("like", like())
	requireStatus(t, err, codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE)
	h.unreachable = nil

	made, err := create("like", like())
	require.NoError(t, err)
	require.Equal(t, "like 2384", made.GetPlatformId())
	require.Equal(t, audience.Lookalike{ID: "like", Source: "vip-meta", Places: []string{"PL"}, Ratio: 0.01, Size: "broad", MobileOS: "ios"}, h.made[len(h.made)-1])
	_, err = create("like", like())
	requireStatus(t, err, codes.AlreadyExists, audiencev1.ErrorReason_ERROR_REASON_ALREADY_EXISTS)
	_, err = create("alike", like())
	d := requireStatus(t, err, codes.AlreadyExists, audiencev1.ErrorReason_ERROR_REASON_ALREADY_EXISTS)
	require.Equal(t, "lookalikes/like", d.resource.GetResourceName(), "the platform makes no two alike")

	got, err := h.destination.GetLookalike(t.Context(), &audiencev1.GetLookalikeRequest{Name: "lookalikes/like"})
	require.NoError(t, err)
	require.Equal(t, audiencev1.Lookalike_STATE_TOO_SMALL, got.GetLookalike().GetState())
	require.Nil(t, got.GetLookalike().PeopleLow)
	require.Equal(t, int64(900), got.GetLookalike().GetPeopleHigh())
	list, err := h.destination.ListLookalikes(t.Context(), &audiencev1.ListLookalikesRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetLookalikes(), 1)

	_, err = h.destination.DeleteAudience(t.Context(), &audiencev1.DeleteAudienceRequest{Name: "audiences/vip-meta"})
	d = requireStatus(t, err, codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION)
	require.Equal(t, "lookalikes/like", d.precondition.GetViolations()[0].GetSubject())
	_, err = h.destination.DeleteLookalike(t.Context(), &audiencev1.DeleteLookalikeRequest{Name: "lookalikes/like", Etag: "stale"})
	requireStatus(t, err, codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT)
	_, err = h.destination.DeleteLookalike(t.Context(), &audiencev1.DeleteLookalikeRequest{Name: "lookalikes/like", Etag: made.GetEtag()})
	require.NoError(t, err)
	_, err = h.destination.GetLookalike(t.Context(), &audiencev1.GetLookalikeRequest{Name: "lookalikes/like"})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
}
