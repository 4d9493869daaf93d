package sandbox

import (
	"fmt"
	"maps"
	"slices"
)

// TikTokAudience is an audience as it truly is.
type TikTokAudience struct {
	ID         string `json:"id"`
	Advertiser string `json:"advertiser"`
	Name       string `json:"name"`
	Type       string `json:"type"`
	Processing bool   `json:"processing"`
	Deleted    bool   `json:"deleted"`
	Error      string `json:"error,omitempty"`
	Members    int    `json:"members"`
}

// Audiences are all audiences of all advertisers, deleted ones included, in the order of their ids.
func (t *TikTok) Audiences() []TikTokAudience {
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	out := make([]TikTokAudience, 0, len(t.audiences))
	for _, id := range slices.Sorted(maps.Keys(t.audiences)) {
		a := t.audiences[id]
		a.settle(t.server.now())
		out = append(out, TikTokAudience{ID: a.id, Advertiser: a.owner, Name: a.name, Type: a.kind, Processing: a.pending != nil,
			Deleted: a.deleted, Error: a.errorMsg, Members: len(a.members)})
	}
	return out
}

// Members are the identifiers an audience holds at this moment, visible in cover_num or not, sorted by kind and hash; nil when
// there is no such audience.
func (t *TikTok) Members(audienceID string) []Member {
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	a := t.audiences[audienceID]
	if a == nil {
		return nil
	}
	a.settle(t.server.now())
	out := make([]Member, 0, len(a.members))
	for m := range a.members {
		out = append(out, m)
	}
	slices.SortFunc(out, Member.compare)
	return out
}

// SetDeleted makes an audience disappear as if somebody had deleted it in the Ads Manager.
func (t *TikTok) SetDeleted(audienceID string) error {
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	a := t.audiences[audienceID]
	if a == nil {
		return fmt.Errorf("audience %q: not found", audienceID)
	}
	a.remove()
	return nil
}

func (a *tikTokAudience) remove() {
	a.deleted = true
	a.members, a.pending = memberSet{}, nil
}
