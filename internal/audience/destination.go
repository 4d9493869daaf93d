package audience

import "time"

// Platform is an advertising platform Kohorta has a connector for.
type Platform string

// The platforms there are.
const (
	PlatformMeta   Platform = "meta"
	PlatformTikTok Platform = "tiktok"
)

// Destination is one advertising account. It names its secrets, it never holds them: they are files in the service's
// secrets directory.
type Destination struct {
	Meta         `json:"-"`
	ID           DestinationID
	Title        string
	Platform     Platform
	Account      string   // Meta: ad account number without act_; TikTok: advertiser id
	TokenSecret  string   // file name inside the secrets directory
	AppSecret    string   // Meta only, optional: file name of the app secret; turns appsecret_proof on
	BaseURL      string   // "" is the platform's own; the sandbox's URL otherwise
	EmailMode    string   // TikTok only: "basic" (default), "strip_plus" or "legacy"
	APIVersion   string   // Meta only: of the Marketing API; "" is the newest known
	Columns      []string // Meta only: identifiers to send, by Meta's names; none are those that find a person alone
	App          string   // TikTok only: whose quota its requests share; "": that of the token
	RequestsPerS float64
	BatchRows    int // rows a request; 0: the platform's limit or advice
}

// Audience is a segment bound to a destination: the platform's audience is kept equal to the segment's members.
type Audience struct {
	Meta            `json:"-"`
	ID              AudienceID
	Segment         SegmentID
	Destination     DestinationID
	PlatformName    string   // name on the platform; default: the audience's id. Never the segment's title: platforms flag telling names
	PlatformID      string   // set by the first sync
	PlatformFiles   bool     // set with PlatformID: the platform's audience is made of files, for life
	Purpose         string   // consent purpose a member must have granted; default "advertising"
	MaxRemovalShare float64  // a plan removing more than this share of what is held waits for approval; default 0.3
	MaxSourceHours  float64  // a plan waits for approval when membership was last computed longer ago; default 48
	ExclusiveGroup  string   // of the audiences of one group, on whatever platforms, at most one holds a user at any instant; "": none
	Static          bool     // nobody has to be able to leave at once: the platform may take it as files, each change of which locks it for days
	Value           string   // an expression of what each member is worth, for a value-based audience, which it is or is not for life; "": none
	ValueTolerance  float64  // a member is sent again once his value has moved by more than this share of the one sent; default 0.05
	Schedule        Schedule // when it is synced by itself
	Disabled        bool
}

// DefaultValueTolerance is that of audiences that set none.
const DefaultValueTolerance = 0.05

// DeliveryState is what the platform holds of a user, as far as its own words allow to know.
type DeliveryState string

// States of the ledger. Sending and removing are intents written before the request leaves: after a crash the platform
// may or may not hold the user, so both count as "may be held".
const (
	DeliverySending   DeliveryState = "sending"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryRemoving  DeliveryState = "removing"
	DeliveryRemoved   DeliveryState = "removed"
	DeliveryRejected  DeliveryState = "rejected" // refused by the platform; not tried again with the same identifiers
)

// MayHold reports whether the platform holds or may hold the user.
func (s DeliveryState) MayHold() bool {
	return s == DeliverySending || s == DeliveryDelivered || s == DeliveryRemoving
}

// ReasonSharing begins the ledger's reason of a member who is to be sent again because a user who shares an identifier with
// him was removed.
const ReasonSharing = "shares an identifier with a removed user"

// Delivery is a row of the ledger: the newest of an audience and user stands.
type Delivery struct {
	User        UserID
	State       DeliveryState
	Identifiers []Identifier // exactly what was sent; a removal sends these again
	Value       float64      // what was sent beside them to a value-based audience; 0 in others
	Reason      string       // of a rejection, in the platform's words without values
	Run         RunID
	Time        time.Time
	Version     uint64 // by which a row outranks another, from the lease it was written under; 0: that of the store's clock
}

// SyncRow is a user about whom target and ledger of an audience may disagree.
type SyncRow struct {
	User       UserID
	Wanted     []Identifier // usable at this destination, of a member who may be sent; empty otherwise
	Value      float64      // what he is worth, 0 or more, if he is wanted in a value-based audience; 0 in others
	Moved      bool         // Wanted is what the ledger has, but Value is too far from the one sent
	Suppressed string       // why a member may not be sent: "no_consent", "unidentifiable", "no_value", "held_elsewhere", the reason of a stop; "" for others
	Stop       bool         // is or may be held although consent was withdrawn or a Stop stands: must go before all else
	Held       Delivery     // State "" when the ledger has no row
}

// Stop takes a user off platforms at once: where it holds, nothing of him is sent, and what is held is removed before all
// other work. The newest of a user and audience stands.
type Stop struct {
	User     UserID
	Audience Number    // 0: every audience
	Reason   string    // a word for plans and reports: "erased", "crm", "purchase"; "" lifts the stop
	Until    time.Time // zero: until it is lifted
	Time     time.Time
}

// SyncOrder is what a person may add to a sync.
type SyncOrder struct {
	Approved bool // send although the plan has reasons to wait
	Recreate bool // create the audience anew: someone deleted it on the platform
}

// SyncScope says whose target is compared with which ledger.
type SyncScope struct {
	Audience    Number // of the ledger
	Segment     Number // whose members are the target
	Purpose     string // for which a member must have granted consent
	Destination DestinationID
	Schemes     []Scheme  // identifiers the destination carries
	Rivals      []Number  // ledgers of the other audiences of the exclusive group
	Values      Values    // of a value-based audience
	At          time.Time // stops and moves that end by then have ended; zero: now
}

// Values are what the members of a value-based audience are worth. The zero value is of other audiences.
type Values struct {
	Query     Query   // rows of user_id and value, a Float64, of the users of whom UsersOfValues holds
	Tolerance float64 // share of the value sent by which one may be off before it counts as moved
}

// UsersOfValues stands in the query of Values where the condition on user_id is to stand that the asker puts there.
const UsersOfValues = "{range}"

// SyncRange says which rows of a scope. The zero value is all users about whom target and ledger may disagree.
type SyncRange struct {
	Users  []UserID // only these; nil: everybody
	After  UserID   // only users behind this one
	Urgent bool     // only rows with Stop, and members whom one has taken along, see ReasonSharing
	Held   bool     // only users who may be held
	Agreed bool     // also users about whom target and ledger agree, if they are wanted or may be held
	Page   int      // after about so many rows the reader goes away; 0: he reads them all
}

// SyncTotals counts everybody a sync concerns, also those about whom target and ledger agree.
type SyncTotals struct {
	Members   int64 // of the segment
	Held      int64 // users the platform holds or may hold
	Unchanged int64 // held with exactly the identifiers that are wanted
	Rejected  int64 // wanted, but refused before with the very same identifiers: not tried again
}

// SyncPlan is what a sync of an audience would do, in users.
type SyncPlan struct {
	Members    int64            // of the segment
	Unchanged  int64            // held as they are
	Additions  int64            // members to add
	Removals   int64            // held, but no members any more or not to be sent any more; Stops are among them
	Stops      int64            // removals that wait for nobody: consent withdrawn, or stopped
	Changes    int64            // members whose identifiers have changed: remove the old, add the new
	Revalued   int64            // members held as they are, but for a value that has moved: sent again
	Suppressed map[string]int64 // members not sent, by reason
	Way        string           // "diff", "replace" or "file"; "" when there is nothing to send
	WayReason  string           // the figures that chose it, in words
	Requests   int64
	Duration   time.Duration // of sending at the pace the platform allows
	Hold       []string      // why it would wait for approval, in words; empty when it would not
}

// HeldPlan is a plan that waits, or waited, for a person. An audience has at most one: the newest.
type HeldPlan struct {
	Run     RunID // the sync that was held
	State   HeldState
	Plan    SyncPlan
	Time    time.Time
	Expires time.Time // from then on it cannot be approved, and an approval covers nothing more
}

// HeldState is what was decided about a held plan.
type HeldState string

// The states. An approval covers all syncs until the plan expires that do no more than it.
const (
	HeldWaiting  HeldState = "waiting"
	HeldApproved HeldState = "approved"
	HeldDropped  HeldState = "dropped"
)

// Source is the state of what membership is computed from. The figures are of the seven days before.
type Source struct {
	Evaluated time.Time // when membership was last computed; zero: not known
	Newest    time.Time // 99.9 % of the events are not later; zero: there are none
	Events    int64
	Distinct  int64 // events that differ in more than their id, about
	Users     int64 // with an event, about
}

// SyncRecord is what a sync went by that was not held. Later plans are compared with it.
type SyncRecord struct {
	Run            RunID
	Time           time.Time
	Expression     string // a digest of the segment's
	Members        int64
	Unidentifiable int64 // of the members
	Source         Source
}

// Health is whether the work of a destination goes on, as far as is known.
type Health struct {
	State    HealthState
	Trouble  string    // what keeps the work waiting, in words; "" while nothing does
	Remedy   string    // what a person can do about it
	Since    time.Time // of the trouble
	Checked  time.Time // when the platform last answered; zero: not yet
	Warnings []string  // what will stop the work some day, such as the end of an API version
}

// HealthState is whether the work of a destination goes on.
type HealthState string

// The states. While it waits, nothing is sent until a person has helped; then it goes on by itself.
const (
	HealthUnknown HealthState = ""
	HealthOK      HealthState = "ok"
	HealthWaiting HealthState = "waiting"
)

// HeldSync is a sync that waits for a person.
type HeldSync struct {
	Audience AudienceID
	HeldPlan
}
