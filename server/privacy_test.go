package server_test

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

// office keeps who was erased and stopped, and who did what.
type office struct {
	mu      sync.Mutex
	erased  map[audience.UserID]bool
	stops   []audience.Stop
	stored  []audience.Stored
	actions []audience.Action
	away    error // of the audit, when set
	health  audience.Health
	looks   int
}

func (o *office) Health(audience.Destination) audience.Health { return o.health }

func (o *office) Check(context.Context, audience.Destination) audience.Health {
	o.health.Checked = time.Unix(7, 0)
	return o.health
}

func (o *office) Look() { o.looks++ }

func (o *office) Erased(user audience.UserID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.erased[user]
}

func (o *office) Erase(_ context.Context, user audience.UserID) (audience.Run, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.erased = map[audience.UserID]bool{user: true}
	return audience.Run{ID: audience.RunID(uuid.NewString()), Kind: audience.RunErase, Subject: "erasures/0123456789abcdef", State: audience.RunRunning}, nil
}

func (o *office) Readmit(_ context.Context, user audience.UserID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.erased[user] {
		return &audience.ResourceError{Kind: audience.ErrNotFound, Name: "erasures/0123456789abcdef"}
	}
	delete(o.erased, user)
	return nil
}

func (o *office) Stored(context.Context, audience.UserID) iter.Seq2[audience.Stored, error] {
	return func(yield func(audience.Stored, error) bool) {
		for _, stored := range o.stored {
			if !yield(stored, nil) {
				return
			}
		}
	}
}

func (o *office) Stop(_ context.Context, stops []audience.Stop) error {
	o.stops = append(o.stops, stops...)
	return nil
}

func (o *office) RecordAction(_ context.Context, action audience.Action) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.actions = append(o.actions, action)
	return o.away
}

func (o *office) Actions(_ context.Context, actor, resource, before string, limit int) (found []audience.Action, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range slices.SortedFunc(slices.Values(o.actions), func(a, b audience.Action) int { return cmp.Compare(b.ID, a.ID) }) {
		if (actor == "" || a.Actor == actor) && (resource == "" || a.Resource == resource) && (before == "" || a.ID < before) && len(found) < limit {
			found = append(found, a)
		}
	}
	return found, nil
}

// TestAnErasedUserIsRefused in whatever way she comes back, row by row, until the id is readmitted.
func TestAnErasedUserIsRefused(t *testing.T) {
	h := start(t, server.Config{})
	privacy, ingest := audiencev1.NewPrivacyServiceClient(h.conn), h.ingest
	erased, err := privacy.EraseUser(t.Context(), &audiencev1.EraseUserRequest{UserId: "ann"})
	require.NoError(t, err)
	require.Equal(t, audiencev1.Run_KIND_ERASE, erased.GetRun().GetKind())

	events := []*audiencev1.Event{purchase("ann", "1"), purchase("bob", "1")}
	taken, err := ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: events})
	require.NoError(t, err)
	require.Equal(t, []int32{1, 1}, []int32{taken.GetAcceptedCount(), taken.GetInvalidCount()})
	require.Equal(t, "user_id", taken.GetResults()[0].GetViolations()[0].GetField())
	stream, err := ingest.StreamEvents(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&audiencev1.StreamEventsRequest{Events: []*audiencev1.Event{purchase("ann", "2")}}))
	acknowledged, err := stream.Recv()
	require.NoError(t, err)
	require.Len(t, acknowledged.GetRefused(), 1)
	profiles, err := ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: []*audiencev1.ProfileUpdate{{UserId: "ann"}, {UserId: "bob"}}})
	require.NoError(t, err)
	require.Equal(t, []int32{1, 1}, []int32{profiles.GetAcceptedCount(), profiles.GetInvalidCount()})
	consent := &audiencev1.SetConsentRequest{UserId: "ann", Consents: []*audiencev1.Consent{{Purpose: "advertising", Granted: true}}}
	_, err = ingest.SetConsent(t.Context(), consent)
	requireInvalid(t, err, "user_id")
	_, err = privacy.StopUser(t.Context(), &audiencev1.StopUserRequest{UserId: "ann"})
	requireInvalid(t, err, "user_id")

	_, err = privacy.ReadmitUser(t.Context(), &audiencev1.ReadmitUserRequest{UserId: "ann"})
	require.NoError(t, err)
	_, err = ingest.SetConsent(t.Context(), consent)
	require.NoError(t, err)
	_, err = privacy.ReadmitUser(t.Context(), &audiencev1.ReadmitUserRequest{UserId: "ann"})
	requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
}

func TestStops(t *testing.T) {
	w := start(t, server.Config{})
	w.ahead = 10 * time.Hour
	vip, err := w.audiences.Create(t.Context(), audience.Audience{ID: "vip"})
	require.NoError(t, err)
	privacy := audiencev1.NewPrivacyServiceClient(w.conn)
	tomorrow := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	for name, test := range map[string]struct {
		request *audiencev1.StopUserRequest
		fields  []string
		want    []audience.Stop
	}{
		"of all audiences": {request: &audiencev1.StopUserRequest{}, want: []audience.Stop{{User: "ann", Reason: "crm"}}},
		"of one, for a time": {request: &audiencev1.StopUserRequest{Audiences: []string{"audiences/vip"}, Reason: "purchase", ExpireTime: timestamppb.New(tomorrow)},
			want: []audience.Stop{{User: "ann", Audience: vip.Number, Reason: "purchase", Until: tomorrow}}},
		"an audience there is not":     {request: &audiencev1.StopUserRequest{Audiences: []string{"audiences/vip", "audiences/none", "segments/vip"}}, fields: []string{"audiences[1]", "audiences[2]"}},
		"a story":                      {request: &audiencev1.StopUserRequest{Reason: "She called us."}, fields: []string{"reason"}},
		"the reason of erasures":       {request: &audiencev1.StopUserRequest{Reason: "erased"}, fields: []string{"reason"}},
		"ended by the service's clock": {request: &audiencev1.StopUserRequest{ExpireTime: timestamppb.New(time.Now().Add(time.Hour))}, fields: []string{"expire_time"}},
		"ended already":                {request: &audiencev1.StopUserRequest{ExpireTime: timestamppb.New(time.Unix(1, 0))}, fields: []string{"expire_time"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.office.stops = nil
			test.request.UserId = "ann"
			_, err := privacy.StopUser(t.Context(), test.request)
			if test.fields != nil {
				requireInvalid(t, err, test.fields...)
				require.Empty(t, w.office.stops, "half a stop is none")
				return
			}
			require.NoError(t, err)
			for i := range w.office.stops {
				require.WithinDuration(t, time.Now().Add(w.ahead), w.office.stops[i].Time, time.Minute)
				w.office.stops[i].Time = time.Time{}
			}
			require.Equal(t, test.want, w.office.stops)
		})
	}
	w.office.stops = nil
	_, err = privacy.ResumeUser(t.Context(), &audiencev1.ResumeUserRequest{UserId: "ann", Audiences: []string{"audiences/vip"}})
	require.NoError(t, err)
	require.Equal(t, vip.Number, w.office.stops[0].Audience)
	require.Empty(t, w.office.stops[0].Reason)
}

// TestAudit: what was done, by whom, to what; no read, no failure, no user.
func TestAudit(t *testing.T) {
	w := start(t, server.Config{})
	audiences, segments, privacy := w.destination, w.segment, audiencev1.NewPrivacyServiceClient(w.conn)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-kohorta-actor", "ops@night")
	_, err := segments.CreateSegment(ctx, &audiencev1.CreateSegmentRequest{SegmentId: "vip", Segment: &audiencev1.Segment{Expression: "true"}})
	require.NoError(t, err)
	_, err = segments.UpdateSegment(t.Context(), &audiencev1.UpdateSegmentRequest{Segment: &audiencev1.Segment{Name: "segments/vip", Title: "VIP"}})
	require.NoError(t, err)
	_, err = segments.GetSegment(ctx, &audiencev1.GetSegmentRequest{Name: "segments/vip"})
	require.NoError(t, err)
	_, err = audiences.DeleteAudience(ctx, &audiencev1.DeleteAudienceRequest{Name: "audiences/none"})
	require.Error(t, err)
	run, err := privacy.EraseUser(ctx, &audiencev1.EraseUserRequest{UserId: "personal"})
	require.NoError(t, err)
	_, err = privacy.StopUser(ctx, &audiencev1.StopUserRequest{UserId: "personal too"})
	require.NoError(t, err)
	_, err = w.membership.MoveUser(ctx, &audiencev1.MoveUserRequest{UserId: "personal too", Into: []string{"segments/vip"}, Actor: "crm", RequestId: "17"})
	require.NoError(t, err)
	_, err = segments.DeleteSegment(ctx, &audiencev1.DeleteSegmentRequest{Name: "segments/vip"})
	require.NoError(t, err)

	list := func(request *audiencev1.ListAuditRequest) (lines []string) {
		for {
			page, err := privacy.ListAudit(t.Context(), request)
			require.NoError(t, err)
			for _, e := range page.GetEntries() {
				require.WithinDuration(t, time.Now(), e.GetTime().AsTime(), time.Minute)
				lines = append(lines, strings.Join([]string{e.GetActor(), e.GetCall(), e.GetResource(), e.GetRun(), e.GetRequestId()}, " | "))
			}
			if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
				slices.Reverse(lines)
				return lines
			}
		}
	}
	require.Equal(t, []string{
		"ops@night | SegmentService.CreateSegment | segments/vip |  | ",
		" | SegmentService.UpdateSegment | segments/vip |  | ",
		"ops@night | PrivacyService.EraseUser | erasures/0123456789abcdef | " + run.GetRun().GetName() + " | ",
		"ops@night | PrivacyService.StopUser |  |  | ",
		"crm | MembershipService.MoveUser | segments/vip |  | 17",
		"ops@night | SegmentService.DeleteSegment | segments/vip |  | ",
	}, list(&audiencev1.ListAuditRequest{PageSize: 2}))
	require.Len(t, list(&audiencev1.ListAuditRequest{Actor: "crm"}), 1)
	require.Len(t, list(&audiencev1.ListAuditRequest{Resource: "segments/vip"}), 4)

	w.office.away = errors.New("clickhouse is away")
	_, err = privacy.StopUser(ctx, &audiencev1.StopUserRequest{UserId: "ann"})
	require.NoError(t, err, "the call is done")
}

// TestExport: everything that is stored has its message.
func TestExport(t *testing.T) {
	w := start(t, server.Config{})
	segment, err := w.segments.Create(t.Context(), audience.Segment{ID: "vip"})
	require.NoError(t, err)
	target, err := w.audiences.Create(t.Context(), audience.Audience{ID: "vip-meta"})
	require.NoError(t, err)
	digest := audience.Identifier{Scheme: "meta:EMAIL", Value: strings.Repeat("\xff", 32)}
	membership := audience.Membership{User: "ann", Segments: []audience.Number{segment.Number}, Version: 3}
	w.office.stored = []audience.Stored{
		{Profile: &audience.Profile{Country: "PL", Texts: map[string]string{"plan": "gold"}, Numbers: map[string]float64{"age": 40}, Identifiers: []audience.Identifier{digest, {Scheme: "meta:MADID", Value: "38400000-8cf0-11bd-b23e-10b96e40000d"}}}},
		{Consent: &audience.Consent{Purpose: "advertising", Destination: "meta", Granted: true}},
		{Event: &audience.Event{User: "ann", ID: "1", Type: "purchase", ValueMicros: 5}},
		{Membership: &membership},
		{Change: &audience.Change{Membership: membership, Entered: []audience.Number{segment.Number}, Cause: "event"}},
		{Move: &audience.StoredMove{Move: audience.Move{Into: []audience.SegmentID{"vip"}, Reason: "sponsor"}}},
		{Delivery: &audience.StoredDelivery{Audience: target.Number, Delivery: audience.Delivery{State: audience.DeliveryDelivered, Identifiers: []audience.Identifier{digest}, Value: 2.5}}},
		{Stop: &audience.Stop{Reason: "crm"}},
		{Other: &audience.StoredRow{Table: "scores", Columns: map[string]string{"r": "5"}}},
	}
	stream, err := audiencev1.NewPrivacyServiceClient(w.conn).ExportUser(t.Context(), &audiencev1.ExportUserRequest{UserId: "ann"})
	require.NoError(t, err)
	var got []*audiencev1.ExportUserResponse
	for range w.office.stored {
		message, err := stream.Recv()
		require.NoError(t, err)
		require.NotNil(t, message.GetRecord())
		got = append(got, message)
	}
	identifiers := got[0].GetProfile().GetIdentifiers()
	require.Equal(t, strings.Repeat("ff", 32), identifiers[0].GetValue())
	require.Equal(t, "38400000-8cf0-11bd-b23e-10b96e40000d", identifiers[1].GetValue())
	require.Equal(t, "gold", got[0].GetProfile().GetAttributes()["plan"].GetText())
	require.Equal(t, "destinations/meta", got[1].GetConsent().GetDestination())
	require.Equal(t, int64(5), got[2].GetEvent().GetValueMicros())
	require.Equal(t, []string{"segments/vip"}, got[3].GetMembership().GetSegments())
	require.Equal(t, []string{"segments/vip"}, got[4].GetChange().GetEntered())
	require.Equal(t, []string{"segments/vip"}, got[5].GetMove().GetInto())
	require.Equal(t, "audiences/vip-meta", got[6].GetDelivery().GetAudience())
	require.InDelta(t, 2.5, got[6].GetDelivery().GetValue(), 0)
	require.Empty(t, got[7].GetStop().GetAudience(), "all of them")
	require.Equal(t, "5", got[8].GetOther().GetColumns()["r"])
	_, err = stream.Recv()
	require.Error(t, err)
}
