package server_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/server"
)

// world is what stands behind the server in tests: every port, in memory.
type world struct {
	segments     *versioned
	models       *shelf[audience.Model]
	destinations *shelf[audience.Destination]
	audiences    *shelf[audience.Audience]
	lookalikes   *shelf[audience.Lookalike]
	webhooks     *shelf[audience.Webhook]

	mu          sync.Mutex
	fault       error                     // what every port but the resources answers, when set
	gate        chan struct{}             // WriteEvents waits for it, when set
	entered     chan struct{}             // hears of each WriteEvents that waits
	events      map[string]audience.Event // by user and event id
	writes      []int                     // events of each WriteEvents
	profiles    map[audience.UserID]audience.ProfileUpdate
	consents    []audience.Consent
	answers     map[string][]byte
	memberships map[audience.UserID][]audience.Number
	scores      []audience.Score
	versions    []audience.ModelVersion
	runs        map[audience.RunID]audience.Run
	started     []string // what Jobs were asked
	plan        audience.SyncPlan
	retired     []string // ids of audiences deleted from the platform
	unreachable error    // of Retire, when set
	wait        bool     // Get waits for its context to end
	panics      bool     // Get panics
	forgetful   bool     // WriteEvents keeps nothing
	waited      []string // tokens reads waited for
	moves       []audience.Move
	reading     func()        // called once, by the next read of memberships, when it has read
	listing     func()        // called when a list begins
	turns       atomic.Uint64 // version of the edition
	receivers   receivers
	ahead       time.Duration // of the service's clock
	office      office
	held        audience.HeldPlan
	made        []audience.Lookalike
}

func newWorld() *world {
	return &world{
		segments: &versioned{&shelf[audience.Segment]{kind: "segments", id: func(v audience.Segment) string { return string(v.ID) },
			meta: func(v *audience.Segment) *audience.Meta { return &v.Meta }}},
		models: &shelf[audience.Model]{kind: "models", id: func(v audience.Model) string { return string(v.ID) },
			meta: func(v *audience.Model) *audience.Meta { return &v.Meta }},
		destinations: &shelf[audience.Destination]{kind: "destinations", id: func(v audience.Destination) string { return string(v.ID) },
			meta: func(v *audience.Destination) *audience.Meta { return &v.Meta }},
		audiences: &shelf[audience.Audience]{kind: "audiences", id: func(v audience.Audience) string { return string(v.ID) },
			meta: func(v *audience.Audience) *audience.Meta { return &v.Meta }},
		lookalikes: &shelf[audience.Lookalike]{kind: "lookalikes", id: func(v audience.Lookalike) string { return string(v.ID) },
			meta: func(v *audience.Lookalike) *audience.Meta { return &v.Meta }},
		webhooks: &shelf[audience.Webhook]{kind: "webhooks", id: func(v audience.Webhook) string { return string(v.ID) },
			meta: func(v *audience.Webhook) *audience.Meta { return &v.Meta }},
		events: map[string]audience.Event{}, profiles: map[audience.UserID]audience.ProfileUpdate{}, answers: map[string][]byte{},
		entered: make(chan struct{}, 100), memberships: map[audience.UserID][]audience.Number{}, runs: map[audience.RunID]audience.Run{},
	}
}

// versioned counts the definitions of segments, as the store does.
type versioned struct{ *shelf[audience.Segment] }

func (v *versioned) Create(ctx context.Context, segment audience.Segment) (audience.Segment, error) {
	segment.Version = 1
	return v.shelf.Create(ctx, segment)
}

func (v *versioned) Update(ctx context.Context, segment audience.Segment) (audience.Segment, error) {
	if before, err := v.Get(ctx, string(segment.ID)); err == nil && !segment.Definition().Same(before.Definition()) {
		segment.Version = before.Version + 1
	}
	return v.shelf.Update(ctx, segment)
}

// Retire is a platform; like the real one, it takes the platform's id away.
func (w *world) Retire(ctx context.Context, id audience.AudienceID) error {
	if w.unreachable != nil {
		return w.unreachable
	}
	target, err := w.audiences.Get(ctx, string(id))
	if err != nil {
		return err
	}
	w.retired = append(w.retired, target.PlatformID)
	target.PlatformID = ""
	_, err = w.audiences.Update(ctx, target)
	return err
}

// checkDestination is a connector that takes 100 requests a second.
func checkDestination(d audience.Destination) error {
	if d.RequestsPerS > 100 {
		return audience.Invalid("requests_per_second", "is %g; up to 100 are possible", d.RequestsPerS)
	}
	return nil
}

// fail makes the ports answer err from now on; nil heals them.
func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = err
}

func (w *world) deps() server.Deps {
	return server.Deps{
		Now:      func() time.Time { return time.Now().Add(w.ahead) },
		Segments: w.segments, Models: w.models, Destinations: w.destinations, Audiences: w.audiences, Lookalikes: w.lookalikes, Webhooks: w.webhooks,
		Events: w, Profiles: w, Answers: w, Identify: identify, Segmenter: segmenter{w}, Memberships: memberships{w},
		Members: w, History: w, Live: w, Explainer: w, Versions: w, Scores: w, Check: checkDestination, Platforms: w, Planner: w, Jobs: w, Runs: runs{w}, Schedules: schedules{}, Receivers: &w.receivers,
		Privacy: &w.office, Audit: &w.office, Healths: &w.office,
	}
}

func (w *world) WriteEvents(ctx context.Context, events []audience.Event) ([]bool, error) {
	if w.gate != nil {
		w.entered <- struct{}{}
		select {
		case <-w.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return nil, w.fault
	}
	duplicate := make([]bool, len(events))
	if w.forgetful {
		return duplicate, nil
	}
	w.writes = append(w.writes, len(events))
	for i, event := range events {
		key := string(event.User) + "\x00" + event.ID
		_, duplicate[i] = w.events[key]
		if !duplicate[i] {
			w.events[key] = event
		}
	}
	return duplicate, nil
}

func (w *world) UpsertProfiles(_ context.Context, updates []audience.ProfileUpdate) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, update := range updates {
		w.profiles[update.User] = update
	}
	return w.fault
}

func (w *world) SetConsents(_ context.Context, consents []audience.Consent) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.consents = append(w.consents, consents...)
	return w.fault
}

func (w *world) Remember(_ context.Context, call, id string, answer []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[call+id] = answer
	return nil
}

func (w *world) Recall(_ context.Context, call, id string) ([]byte, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	answer, found := w.answers[call+id]
	return answer, found, nil
}

// identify takes values that hold an @ and drops the others.
func identify(facts []server.Fact) (ids []audience.Identifier, dropped []server.DroppedFact) {
	for i, fact := range facts {
		if strings.Contains(fact.Value, "@") || fact.Hashed {
			ids = append(ids, audience.Identifier{Scheme: "meta:EMAIL", Value: fmt.Sprintf("hash of %d bytes", len(fact.Value))})
		} else {
			dropped = append(dropped, server.DroppedFact{Fact: i, Schemes: []audience.Scheme{"tiktok:B", "meta:A"}, Reason: "has no @"})
		}
	}
	return ids, dropped
}

// segmenter understands expressions that are lists of names: "in:segment", "rfm:model"; "bad" is an error at a place.
type segmenter struct{ w *world }

func (s segmenter) CheckSegment(_ context.Context, segment audience.Segment) error {
	if strings.Contains(segment.Expression, "bad") {
		return fmt.Errorf("compile: %w", audience.Invalid("expression", "1:%d: undeclared reference to bad", strings.Index(segment.Expression, "bad")+1))
	}
	return nil
}

func (s segmenter) CheckModel(_ context.Context, model audience.Model) error {
	if model.RFM != nil && model.RFM.Bins > 100 {
		return audience.Invalid("rfm.bins", "is %d; use 2 to 100", model.RFM.Bins)
	}
	return nil
}

func (s segmenter) References(expression string) (segments []audience.SegmentID, models []audience.ModelID, err error) {
	for word := range strings.FieldsSeq(expression) {
		if id, ok := strings.CutPrefix(word, "in:"); ok {
			segments = append(segments, audience.SegmentID(id))
		}
		if id, ok := strings.CutPrefix(word, "rfm:"); ok {
			models = append(models, audience.ModelID(id))
		}
	}
	return segments, models, nil
}

func (s segmenter) CheckValue(_ context.Context, expression string) error {
	if strings.Contains(expression, "bad") {
		return audience.Invalid("value", "1:%d: undeclared reference to bad", strings.Index(expression, "bad")+1)
	}
	return nil
}

func (s segmenter) ValueReferences(expression string) ([]audience.SegmentID, []audience.ModelID, error) {
	return s.References(expression)
}

func (s segmenter) Preview(ctx context.Context, expression string, at time.Time, sample int) (audience.Preview, error) {
	if err := s.CheckSegment(ctx, audience.Segment{Expression: expression}); err != nil {
		return audience.Preview{}, err
	}
	p := audience.Preview{Members: 7, Users: 9, Clauses: []audience.ClauseCount{{Clause: expression, Users: 7}}, At: at}
	for i := range min(sample, 7) {
		p.Sample = append(p.Sample, audience.UserID(fmt.Sprint("u", i)))
	}
	return p, nil
}

func (s segmenter) Compare(ctx context.Context, segment audience.Segment, sample int) (audience.Comparison, error) {
	if err := s.CheckSegment(ctx, segment); err != nil {
		return audience.Comparison{}, err
	}
	return audience.Comparison{At: time.Unix(6, 0), Segments: []audience.ComparedSegment{
		{ID: segment.ID, Entering: 7, Leaving: 1, Staying: 2, EnteringSample: []audience.UserID{"in"}[:min(sample, 1)], LeavingSample: []audience.UserID{"out"}},
		{ID: "dependent", Entering: 1},
	}}, nil
}

type memberships struct{ w *world }

func (m memberships) Get(ctx context.Context, user audience.UserID) (audience.Membership, error) {
	if m.w.panics {
		panic("no such bucket")
	}
	if m.w.wait {
		<-ctx.Done()
		return audience.Membership{}, errors.New("read tcp 10.0.0.1:6379: i/o timeout")
	}
	all, err := m.Batch(ctx, []audience.UserID{user})
	if err != nil {
		return audience.Membership{}, err
	}
	return all[0], nil
}

func (m memberships) Batch(_ context.Context, users []audience.UserID) ([]audience.Membership, error) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	out := make([]audience.Membership, len(users))
	for i, user := range users {
		out[i] = audience.Membership{User: user, Segments: m.w.memberships[user], Version: 42}
	}
	if m.w.reading != nil {
		m.w.reading()
		m.w.reading = nil
	}
	return out, m.w.fault
}

func (w *world) MembersOf(_ context.Context, segment audience.Number, after audience.UserID, limit int) iter.Seq2[audience.UserID, error] {
	return func(yield func(audience.UserID, error) bool) {
		w.mu.Lock()
		users := slices.Sorted(maps.Keys(w.memberships))
		w.mu.Unlock()
		for _, user := range users {
			if user > after && slices.Contains(w.memberships[user], segment) && !yield(user, nil) {
				return
			}
		}
		if w.fault != nil {
			yield("", w.fault)
		}
	}
}

func (w *world) MembersAfter(_ context.Context, after audience.UserID) iter.Seq2[audience.Membership, error] {
	return func(yield func(audience.Membership, error) bool) {
		if w.listing != nil {
			w.listing()
		}
		for _, user := range slices.Sorted(maps.Keys(w.memberships)) {
			if user > after && !yield(audience.Membership{User: user, Segments: w.memberships[user]}, nil) {
				return
			}
		}
	}
}

// The past of the world: everybody was in segment 1 before 1980, and in nothing before 1975.
var past = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *world) MembershipAt(_ context.Context, user audience.UserID, at time.Time) (audience.Membership, error) {
	if at.Before(past) {
		return audience.Membership{User: user, Segments: []audience.Number{1}, Version: 1}, nil
	}
	return audience.Membership{User: user, Segments: w.memberships[user], Version: 42}, nil
}

func (w *world) MembersAt(ctx context.Context, segment audience.Number, at time.Time, after audience.UserID, limit int) iter.Seq2[audience.UserID, error] {
	if !at.Before(past) {
		return w.MembersOf(ctx, segment, after, limit)
	}
	return func(yield func(audience.UserID, error) bool) {
		for _, user := range slices.Sorted(maps.Keys(w.memberships)) {
			if user > after && !yield(user, nil) {
				return
			}
		}
	}
}

func (w *world) Explain(_ context.Context, user audience.UserID, segment audience.Segment, at time.Time) (audience.Explanation, error) {
	x := audience.Explanation{Holds: true, At: at, Instead: "vip", Pin: &audience.Pin{Held: audience.HeldOut, Reason: "asked to stop", Actor: "crm", Time: time.Unix(3, 0)}}
	x.Clauses = []audience.ExplainedClause{{Text: segment.Expression, Holds: true, Conditions: []audience.ExplainedCondition{{
		Text: "x", Holds: true, Values: []audience.ExplainedValue{{Text: "count()", Value: "2", Events: []string{"e1", "e2"}}},
	}}}}
	x.Since = &audience.Change{Time: time.Unix(4, 0), Cause: "event"}
	return x, w.fault
}

func (w *world) Token() string { return "fresh" }

func (w *world) Wait(_ context.Context, token string) error {
	w.waited = append(w.waited, token)
	if token != "fresh" {
		return audience.Invalid("freshness_token", "is from the future")
	}
	return nil
}

func (w *world) MoveUser(_ context.Context, move audience.Move) (string, error) {
	if err := move.Validate(time.Now()); err != nil {
		return "", err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != nil {
		return "", w.fault
	}
	w.memberships[move.User] = []audience.Number{1}
	w.moves = append(w.moves, move)
	return "fresh", nil
}

// Edition has every segment in force by its own number, but the one called unevaluated.
func (w *world) Edition(context.Context) (*audience.Edition, error) {
	w.segments.mu.Lock()
	segments := slices.Clone(w.segments.items) // also while the store is away
	w.segments.mu.Unlock()
	var definitions []audience.Definition
	for _, segment := range segments {
		if definition := segment.Definition(); segment.ID != "unevaluated" {
			definition.Number, definition.Version = segment.Number, 1
			definitions = append(definitions, definition)
		}
	}
	edition := audience.NewEdition(definitions)
	edition.Version = w.turns.Load()
	return edition, nil
}

func (w *world) EditionAt(ctx context.Context, _ time.Time) (*audience.Edition, error) {
	return w.Edition(ctx)
}

func (w *world) EverNamed(ctx context.Context, numbers []audience.Number) ([]audience.SegmentID, error) {
	edition, err := w.Edition(ctx)
	if err != nil {
		return nil, err
	}
	return edition.IDs(numbers), nil
}

// Versions are the newest one and as many before as its number says, each of its own expression.
func (w *world) Versions(_ context.Context, segment audience.Segment) (versions []audience.SegmentVersion, err error) {
	for version := segment.Version; version > 0; version-- {
		definition := segment.Definition()
		if definition.Version = version; version < segment.Version {
			definition.Expression = fmt.Sprint("version ", version)
		}
		versions = append(versions, audience.SegmentVersion{Definition: definition, DefineTime: time.Unix(int64(version), 0)})
	}
	return versions, nil
}

func (w *world) Watch(ctx context.Context, cursor string, segments []audience.SegmentID) iter.Seq2[audience.WatchedChange, error] {
	return func(yield func(audience.WatchedChange, error) bool) {
		if len(segments) == 0 || cursor == "other" { // nobody here watches everything
			yield(audience.WatchedChange{}, audience.Invalid("cursor", "belongs to another stream"))
			return
		}
		for i, id := range segments {
			change := audience.WatchedChange{
				User: "u", Version: 7, Entered: []audience.SegmentID{id}, Time: time.Unix(5, 0), Cause: "event", Cursor: strconv.Itoa(i),
			}
			if !yield(change, nil) {
				return
			}
		}
		<-ctx.Done()
		yield(audience.WatchedChange{}, context.Cause(ctx))
	}
}

func (w *world) Filter(_ context.Context, _ *audience.Edition, expression string) (func([]audience.Number) bool, error) {
	if expression != "first" {
		return nil, audience.Invalid("filter", "there is no such segment")
	}
	return func(in []audience.Number) bool { return slices.Contains(in, 1) }, nil
}

func (w *world) SegmentSizes(context.Context) (map[audience.Number]int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sizes := map[audience.Number]int64{}
	for _, segments := range w.memberships {
		for _, number := range segments {
			sizes[number]++
		}
	}
	return sizes, w.fault
}

func (w *world) Score(_ context.Context, _ audience.Number, _ uint32, user audience.UserID) (audience.Score, error) {
	for _, score := range w.scores {
		if score.User == user {
			return score, nil
		}
	}
	return audience.Score{}, &audience.ResourceError{Kind: audience.ErrNotFound, Name: "the user's score"}
}

func (w *world) Scores(_ context.Context, _ audience.Number, _ uint32, after audience.UserID) iter.Seq2[audience.Score, error] {
	return func(yield func(audience.Score, error) bool) {
		for _, score := range w.scores {
			if score.User > after && !yield(score, nil) {
				return
			}
		}
	}
}

func (w *world) ModelVersions(context.Context, audience.Number) ([]audience.ModelVersion, error) {
	return slices.Clone(w.versions), nil
}

func (w *world) Plan(context.Context, audience.AudienceID) (audience.SyncPlan, error) {
	return w.plan, w.fault
}

func (w *world) start(kind audience.RunKind, subject, with string) (audience.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, run := range w.runs {
		if run.Kind == kind && run.Subject == subject && !run.State.Done() {
			return audience.Run{}, fmt.Errorf("runs/%s is under way: %w", run.ID, audience.ErrConflict)
		}
	}
	run := audience.Run{ID: audience.RunID(uuid.Must(uuid.NewV7()).String()), Kind: kind, Subject: subject, State: audience.RunRunning, CreateTime: time.Now().UTC()}
	w.runs[run.ID] = run
	w.started = append(w.started, string(kind)+" "+subject+" "+with)
	return run, w.fault
}

func (w *world) Train(_ context.Context, model audience.Model) (audience.Run, error) {
	return w.start(audience.RunTrain, "models/"+string(model.ID), "")
}

func (w *world) Evaluate(_ context.Context, users []audience.UserID) (audience.Run, error) {
	for _, run := range w.runs {
		if users == nil && run.Kind == audience.RunEvaluate && run.State == audience.RunRunning {
			return run, nil
		}
	}
	return w.start(audience.RunEvaluate, "segments", fmt.Sprintf("%q %t", users, users == nil))
}

func (w *world) Sync(_ context.Context, target audience.Audience, order audience.SyncOrder) (audience.Run, error) {
	what := fmt.Sprint(order.Approved)
	if order.Recreate {
		what += " recreate"
	}
	return w.start(audience.RunSync, "audiences/"+string(target.ID), what)
}

func (w *world) Resume(_ context.Context, run audience.Run) (audience.Run, error) {
	return w.start(run.Kind, run.Subject, "resumes "+string(run.State))
}

// schedules know one cron.
type schedules struct{}

func (schedules) Check(s audience.Schedule) error {
	if s.Cron != "" && s.Cron != "@daily" {
		return audience.Invalid("cron", "is not @daily")
	}
	return nil
}

func (schedules) Next(audience.Schedule, string) time.Time {
	return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
}

func (w *world) endRun(name string, state audience.RunState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := audience.RunID(strings.TrimPrefix(name, "runs/"))
	run := w.runs[id]
	run.State, run.EndTime = state, time.Now().UTC()
	w.runs[id] = run
}

type runs struct{ w *world }

func (r runs) Get(_ context.Context, id audience.RunID) (audience.Run, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	run, ok := r.w.runs[id]
	if !ok {
		return run, &audience.ResourceError{Kind: audience.ErrNotFound, Name: "runs/" + string(id)}
	}
	return run, nil
}

func (r runs) List(_ context.Context, f audience.RunFilter, before audience.RunID, limit int) ([]audience.Run, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	var out []audience.Run
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(r.w.runs))) {
		run := r.w.runs[id]
		if (before == "" || id < before) && (f.Kind == "" || f.Kind == run.Kind) && (f.Subject == "" || f.Subject == run.Subject) &&
			(f.State == "" || f.State == run.State) && len(out) < limit {
			out = append(out, run)
		}
	}
	return out, nil
}

func (r runs) Cancel(ctx context.Context, id audience.RunID) (audience.Run, error) {
	return r.Get(ctx, id)
}

func (r runs) Watch(ctx context.Context, id audience.RunID) iter.Seq2[audience.Run, error] {
	return func(yield func(audience.Run, error) bool) {
		for {
			run, err := r.Get(ctx, id)
			if !yield(run, err) || err != nil || run.State.Done() {
				return
			}
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				yield(run, ctx.Err())
				return
			}
		}
	}
}
