package sandbox

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
)

// tikTokMaxIDs is the most audience ids of one call, and the largest page.
const tikTokMaxIDs = 100

// tikTokRecord is an audience as list and get show it.
type tikTokRecord struct {
	ID            string           `json:"audience_id"`
	Name          string           `json:"name"`
	Owner         string           `json:"owner_id"`
	IsCreator     bool             `json:"is_creator"`
	Shared        bool             `json:"shared"`
	ListType      string           `json:"audience_type,omitempty"` // in list
	GetType       string           `json:"type,omitempty"`          // in get
	CalculateType *string          `json:"calculate_type"`
	Cover         int              `json:"cover_num"`
	Valid         bool             `json:"is_valid"`
	Expiring      bool             `json:"is_expiring"`
	Msg           *string          `json:"msg"`
	ErrorMsg      *string          `json:"error_msg"`
	Created       string           `json:"create_time"`
	Expired       string           `json:"expired_time"`
	Lookalike     *tikTokLookalike `json:"lookalike_spec,omitempty"`
	Enhancement   bool             `json:"audience_enhancement"`
}

func (t *TikTok) record(c *tikTokCall, a *tikTokAudience) tikTokRecord {
	a.settle(c.now)
	r := tikTokRecord{ID: a.id, Name: a.name, Owner: a.owner, IsCreator: true, Cover: t.cover(a, c.now), Valid: t.valid(a, c.now),
		Expiring: a.expires.AddDate(0, 0, -60).Before(c.now), Created: a.created.Format(tikTokTime), Expired: a.expires.Format(tikTokTime),
		Lookalike: a.lookalike, Enhancement: a.enhancement}
	if a.calculateType != "" {
		r.CalculateType = &a.calculateType
	}
	if a.errorMsg != "" {
		r.ErrorMsg = &a.errorMsg
	}
	return r
}

// readList is GET /dmp/custom_audience/list/.
func readList(c *tikTokCall) (tikTokAct, error) {
	q, advertiser, ids, err := c.audienceQuery("page", "page_size")
	if err != nil {
		return nil, err
	}
	page, err := queryNumber(q, "page", 1, 1<<31)
	if err != nil {
		return nil, err
	}
	size, err := queryNumber(q, "page_size", 10, tikTokMaxIDs)
	if err != nil {
		return nil, err
	}
	return func(t *TikTok) (any, error) {
		if err := t.own(c, advertiser); err != nil {
			return nil, err
		}
		all := t.live(advertiser)
		if ids != nil {
			all = slices.DeleteFunc(all, func(a *tikTokAudience) bool { return !slices.Contains(ids, a.id) })
		}
		from := min((page-1)*size, len(all))
		list := []tikTokRecord{}
		for _, a := range all[from:min(from+size, len(all))] {
			r := t.record(c, a)
			r.ListType = a.kind
			list = append(list, r)
		}
		return map[string]any{"list": list, "page_info": map[string]int{"page": page, "page_size": size, "total_number": len(all),
			"total_page": (len(all) + size - 1) / size}}, nil
	}, nil
}

// readGet is GET /dmp/custom_audience/get/.
func readGet(c *tikTokCall) (tikTokAct, error) {
	q, advertiser, ids, err := c.audienceQuery("history_size")
	if err != nil {
		return nil, err
	}
	if ids == nil {
		return nil, required(requiredField{"custom_audience_ids", false})
	}
	lines, err := queryNumber(q, "history_size", tikTokMaxIDs, tikTokMaxIDs)
	if err != nil {
		return nil, err
	}
	return func(t *TikTok) (any, error) {
		if err := t.own(c, advertiser); err != nil {
			return nil, err
		}
		list := []any{}
		for _, id := range ids {
			a := t.find(id, advertiser)
			if a == nil {
				continue
			}
			r := t.record(c, a)
			r.GetType = a.kind
			list = append(list, map[string]any{"audience_details": r, "audience_history": a.history[:min(lines, len(a.history))]})
		}
		return map[string]any{"list": list}, nil
	}, nil
}

type deleteBody struct {
	Advertiser string   `json:"advertiser_id"`
	IDs        []string `json:"custom_audience_ids"`
}

// readDelete is POST /dmp/custom_audience/delete/: all of the audiences or none.
func readDelete(c *tikTokCall) (tikTokAct, error) {
	var b deleteBody
	if err := c.decodeBody(&b); err != nil {
		return nil, err
	}
	if err := required(requiredField{"advertiser_id", b.Advertiser != ""}, requiredField{"custom_audience_ids", len(b.IDs) > 0}); err != nil {
		return nil, err
	}
	if err := checkIDs("custom_audience_ids", append(b.IDs, b.Advertiser)...); err != nil {
		return nil, err
	}
	if len(b.IDs) > tikTokMaxIDs {
		return nil, refusal(40011, "custom_audience_ids: At most %d ids.", tikTokMaxIDs)
	}
	return func(t *TikTok) (any, error) {
		if err := t.own(c, b.Advertiser); err != nil {
			return nil, err
		}
		for _, id := range b.IDs {
			if t.find(id, b.Advertiser) == nil {
				return nil, refusal(40007, "The audience %s does not exist.", id)
			}
		}
		for _, id := range b.IDs {
			t.audiences[id].remove()
		}
		return empty{}, nil
	}, nil
}

// audienceQuery reads a query about audiences of an advertiser; more are the names it may have besides. ids is nil when they
// were left out.
func (c *tikTokCall) audienceQuery(more ...string) (q url.Values, advertiser string, ids []string, err error) {
	if q, err = c.query(append(more, "advertiser_id", "custom_audience_ids")...); err != nil {
		return nil, "", nil, err
	}
	advertiser = q.Get("advertiser_id")
	if err = required(requiredField{"advertiser_id", advertiser != ""}); err == nil {
		err = checkIDs("advertiser_id", advertiser)
	}
	if err == nil {
		ids, err = queryIDs(q)
	}
	return q, advertiser, ids, err
}

// queryIDs reads custom_audience_ids, a JSON array of strings; nil when it was left out.
func queryIDs(q url.Values) ([]string, error) {
	if !q.Has("custom_audience_ids") {
		return nil, nil
	}
	var ids []string
	if err := json.Unmarshal([]byte(q.Get("custom_audience_ids")), &ids); err != nil {
		return nil, refusal(40002, "custom_audience_ids: Not a valid JSON array of strings.")
	}
	if len(ids) == 0 || len(ids) > tikTokMaxIDs {
		return nil, refusal(40002, "custom_audience_ids: Length must be 1 to %d.", tikTokMaxIDs)
	}
	return ids, checkIDs("custom_audience_ids", ids...)
}

// queryNumber reads a number of 1 to most.
func queryNumber(q url.Values, name string, absent, most int) (int, error) {
	if !q.Has(name) {
		return absent, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 1 || n > most {
		return 0, refusal(40002, "%s: Must be 1 to %d.", name, most)
	}
	return n, nil
}
