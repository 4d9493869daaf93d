package server

import (
	"context"
	"iter"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Resources keeps the documents of one kind, by id. Errors are *audience.ResourceError for what is missing or there
// already, and of kind ErrConflict for a stale etag.
type Resources[T any] interface {
	Create(ctx context.Context, document T) (T, error)
	Get(ctx context.Context, id string) (T, error)
	All(ctx context.Context) ([]T, error)
	// List reads up to limit documents whose id is after the given one, by id.
	List(ctx context.Context, after string, limit int) ([]T, error)
	// Update replaces a document; a stale etag in its Meta is refused.
	Update(ctx context.Context, document T) (T, error)
	// Delete removes a document; a stale etag is refused, "" is not checked.
	Delete(ctx context.Context, id, etag string) error
}

// Events stores events.
type Events interface {
	// WriteEvents returns once the events are durable, and says which of them were stored before.
	WriteEvents(ctx context.Context, events []audience.Event) (duplicate []bool, err error)
}

// Profiles stores what is known of users beside events. Both methods may be repeated after an error.
type Profiles interface {
	UpsertProfiles(ctx context.Context, updates []audience.ProfileUpdate) error
	SetConsents(ctx context.Context, consents []audience.Consent) error
}

// Answers remembers answers for 24 hours, so that a repeated request gets the first one.
type Answers interface {
	Remember(ctx context.Context, call, requestID string, answer []byte) error
	Recall(ctx context.Context, call, requestID string) (answer []byte, found bool, err error)
}

// Identify turns what a caller knows of one person into identifiers, sorted by scheme, then value, and says what was left
// out. It is safe for concurrent use and keeps nothing.
type Identify func(facts []Fact) ([]audience.Identifier, []DroppedFact)

// Fact is one thing by which a person can be matched: personal data, neither stored nor logged here.
type Fact struct {
	Field  string // "email", "phone", "first_name" …
	Value  string // in the clear, or the hex of a SHA-256
	Hashed bool
	Scheme audience.Scheme // of a hashed value; "" is the field's default
}

// DroppedFact is a fact, or its use for some platforms, that has no normal form.
type DroppedFact struct {
	Fact    int               // its place among the facts
	Schemes []audience.Scheme // that went without
	Reason  string            // without the value
}

// Segmenter checks and evaluates expressions and models.
type Segmenter interface {
	// CheckSegment says what is wrong with the expression of a new or changed segment among all there are: an
	// InvalidError of the field "expression", cycles included.
	CheckSegment(ctx context.Context, segment audience.Segment) error
	// CheckModel says what is wrong with the spec of a new or changed model: an InvalidError of fields such as "rfm.bins".
	CheckModel(ctx context.Context, model audience.Model) error
	// References lists the segments and models an expression names.
	References(expression string) ([]audience.SegmentID, []audience.ModelID, error)
	// CheckValue says what is wrong with the expression of an audience's values: an InvalidError of the field "value".
	CheckValue(ctx context.Context, expression string) error
	// ValueReferences lists the segments and models an expression of values names.
	ValueReferences(expression string) ([]audience.SegmentID, []audience.ModelID, error)
	// Preview evaluates at an instant; the zero time is now.
	Preview(ctx context.Context, expression string, at time.Time, sample int) (audience.Preview, error)
	// Compare says what another definition of a segment, or a new segment, would change.
	Compare(ctx context.Context, segment audience.Segment, sample int) (audience.Comparison, error)
}

// Versions knows what a segment's definition is and was, the newest first.
type Versions interface {
	Versions(ctx context.Context, segment audience.Segment) ([]audience.SegmentVersion, error)
}

// Explainer says why a user is in a segment at an instant (zero: now), or is not.
type Explainer interface {
	Explain(ctx context.Context, user audience.UserID, segment audience.Segment, at time.Time) (audience.Explanation, error)
}

// Memberships answers from the projection, or with ErrUnavailable when that cannot know.
type Memberships interface {
	Get(ctx context.Context, user audience.UserID) (audience.Membership, error)
	Batch(ctx context.Context, users []audience.UserID) ([]audience.Membership, error)
}

// Live is membership in motion.
type Live interface {
	// Token names all writes made so far.
	Token() string
	// Wait returns once reads are not older than the writes a token names; an InvalidError of "freshness_token" for one that
	// was not given out.
	Wait(ctx context.Context, token string) error
	// MoveUser returns once the move is in force for every reader.
	MoveUser(ctx context.Context, move audience.Move) (token string, err error)
	// Watch yields the changes of the segments (none: of all) behind a cursor ("": from now on), until ctx ends.
	Watch(ctx context.Context, cursor string, segments []audience.SegmentID) iter.Seq2[audience.WatchedChange, error]
	// Edition is the definitions that readers see now, EditionAt those they saw at an instant.
	Edition(ctx context.Context) (*audience.Edition, error)
	EditionAt(ctx context.Context, at time.Time) (*audience.Edition, error)
	// EverNamed are the segments that numbers in the log ever stood for, each once.
	EverNamed(ctx context.Context, numbers []audience.Number) ([]audience.SegmentID, error)
	// Filter compiles an expression over segments to a test of memberships under an edition; an InvalidError of "filter" for
	// any other expression.
	Filter(ctx context.Context, edition *audience.Edition, expression string) (func([]audience.Number) bool, error)
}

// History reads membership as it was.
type History interface {
	MembershipAt(ctx context.Context, user audience.UserID, at time.Time) (audience.Membership, error)
	// MembersAt yields members after a user, in UserID order; limit 0 is all of them.
	MembersAt(ctx context.Context, segment audience.Number, at time.Time, after audience.UserID, limit int) iter.Seq2[audience.UserID, error]
}

// Members reads membership by segment.
type Members interface {
	// MembersAfter yields everybody in at least one segment after a user, in UserID order.
	MembersAfter(ctx context.Context, after audience.UserID) iter.Seq2[audience.Membership, error]
	// MembersOf yields members after a user, in UserID order; limit 0 is all of them.
	MembersOf(ctx context.Context, segment audience.Number, after audience.UserID, limit int) iter.Seq2[audience.UserID, error]
	SegmentSizes(ctx context.Context) (map[audience.Number]int64, error)
}

// Scores reads what complete versions of models say.
type Scores interface {
	// Score is ErrNotFound when the version does not score the user.
	Score(ctx context.Context, model audience.Number, version uint32, user audience.UserID) (audience.Score, error)
	// Scores yields the scores after a user, in UserID order.
	Scores(ctx context.Context, model audience.Number, version uint32, after audience.UserID) iter.Seq2[audience.Score, error]
	// ModelVersions are a model's, newest first.
	ModelVersions(ctx context.Context, model audience.Number) ([]audience.ModelVersion, error)
}

// CheckDestination says what is wrong with a destination in the view of the connector that will serve it: an InvalidError of
// the destination's fields. It asks no platform.
type CheckDestination func(audience.Destination) error

// Platforms reaches what platforms hold.
type Platforms interface {
	// Retire deletes an audience from its platform, with everybody in it; one that is not there is no error. While the
	// platform does not delete it, nothing has changed, and an ErrUnavailable or ErrPrecondition says what to do.
	Retire(ctx context.Context, id audience.AudienceID) error
	// CreateLookalike has a platform make a lookalike, or finds the one it has made, and gives the platform's id. An
	// InvalidError names the settings the platform does not have; an ErrPrecondition says what has to be done first.
	CreateLookalike(ctx context.Context, l audience.Lookalike) (platformID string, err error)
	// Lookalike is the platform's view of one.
	Lookalike(ctx context.Context, l audience.Lookalike) (audience.LookalikeStatus, error)
	// DeleteLookalike deletes one; that it is gone already is no error.
	DeleteLookalike(ctx context.Context, l audience.Lookalike) error
}

// Privacy forgets users and keeps them off platforms.
type Privacy interface {
	// Erased reports whether a user is erased, or about to be: nothing about them is taken in.
	Erased(user audience.UserID) bool
	// Erase returns once the user is being taken off every platform; the run does the rest.
	Erase(ctx context.Context, user audience.UserID) (audience.Run, error)
	// Readmit lets the id of an erased user be used again. ErrNotFound when the id belongs to none, ErrPrecondition while the
	// erasure is under way.
	Readmit(ctx context.Context, user audience.UserID) error
	// Stored yields all that is stored of a user.
	Stored(ctx context.Context, user audience.UserID) iter.Seq2[audience.Stored, error]
	// Stop has users taken off platforms ahead of all other work; it cannot be lost when it returns.
	Stop(ctx context.Context, stops []audience.Stop) error
}

// Audit keeps who did what.
type Audit interface {
	RecordAction(ctx context.Context, action audience.Action) error
	// Actions reads up to limit entries older than before ("": from the newest), newest first; an empty actor or resource
	// narrows nothing.
	Actions(ctx context.Context, actor, resource, before string, limit int) ([]audience.Action, error)
}

// Planner says what a sync would do, without side effects, and keeps the plans that wait for a person.
type Planner interface {
	Plan(ctx context.Context, id audience.AudienceID) (audience.SyncPlan, error)
	// HeldPlan is the newest plan of an audience that was held; one without State when there never was any.
	HeldPlan(ctx context.Context, id audience.AudienceID) (audience.HeldPlan, error)
	// Drop discards the held plan of an audience. ErrPrecondition when none waits.
	Drop(ctx context.Context, id audience.AudienceID) error
}

// Healths knows how destinations are.
type Healths interface {
	// Health is what is known. It asks nobody.
	Health(d audience.Destination) audience.Health
	// Check asks the platform now.
	Check(ctx context.Context, d audience.Destination) audience.Health
	// Look has destinations checked soon: one has changed.
	Look()
}

// Jobs starts long work and answers at once. The error is an ErrConflict while a run of the same subject is under way.
type Jobs interface {
	Train(ctx context.Context, model audience.Model) (audience.Run, error)
	// Evaluate works on the given users, ascending and each once, or on everybody for nil. While everybody is evaluated, the
	// run under way is the answer: it takes in what has changed until its end.
	Evaluate(ctx context.Context, users []audience.UserID) (audience.Run, error)
	Sync(ctx context.Context, target audience.Audience, order audience.SyncOrder) (audience.Run, error)
	// Resume continues a run that ended without success, by a new one; ErrPrecondition for a kind that cannot be resumed.
	Resume(ctx context.Context, run audience.Run) (audience.Run, error)
}

// Schedules know when work begins by itself.
type Schedules interface {
	// Check says what is wrong with a schedule: an InvalidError of its fields.
	Check(schedule audience.Schedule) error
	// Next is when a schedule of a resource is due next; the zero time for never.
	Next(schedule audience.Schedule, subject string) time.Time
}

// Runs shows the long work.
type Runs interface {
	Get(ctx context.Context, id audience.RunID) (audience.Run, error)
	// List lists runs older than before (all for ""), newest first.
	List(ctx context.Context, filter audience.RunFilter, before audience.RunID, limit int) ([]audience.Run, error)
	Cancel(ctx context.Context, id audience.RunID) (audience.Run, error)
	// Watch yields the run as it is, then on each change, and ends after its last state.
	Watch(ctx context.Context, id audience.RunID) iter.Seq2[audience.Run, error]
}

// Receivers are told of changes of membership, each as its webhook says.
type Receivers interface {
	// Begin makes the place of a new webhook durable: its receiver will be told of everything after the call.
	Begin(ctx context.Context, webhook audience.Webhook) error
	// Changed says that webhooks were created or changed.
	Changed()
	// Forget ends a webhook that is deleted.
	Forget(ctx context.Context, webhook audience.Webhook) error
	Statuses(ctx context.Context) (map[audience.Number]audience.WebhookStatus, error)
	// DeadLetters are up to limit of a webhook's dead letters behind a user of a version, in the order of the log.
	DeadLetters(ctx context.Context, webhook audience.Webhook, version uint64, user audience.UserID, limit int) ([]audience.DeadLetter, error)
	// Redeliver sends dead letters once more, those of the ids or the oldest; refused is why the receiver did not accept all.
	Redeliver(ctx context.Context, webhook audience.Webhook, ids []string) (delivered int, refused string, err error)
	// Drop forgets dead letters, those of the ids or all for nil.
	Drop(ctx context.Context, webhook audience.Webhook, ids []string) (dropped int64, err error)
}
