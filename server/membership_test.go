package server_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

func TestMembership(t *testing.T) {
	h := start(t, server.Config{})
	for _, id := range []string{"vip", "lapsed"} {
		h.createSegment(t, id, "rfm:rfm")
	}
	h.memberships["u1"] = []audience.Number{1, 2}
	h.memberships["u2"] = []audience.Number{2}
	h.memberships["u3"] = []audience.Number{2, 99} // 99 was deleted and not evaluated away yet

	get, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1"})
	require.NoError(t, err)
	require.Equal(t, []string{"segments/vip", "segments/lapsed"}, get.GetMembership().GetSegments())
	require.EqualValues(t, 42, get.GetMembership().GetVersion())

	batch, err := h.membership.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: []string{"u2", "nobody", "u3", "u2"}})
	require.NoError(t, err)
	var got []string
	for _, m := range batch.GetMemberships() {
		got = append(got, m.GetUserId()+" "+strings.Join(m.GetSegments(), ","))
	}
	require.Equal(t, []string{"u2 segments/lapsed", "nobody ", "u3 segments/lapsed", "u2 segments/lapsed"}, got)

	for user, member := range map[string]bool{"u1": true, "u2": false, "nobody": false} {
		check, err := h.membership.CheckMembership(t.Context(), &audiencev1.CheckMembershipRequest{UserId: user, Segment: "segments/vip"})
		require.NoError(t, err)
		require.Equal(t, member, check.GetMember(), user)
	}
	_, err = h.membership.CheckMembership(t.Context(), &audiencev1.CheckMembershipRequest{UserId: "u1", Segment: "segments/none"})
	d := requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
	require.Equal(t, "segments/none", d.resource.GetResourceName())
}

func TestMembershipFollowsTheDefinitionsInForceAtOnce(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.memberships["u1"] = []audience.Number{1, 2}
	segmentsOf := func() []string {
		get, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1"})
		require.NoError(t, err)
		return get.GetMembership().GetSegments()
	}
	require.Equal(t, []string{"segments/vip"}, segmentsOf(), "nothing has the number 2 yet")
	_, err := h.segments.Create(t.Context(), audience.Segment{ID: "new"}) // whoever brought it into force
	require.NoError(t, err)
	require.Equal(t, []string{"segments/vip", "segments/new"}, segmentsOf())
}

// TestReadsAcrossATurnAreMadeAgain: what was read while other definitions came into force may be of both.
func TestReadsAcrossATurnAreMadeAgain(t *testing.T) {
	for name, segmentsOf := range map[string]func(h *harness) ([]string, error){
		"one": func(h *harness) ([]string, error) {
			r, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1"})
			return r.GetMembership().GetSegments(), err
		},
		"many": func(h *harness) ([]string, error) {
			r, err := h.membership.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: []string{"u1"}})
			if err != nil {
				return nil, err
			}
			return r.GetMemberships()[0].GetSegments(), nil
		},
		"not over gRPC": func(h *harness) ([]string, error) { return h.own.SegmentsOf(t.Context(), "u1") },
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, server.Config{})
			h.createSegment(t, "vip", "x")
			h.memberships["u1"] = nil
			h.reading = func() { // the first read sees nothing of what the new definitions put on record just then
				h.turns.Add(1)
				h.memberships["u1"] = []audience.Number{1}
			}
			segments, err := segmentsOf(h)
			require.NoError(t, err)
			require.Equal(t, []string{"segments/vip"}, segments)
		})
	}
}

func TestMembershipWhileTheResourcesAreAway(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.memberships["u1"] = []audience.Number{1}
	h.segments.fail(&audience.UnavailableError{What: "clickhouse", RetryAfter: time.Second, Err: errors.New("refused")})
	get, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1"})
	require.NoError(t, err, "names are known")
	require.Equal(t, []string{"segments/vip"}, get.GetMembership().GetSegments())
}

func TestAWipedProjectionIsNeverNotAMember(t *testing.T) {
	h := start(t, server.Config{})
	h.createSegment(t, "vip", "x")
	h.fail(&audience.UnavailableError{What: "membership in redis", RetryAfter: time.Second})
	_, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: "u1"})
	requireStatus(t, err, codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE)
	_, err = h.membership.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: []string{"u1"}})
	requireStatus(t, err, codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE)
	_, err = h.membership.CheckMembership(t.Context(), &audiencev1.CheckMembershipRequest{UserId: "u1", Segment: "segments/vip"})
	requireStatus(t, err, codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE)
}

func TestBadUsers(t *testing.T) {
	h := start(t, server.Config{})
	for name, user := range map[string]string{
		"empty": "", "10,000 bytes": strings.Repeat("u", 10_000), "NUL": "a\x00b", "control": "a\nb", "delete": "a\x7f", "C1 control": "a\u0085",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.membership.GetMembership(t.Context(), &audiencev1.GetMembershipRequest{UserId: user})
			requireInvalid(t, err, "user_id")
			_, err = h.membership.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: []string{"u1", user}})
			requireInvalid(t, err, "user_ids[1]")
			_, err = h.segment.EvaluateSegments(t.Context(), &audiencev1.EvaluateSegmentsRequest{UserIds: []string{user}})
			requireInvalid(t, err, "user_ids[0]")
		})
	}
	_, err := h.membership.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{})
	requireInvalid(t, err, "user_ids")
	_, err = h.membership.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: users(1001)})
	requireInvalid(t, err, "user_ids")
	all, err := h.membership.BatchGetMembership(t.Context(), &audiencev1.BatchGetMembershipRequest{UserIds: users(1000)})
	require.NoError(t, err)
	require.Len(t, all.GetMemberships(), 1000)
}

func users(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("u%05d", i)
	}
	return out
}

// BenchmarkGetMembership is the cost of the door, beside an empty call on the same server: the memberships behind it are a
// map. 50 callers.
func BenchmarkGetMembership(b *testing.B) {
	h := start(b, server.Config{})
	_, err := h.segments.Create(b.Context(), audience.Segment{ID: "vip"})
	require.NoError(b, err)
	h.memberships["u1"] = []audience.Number{1}
	calls := map[string]func() error{
		"empty": func() error {
			_, err := healthv1.NewHealthClient(h.conn).Check(b.Context(), &healthv1.HealthCheckRequest{})
			return err
		},
		"lookup": func() error {
			_, err := h.membership.GetMembership(b.Context(), &audiencev1.GetMembershipRequest{UserId: "u1"})
			return err
		},
	}
	for _, name := range []string{"empty", "lookup", "empty", "lookup", "empty", "lookup"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(50 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := calls[name](); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
