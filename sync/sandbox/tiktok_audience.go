package sandbox

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	tikTokMaxAudiences = 400   // per advertiser
	tikTokMinMatched   = 1_000 // users an audience needs to be usable, and to show its size
)

// Kinds of audience, as list and get name them.
const (
	typePartner   = "Partner" // made by /segment/audience/
	typeFile      = "Customer File Audience"
	typeLookalike = "Lookalike Audience"
)

// Member is one identifier TikTok holds in an audience.
type Member struct {
	Kind string `json:"kind"` // EMAIL_SHA256, PHONE_SHA256, AAID_MD5 …
	Hash string `json:"hash"`
}

func (m Member) compare(other Member) int {
	if c := strings.Compare(m.Kind, other.Kind); c != 0 {
		return c
	}
	return strings.Compare(m.Hash, other.Hash)
}

type memberSet map[Member]struct{}

// tikTokAudience is a segment, a file audience or a lookalike.
type tikTokAudience struct {
	id, owner     string
	name          string
	kind          string
	calculateType string
	subType       string
	enhancement   bool
	members       memberSet
	pending       memberSet // members after processing; nil when nothing is processed
	pendingError  string    // why processing will fail
	ready         time.Time // end of processing
	errorMsg      string
	sizes         timeline
	lookalike     *tikTokLookalike
	created       time.Time
	expires       time.Time
	deleted       bool
	history       []audienceChange // newest first
}

// audienceChange is a line of audience_history.
type audienceChange struct {
	Action string `json:"action"`
	Detail string `json:"action_detail"`
	Editor string `json:"editor"`
	Msg    string `json:"msg"`
	Time   string `json:"opt_time"`
}

const tikTokTime = "2006-01-02 15:04:05" // GMT

// newAudience registers an audience of the owner, which must have room for it.
func (t *TikTok) newAudience(c *tikTokCall, owner, name, kind string) (*tikTokAudience, error) {
	if len(t.live(owner)) >= tikTokMaxAudiences {
		return nil, refusal(40002, "The advertiser has reached its limit of %d audiences.", tikTokMaxAudiences)
	}
	t.created++
	a := &tikTokAudience{id: strconv.FormatInt(170000000+t.created, 10), owner: owner, name: name, kind: kind,
		members: memberSet{}, created: c.now, expires: c.now.AddDate(0, 0, 365)}
	a.note(c.now, "CREATE", name)
	t.audiences[a.id] = a
	return a, nil
}

func (a *tikTokAudience) note(now time.Time, action, detail string) {
	a.history = slices.Insert(a.history, 0, audienceChange{Action: action, Detail: detail, Editor: "open_api", Time: now.Format(tikTokTime)})
}

// live are the audiences of an advertiser that exist, in the order of their ids.
func (t *TikTok) live(owner string) []*tikTokAudience {
	var out []*tikTokAudience
	for _, id := range slices.Sorted(maps.Keys(t.audiences)) {
		if a := t.audiences[id]; a.owner == owner && !a.deleted {
			out = append(out, a)
		}
	}
	return out
}

// find is an audience that exists and belongs to one of the owners.
func (t *TikTok) find(id string, owners ...string) *tikTokAudience {
	a := t.audiences[id]
	if a == nil || a.deleted || !slices.Contains(owners, a.owner) {
		return nil
	}
	return a
}

// settle ends processing that is due.
func (a *tikTokAudience) settle(now time.Time) {
	if a.pending == nil || now.Before(a.ready) {
		return
	}
	if a.errorMsg = a.pendingError; a.errorMsg == "" {
		a.members = a.pending
	}
	a.pending, a.pendingError = nil, ""
}

// cover is cover_num: matched users as far as they show, 0 below the privacy floor.
func (t *TikTok) cover(a *tikTokAudience, now time.Time) int {
	if a.kind == typeLookalike || now.After(a.expires) {
		return 0
	}
	size := len(a.members)
	if a.kind == typePartner {
		size, _ = a.sizes.at(now.Add(-t.server.cfg.TikTok.VisibleAfter))
	}
	if matched := t.matched(size); matched >= tikTokMinMatched {
		return matched
	}
	return 0
}

func (t *TikTok) matched(size int) int { return int(float64(size) * t.server.cfg.TikTok.MatchRate) }

// valid is is_valid: the audience can be used in ads.
func (t *TikTok) valid(a *tikTokAudience, now time.Time) bool {
	switch {
	case now.After(a.expires), a.pending != nil, a.errorMsg != "":
		return false
	case a.kind == typeLookalike:
		return !now.Before(a.ready)
	}
	return t.cover(a, now) > 0
}
