package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/server"
)

var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

func purchase(user, id string) *audiencev1.Event {
	return &audiencev1.Event{UserId: user, EventId: id, Type: "purchase", Time: timestamppb.New(noon), ValueMicros: 5_000_000}
}

func text(s string) *audiencev1.PropertyValue {
	return &audiencev1.PropertyValue{Kind: &audiencev1.PropertyValue_Text{Text: s}}
}

func number(f float64) *audiencev1.PropertyValue {
	return &audiencev1.PropertyValue{Kind: &audiencev1.PropertyValue_Number{Number: f}}
}

func boolean(b bool) *audiencev1.PropertyValue {
	return &audiencev1.PropertyValue{Kind: &audiencev1.PropertyValue_Boolean{Boolean: b}}
}

func TestIngestEventsStoresWhatItWasTold(t *testing.T) {
	h := start(t, server.Config{Currency: "EUR"})
	event := purchase("u1", "e1")
	event.CurrencyCode = "EUR"
	event.Properties = map[string]*audiencev1.PropertyValue{"color": text("red"), "price": number(4.5), "gift": boolean(true), "used": boolean(false)}
	answer, err := h.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{event}})
	require.NoError(t, err)
	require.Equal(t, audiencev1.EventResult_STATUS_ACCEPTED, answer.GetResults()[0].GetStatus())
	require.Empty(t, cmp.Diff(audience.Event{
		User: "u1", ID: "e1", Type: "purchase", Time: noon, ValueMicros: 5_000_000,
		Texts: map[string]string{"color": "red", "gift": "true", "used": "false"}, Numbers: map[string]float64{"price": 4.5},
	}, h.events["u1\x00e1"]))
}

// badEvents are rows with their faults.
func badEvents() map[string]struct {
	change func(*audiencev1.Event)
	fields []string
} {
	return map[string]struct {
		change func(*audiencev1.Event)
		fields []string
	}{
		"no user":                     {func(e *audiencev1.Event) { e.UserId = "" }, []string{"user_id"}},
		"user of 10,000 bytes":        {func(e *audiencev1.Event) { e.UserId = strings.Repeat("u", 10_000) }, []string{"user_id"}},
		"user with a control":         {func(e *audiencev1.Event) { e.UserId = "u\x1b[31m" }, []string{"user_id"}},
		"user with NUL":               {func(e *audiencev1.Event) { e.UserId = "u\x00" }, []string{"user_id"}},
		"no event id":                 {func(e *audiencev1.Event) { e.EventId = "" }, []string{"event_id"}},
		"no type":                     {func(e *audiencev1.Event) { e.Type = "" }, []string{"type"}},
		"no time":                     {func(e *audiencev1.Event) { e.Time = nil }, []string{"time"}},
		"year 9999":                   {func(e *audiencev1.Event) { e.Time = timestamppb.New(noon.AddDate(7974, 0, 0)) }, []string{"time"}},
		"year 12025":                  {func(e *audiencev1.Event) { e.Time = timestamppb.New(noon.AddDate(10_000, 0, 0)) }, []string{"time"}},
		"before 1970":                 {func(e *audiencev1.Event) { e.Time = timestamppb.New(time.Unix(-1, 0)) }, []string{"time"}},
		"nanoseconds beyond a second": {func(e *audiencev1.Event) { e.Time = &timestamppb.Timestamp{Nanos: 2_000_000_000} }, []string{"time"}},
		"value beyond a billion":      {func(e *audiencev1.Event) { e.ValueMicros = math.MaxInt64 }, []string{"value_micros"}},
		"value as low as can be":      {func(e *audiencev1.Event) { e.ValueMicros = math.MinInt64 }, []string{"value_micros"}},
		"another currency":            {func(e *audiencev1.Event) { e.CurrencyCode = "EUR" }, []string{"currency_code"}},
		"NaN": {func(e *audiencev1.Event) {
			e.Properties = map[string]*audiencev1.PropertyValue{"price": number(math.NaN())}
		}, []string{"properties.price"}},
		"infinite": {func(e *audiencev1.Event) {
			e.Properties = map[string]*audiencev1.PropertyValue{"price": number(math.Inf(-1))}
		}, []string{"properties.price"}},
		"property without value": {func(e *audiencev1.Event) {
			e.Properties = map[string]*audiencev1.PropertyValue{"price": {}}
		}, []string{"properties.price"}},
		"all at once": {func(e *audiencev1.Event) {
			e.UserId, e.EventId, e.Type, e.Time, e.CurrencyCode = "", "", "", nil, "XXX"
		}, []string{"user_id", "event_id", "type", "time", "currency_code"}},
	}
}

func TestABadRowNeverCostsTheOthers(t *testing.T) {
	h := start(t, server.Config{})
	request := &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{purchase("u1", "first")}}
	var want [][]string
	for name, bad := range badEvents() {
		event := purchase("u1", name)
		bad.change(event)
		request.Events = append(request.Events, event)
		want = append(want, bad.fields)
	}
	request.Events = append(request.Events, purchase("u1", "first"), purchase("u1", "last"))
	answer, err := h.ingest.IngestEvents(t.Context(), request)
	require.NoError(t, err)

	results := answer.GetResults()
	require.Len(t, results, len(want)+3)
	require.Equal(t, audiencev1.EventResult_STATUS_ACCEPTED, results[0].GetStatus())
	for i, fields := range want {
		result := results[i+1]
		require.Equal(t, audiencev1.EventResult_STATUS_INVALID, result.GetStatus())
		var got []string
		for _, v := range result.GetViolations() {
			require.NotEmpty(t, v.GetDescription())
			got = append(got, v.GetField())
		}
		require.ElementsMatch(t, fields, got, request.GetEvents()[i+1].GetEventId())
	}
	require.Equal(t, audiencev1.EventResult_STATUS_DUPLICATE, results[len(want)+1].GetStatus())
	require.Equal(t, audiencev1.EventResult_STATUS_ACCEPTED, results[len(want)+2].GetStatus())
	require.Equal(t, []int32{2, 1, int32(len(want))}, []int32{answer.GetAcceptedCount(), answer.GetDuplicateCount(), answer.GetInvalidCount()})
	require.Len(t, h.events, 2)
}

func TestOnlyBadRowsAskNoStore(t *testing.T) {
	h := start(t, server.Config{})
	answer, err := h.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{{}}})
	require.NoError(t, err)
	require.EqualValues(t, 1, answer.GetInvalidCount())
	require.Empty(t, h.writes)
}

func TestSizesOfBatches(t *testing.T) {
	h := start(t, server.Config{})
	rows := func(n int, event *audiencev1.Event) *audiencev1.IngestEventsRequest {
		request := &audiencev1.IngestEventsRequest{}
		for range n {
			request.Events = append(request.Events, event)
		}
		return request
	}
	t.Run("empty", func(t *testing.T) {
		_, err := h.ingest.IngestEvents(t.Context(), rows(0, nil))
		requireInvalid(t, err, "events")
	})
	t.Run("10,000 rows", func(t *testing.T) {
		answer, err := h.ingest.IngestEvents(t.Context(), rows(10_000, purchase("u1", "e1")))
		require.NoError(t, err)
		require.Len(t, answer.GetResults(), 10_000)
		require.EqualValues(t, 9_999, answer.GetDuplicateCount())
	})
	t.Run("10,001 rows", func(t *testing.T) {
		_, err := h.ingest.IngestEvents(t.Context(), rows(10_001, purchase("u1", "e1")))
		require.Contains(t, requireInvalid(t, err, "events").message, "split it into batches of at most 10000")
	})
	t.Run("100 MB", func(t *testing.T) {
		event := purchase("u1", "e1")
		event.Properties = map[string]*audiencev1.PropertyValue{"a": text(strings.Repeat("x", 10_000))}
		_, err := h.ingest.IngestEvents(t.Context(), rows(10_000, event))
		d := requireStatus(t, err, codes.ResourceExhausted, audiencev1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE)
		require.Contains(t, d.message, "split it into batches of at most 10000 rows")
		require.NotNil(t, d.quota)
	})
	t.Run("100 MB in a stream", func(t *testing.T) {
		event := purchase("u1", "e1")
		event.Properties = map[string]*audiencev1.PropertyValue{"a": text(strings.Repeat("x", 10_000))}
		stream, err := h.ingest.StreamEvents(t.Context())
		require.NoError(t, err)
		_ = stream.Send(&audiencev1.StreamEventsRequest{Events: rows(10_000, event).GetEvents()}) // io.EOF once refused
		_, err = stream.Recv()
		requireStatus(t, err, codes.ResourceExhausted, audiencev1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE)
	})
	t.Run("empty profiles", func(t *testing.T) {
		_, err := h.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{})
		requireInvalid(t, err, "profiles")
	})
}

// rawCodec sends bytes as they are: a Go client refuses to send text that is not UTF-8, others do not.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)   { return v.([]byte), nil }
func (rawCodec) Unmarshal(b []byte, v any) error { return nil }
func (rawCodec) Name() string                    { return "proto" }

func TestUnreadableRequests(t *testing.T) {
	h := start(t, server.Config{})
	for name, body := range map[string][]byte{
		"user id not UTF-8": {0x0a, 0x02, 0xc3, 0x28},
		"cut off":           {0x0a, 0x7f, 'u'},
	} {
		t.Run(name, func(t *testing.T) {
			err := h.conn.Invoke(t.Context(), audiencev1.MembershipService_GetMembership_FullMethodName, body, new([]byte), forceCodec(rawCodec{}))
			d := requireStatus(t, err, codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_UNREADABLE_REQUEST)
			require.Contains(t, d.message, "texts must be UTF-8")
		})
	}
}

func TestRepeatedRequestGetsTheFirstAnswer(t *testing.T) {
	h := start(t, server.Config{})
	request := &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{purchase("u1", "e1"), {}}, RequestId: uuid.NewString()}
	first, err := h.ingest.IngestEvents(t.Context(), request)
	require.NoError(t, err)
	again, err := h.ingest.IngestEvents(t.Context(), request)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(first, again, protocmp.Transform()), "accepted still, not duplicate")
	require.Equal(t, []int{1}, h.writes)

	request.Events = request.Events[:1]
	_, err = h.ingest.IngestEvents(t.Context(), request)
	requireInvalid(t, err, "request_id")

	for _, id := range []string{"1", "not-a-uuid", uuid.Must(uuid.NewV7()).String(), "{" + uuid.NewString() + "}"} {
		request.RequestId = id
		_, err = h.ingest.IngestEvents(t.Context(), request)
		requireInvalid(t, err, "request_id")
	}
}

func TestConcurrentRepeatsDoWorkOnce(t *testing.T) {
	h := start(t, server.Config{})
	h.gate = make(chan struct{})
	request := &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{purchase("u1", "e1")}, RequestId: uuid.NewString()}
	answers := make(chan *audiencev1.IngestEventsResponse, 8)
	for range cap(answers) {
		go func() {
			answer, err := h.ingest.IngestEvents(t.Context(), request)
			if err != nil {
				t.Error(err)
			}
			answers <- answer
		}()
	}
	h.gate <- struct{}{} // one write; nobody else ever asks for another
	for range cap(answers) {
		require.EqualValues(t, 1, (<-answers).GetAcceptedCount())
	}
	require.Equal(t, []int{1}, h.writes)
}

func TestErrorsAreNotRemembered(t *testing.T) {
	h := start(t, server.Config{})
	request := &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{purchase("u1", "e1")}, RequestId: uuid.NewString()}
	h.fail(&audience.UnavailableError{What: "clickhouse", RetryAfter: 3 * time.Second})
	_, err := h.ingest.IngestEvents(t.Context(), request)
	requireStatus(t, err, codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE)
	h.fail(nil)
	answer, err := h.ingest.IngestEvents(t.Context(), request)
	require.NoError(t, err)
	require.EqualValues(t, 1, answer.GetAcceptedCount())
}

func TestStreamEvents(t *testing.T) {
	h := start(t, server.Config{})
	stream, err := h.ingest.StreamEvents(t.Context())
	require.NoError(t, err)
	const requests, rows = 50, 1000 // more than the window holds
	go func() {
		for i := range requests {
			request := &audiencev1.StreamEventsRequest{}
			for j := range rows {
				request.Events = append(request.Events, purchase("u1", fmt.Sprint(i*rows+j)))
			}
			request.Events[7].UserId = ""
			request.Events[8] = request.GetEvents()[9]
			if err := stream.Send(request); err != nil {
				t.Error(err)
			}
		}
		_ = stream.CloseSend()
	}()
	for i := range int64(requests) {
		answer, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, (i+1)*rows, answer.GetAcknowledgedRows(), "one answer a request, in order")
		require.EqualValues(t, rows-2, answer.GetAcceptedCount())
		require.EqualValues(t, 1, answer.GetDuplicateCount())
		require.Len(t, answer.GetRefused(), 1)
		require.Equal(t, i*rows+7, answer.GetRefused()[0].GetRow())
		require.Equal(t, "user_id", answer.GetRefused()[0].GetViolations()[0].GetField())
	}
	_, err = stream.Recv()
	require.ErrorIs(t, err, io.EOF)
	require.Less(t, len(h.writes), requests+1)
	require.Len(t, h.events, requests*(rows-2))
}

func TestStreamRequestsWrittenTogetherAreAnsweredApart(t *testing.T) {
	for pause := 50 * time.Millisecond; pause < time.Minute; pause *= 2 { // in which the others come, if the machine is quick enough
		if writes := streamWhileAWriteWaits(t, pause); slices.Equal(writes, []int{1, 7}) {
			return
		}
	}
	t.Fatal("requests that came together are not written together")
}

// streamWhileAWriteWaits streams one request, and three others while it is being written; it returns the events of each write.
func streamWhileAWriteWaits(t *testing.T, pause time.Duration) (writes []int) {
	t.Helper()
	h := start(t, server.Config{})
	h.gate = make(chan struct{})
	stream, err := h.ingest.StreamEvents(t.Context())
	require.NoError(t, err)
	send := func(ids ...string) {
		request := &audiencev1.StreamEventsRequest{}
		for _, id := range ids {
			request.Events = append(request.Events, purchase("u1", id))
		}
		require.NoError(t, stream.Send(request))
	}
	send("a")
	<-h.entered // and waits, while the others come
	send("b", "a")
	send("c")
	send("a", "b", "a", "d")
	require.NoError(t, stream.CloseSend())
	time.Sleep(pause)
	close(h.gate)
	for _, want := range [][3]int64{{1, 1, 0}, {3, 1, 1}, {4, 1, 0}, {8, 1, 3}} {
		answer, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, want, [3]int64{answer.GetAcknowledgedRows(), int64(answer.GetAcceptedCount()), int64(answer.GetDuplicateCount())})
	}
	return h.writes
}

func TestStreamSettlesWhatItTookBeforeItRefuses(t *testing.T) {
	h := start(t, server.Config{})
	stream, err := h.ingest.StreamEvents(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&audiencev1.StreamEventsRequest{Events: []*audiencev1.Event{purchase("u1", "e1")}}))
	require.NoError(t, stream.Send(&audiencev1.StreamEventsRequest{}))
	answer, err := stream.Recv()
	require.NoError(t, err)
	require.EqualValues(t, 1, answer.GetAcknowledgedRows())
	_, err = stream.Recv()
	requireInvalid(t, err, "events")
}

func TestStreamReadsAheadByABoundedNumberOfRows(t *testing.T) {
	t.Parallel()
	h := start(t, server.Config{})
	h.gate = make(chan struct{}) // no write ends
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := h.ingest.StreamEvents(ctx)
	require.NoError(t, err)
	request := &audiencev1.StreamEventsRequest{}
	for j := range 1000 {
		request.Events = append(request.Events, purchase("u1", fmt.Sprint(j)))
	}
	const offered = 500
	var sent atomic.Int32
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		for sent.Load() < offered && stream.Send(request) == nil {
			sent.Add(1)
		}
	}()
	<-h.entered
	require.Never(t, func() bool { return sent.Load() == offered }, 2*time.Second, 50*time.Millisecond)
	require.Less(t, int(sent.Load()), 150, "40 requests in the window, some in the buffers between")
	cancel()
	<-sending
}

func TestStreamPassesTheFaultOfTheStoreOn(t *testing.T) {
	h := start(t, server.Config{})
	h.fail(&audience.UnavailableError{What: "clickhouse", RetryAfter: 3 * time.Second, Err: errors.New("dial tcp 10.1.2.3:9000")})
	stream, err := h.ingest.StreamEvents(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&audiencev1.StreamEventsRequest{Events: []*audiencev1.Event{purchase("u1", "e1")}}))
	_, err = stream.Recv()
	d := requireStatus(t, err, codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE)
	require.Equal(t, 3*time.Second, d.retry.GetRetryDelay().AsDuration())
	require.NotContains(t, d.message, "10.1.2.3")
}

func TestUpsertProfiles(t *testing.T) {
	h := start(t, server.Config{})
	h.shelve(t, "meta", "")
	answer, err := h.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: []*audiencev1.ProfileUpdate{
		{
			UserId: "u1", Country: new("DE"),
			Attributes:        map[string]*audiencev1.PropertyValue{"plan": text("gold"), "age": number(41)},
			RemovedAttributes: []string{"old"},
			Identifiers: &audiencev1.IdentifierList{Identifiers: []*audiencev1.Identifier{
				{Field: audiencev1.Identifier_FIELD_EMAIL, Value: "canary@example.org"},
				{Field: audiencev1.Identifier_FIELD_PHONE, Value: "canary-phone"},
			}},
			Consents: []*audiencev1.Consent{{Purpose: "advertising", Destination: "destinations/meta", Granted: true, Time: timestamppb.New(noon)}},
		},
		{UserId: "u2", Country: new("")},
		{UserId: "u3", Identifiers: &audiencev1.IdentifierList{}},
		{UserId: "u4", Country: new("Germany")},
		{UserId: "u5", Identifiers: &audiencev1.IdentifierList{Identifiers: []*audiencev1.Identifier{
			{Value: "canary"}, {Field: 99, Value: "canary"}, {Field: audiencev1.Identifier_FIELD_EMAIL},
			{Field: audiencev1.Identifier_FIELD_EMAIL, Value: "canary", Scheme: "meta:EMAIL"},
			{Field: audiencev1.Identifier_FIELD_EMAIL, Value: strings.Repeat("canary", 100)},
		}}},
		{UserId: "u6", Attributes: map[string]*audiencev1.PropertyValue{"a": number(math.NaN())}, RemovedAttributes: []string{"a"},
			Consents: []*audiencev1.Consent{{Destination: "meta"}}},
	}})
	require.NoError(t, err)
	require.Equal(t, []int32{3, 3}, []int32{answer.GetAcceptedCount(), answer.GetInvalidCount()})

	require.Equal(t, audience.ProfileUpdate{
		User: "u1", Country: new("DE"), Texts: map[string]string{"plan": "gold"}, Numbers: map[string]float64{"age": 41},
		RemovedAttributes: []string{"old"}, ReplaceIdentifiers: true,
		Identifiers: []audience.Identifier{{Scheme: "meta:EMAIL", Value: "hash of 18 bytes"}},
	}, h.profiles["u1"])
	require.Equal(t, []audience.Consent{{User: "u1", Purpose: "advertising", Destination: "meta", Granted: true, Time: noon}}, h.consents)
	require.Equal(t, audience.ProfileUpdate{User: "u2", Country: new("")}, h.profiles["u2"], "unset identifiers stay")
	require.Equal(t, audience.ProfileUpdate{User: "u3", ReplaceIdentifiers: true}, h.profiles["u3"], "an empty list removes them")
	require.Len(t, h.profiles, 3)

	require.Empty(t, cmp.Diff([]*audiencev1.FieldViolation{{Field: "identifiers[1].value", Description: "has no @ (left out for meta:A, tiktok:B)"}},
		answer.GetResults()[0].GetDroppedIdentifiers(), protocmp.Transform()))
	for row, fields := range map[int][]string{
		3: {"country"},
		4: {"identifiers[0].field", "identifiers[1].field", "identifiers[2].value", "identifiers[3].scheme", "identifiers[4].value"},
		5: {"attributes.a", "removed_attributes", "consents[0].destination", "consents[0].purpose"},
	} {
		var got []string
		for _, v := range answer.GetResults()[row].GetViolations() {
			got = append(got, v.GetField())
		}
		require.ElementsMatch(t, fields, got)
	}
	require.NotContains(t, answer.String(), "canary")
	require.NotContains(t, h.log.String(), "canary")
}

// shelve makes a destination, and an audience of a purpose.
func (h *harness) shelve(t *testing.T, destination audience.DestinationID, purpose string) {
	t.Helper()
	_, err := h.destinations.Create(t.Context(), audience.Destination{ID: destination})
	require.NoError(t, err)
	_, err = h.audiences.Create(t.Context(), audience.Audience{ID: audience.AudienceID(destination) + "-all", Purpose: purpose})
	require.NoError(t, err)
}

func TestSetConsent(t *testing.T) {
	h := start(t, server.Config{})
	h.shelve(t, "meta", "")
	before := time.Now()
	_, err := h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: "u1", Consents: []*audiencev1.Consent{
		{Purpose: "advertising", Granted: true}, {Purpose: "advertising", Destination: "destinations/meta", Time: timestamppb.New(noon)},
	}})
	require.NoError(t, err)
	require.Len(t, h.consents, 2)
	require.WithinRange(t, h.consents[0].Time, before, time.Now())
	require.Equal(t, audience.Consent{User: "u1", Purpose: "advertising", Destination: "meta", Time: noon}, h.consents[1])

	_, err = h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{})
	requireInvalid(t, err, "user_id", "consents")
	_, err = h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: "u1", Consents: []*audiencev1.Consent{
		{Purpose: "advertising"}, {Purpose: "", Destination: "segments/x"}, {Purpose: "a", Time: &timestamppb.Timestamp{Nanos: -1}},
		{Purpose: "a", Time: timestamppb.New(time.Unix(-1, 0))},
	}})
	requireInvalid(t, err, "consents[1].purpose", "consents[1].destination", "consents[2].time", "consents[3].time")
	require.Len(t, h.consents, 2, "all or none")
}

// TestConsentByTheServicesClock: in a service that lives in the past, a word of then is not of a past long gone.
func TestConsentByTheServicesClock(t *testing.T) {
	h := start(t, server.Config{})
	h.ahead = -10 * 365 * 24 * time.Hour
	then := time.Now().Add(h.ahead)
	words := func(at *timestamppb.Timestamp) []*audiencev1.Consent {
		return []*audiencev1.Consent{{Purpose: "advertising", Time: at}}
	}
	_, err := h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: "u1", Consents: words(nil)})
	require.NoError(t, err)
	_, err = h.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: []*audiencev1.ProfileUpdate{{UserId: "u1", Consents: words(nil)}}})
	require.NoError(t, err)
	require.Len(t, h.consents, 2)
	for _, consent := range h.consents {
		require.WithinRange(t, consent.Time, then, time.Now().Add(h.ahead))
	}
	_, err = h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: "u1", Consents: words(timestamppb.Now())})
	requireInvalid(t, err, "consents[0].time")
}

// TestConsentFromTheFuture: a word dated ahead would outrank a withdrawal made after it.
func TestConsentFromTheFuture(t *testing.T) {
	h := start(t, server.Config{})
	ahead := func(by time.Duration) []*audiencev1.Consent {
		return []*audiencev1.Consent{{Purpose: "advertising", Granted: true, Time: timestamppb.New(time.Now().Add(by))}}
	}
	_, err := h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: "u1", Consents: ahead(time.Hour)})
	requireInvalid(t, err, "consents[0].time")
	answer, err := h.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: []*audiencev1.ProfileUpdate{{UserId: "u1", Consents: ahead(time.Hour)}}})
	require.NoError(t, err)
	require.Equal(t, int32(1), answer.GetInvalidCount())
	require.Empty(t, h.consents)

	_, err = h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: "u1", Consents: ahead(time.Minute)})
	require.NoError(t, err, "a clock a little ahead is no fault")
	require.False(t, h.consents[0].Time.After(time.Now()), "it counts as now, lest it outrank the next word")
}

func TestPropertyWithoutName(t *testing.T) {
	h := start(t, server.Config{})
	event := purchase("u1", "e1")
	event.Properties = map[string]*audiencev1.PropertyValue{"": text("x")}
	answer, err := h.ingest.IngestEvents(t.Context(), &audiencev1.IngestEventsRequest{Events: []*audiencev1.Event{event}})
	require.NoError(t, err)
	violation := answer.GetResults()[0].GetViolations()[0]
	require.Equal(t, "properties: has an entry without a name; name it or leave it out", violation.GetField()+": "+violation.GetDescription())
}

// TestMistypedConsent: a withdrawal that would do nothing is not "recorded" in silence.
func TestMistypedConsent(t *testing.T) {
	h := start(t, server.Config{})
	_, err := h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: "u1", Consents: []*audiencev1.Consent{{Purpose: "a", Destination: "destinations/meta"}}})
	require.ErrorContains(t, err, "destinations/meta: not found; there are: none yet")
	h.shelve(t, "meta", "newsletter")
	h.shelve(t, "tiktok", "")
	words := func(purpose, destination string) []*audiencev1.Consent {
		return []*audiencev1.Consent{{Purpose: "advertising"}, {Purpose: purpose, Destination: destination}}
	}
	profiles := func(consents []*audiencev1.Consent) *audiencev1.UpsertProfilesResponse {
		answer, err := h.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: []*audiencev1.ProfileUpdate{{UserId: "u1", Consents: consents}}})
		require.NoError(t, err)
		return answer
	}
	t.Run("unknown destination", func(t *testing.T) {
		const reason = "destinations/metta: not found; there are: destinations/meta, destinations/tiktok"
		_, err := h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: "u1", Consents: words("advertising", "destinations/metta")})
		d := requireStatus(t, err, codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND)
		require.Equal(t, "consents[1].destination: "+reason, d.message)
		require.Equal(t, "destinations/metta", d.resource.GetResourceName())
		row := profiles(words("advertising", "destinations/metta")).GetResults()[0]
		require.Equal(t, "consents[1].destination", row.GetViolations()[0].GetField())
		require.Equal(t, reason, row.GetViolations()[0].GetDescription())
		require.Empty(t, h.consents, "all or none")
	})
	t.Run("unknown purpose", func(t *testing.T) {
		want := []string{`no audience has the purpose "advertizing"; there are: advertising, newsletter`}
		answer, err := h.ingest.SetConsent(t.Context(), &audiencev1.SetConsentRequest{UserId: "u1", Consents: words("advertizing", "")})
		require.NoError(t, err)
		require.Equal(t, want, answer.GetWarnings())
		require.Equal(t, want, profiles(words("advertizing", "")).GetWarnings())
		require.Empty(t, profiles(words("newsletter", "destinations/tiktok")).GetWarnings())
	})
}

func TestStatusOfStreamAfterCallerLeft(t *testing.T) {
	h := start(t, server.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := h.ingest.StreamEvents(ctx)
	require.NoError(t, err)
	cancel()
	_, err = stream.Recv()
	require.Equal(t, codes.Canceled, status.Code(err))
}

// BenchmarkIngestEvents is the cost of the door: 10,000 rows of six properties from the wire to the store, which keeps
// nothing here.
func BenchmarkIngestEvents(b *testing.B) {
	h := start(b, server.Config{})
	request := &audiencev1.IngestEventsRequest{}
	for i := range 10_000 {
		event := purchase(fmt.Sprint("user-", i%700), fmt.Sprint("event-", i))
		event.Properties = map[string]*audiencev1.PropertyValue{
			"order_id": text(fmt.Sprint("order-", i/3)), "category": text("Furniture"), "country": text("Germany"),
			"quantity": number(3), "discount": number(0.2), "gift": boolean(true),
		}
		request.Events = append(request.Events, event)
	}
	h.forgetful = true
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.ingest.IngestEvents(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "rows/s")
}
