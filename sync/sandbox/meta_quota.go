package sandbox

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// Budgets of Meta, "Marketing API Rate Limiting" (2026).
const (
	metaCallsSpan        = time.Hour // rolling
	metaCallsLimited     = 5_000
	metaCallsFull        = 190_000
	metaCallsPerAudience = 40
	metaCallsCap         = 700_000
	metaScoreSpan        = 300 * time.Second
	metaScoreLimited     = 60
	metaScoreFull        = 9_000
	metaBlockLimited     = 300 * time.Second
	metaBlockFull        = 60 * time.Second
	metaAppPerSecond     = 100
	metaAppPerHour       = 200 * 100 // 200 for each of 100 users; shown, not enforced
)

// metaBudget is what one ad account has used. Refused calls count too, which is how they push the end of a block away.
type metaBudget struct {
	calls        *window // custom-audience use case
	score        *window // ad-account score: read 1, write 3
	blockedUntil time.Time
}

func newMetaBudget() metaBudget {
	return metaBudget{calls: newWindow(metaCallsSpan/60, 60), score: newWindow(metaScoreSpan/60, 60)}
}

type metaAppBudget struct{ second, hour *window }

func newMetaAppBudget() metaAppBudget {
	return metaAppBudget{second: newWindow(time.Second, 1), hour: newWindow(time.Hour/60, 60)}
}

// spend books a call and refuses it when a budget is used up. Adds go to the ad-account score, all other calls to the
// custom-audience budget: so say the recorded headers.
func (m *Meta) spend(c *metaCall, route metaRoute) error {
	b := &c.account.budget
	m.app.second.add(c.now, 1)
	m.app.hour.add(c.now, 1)
	score := 1
	if route.writes {
		score = 3
	}
	if route.adds {
		b.score.add(c.now, score)
	} else {
		b.calls.add(c.now, 1)
	}
	maxScore, block := m.scoreLimit()
	switch {
	case !m.server.quotas:
		return nil
	case m.app.second.total(c.now) > metaAppPerSecond:
		return &metaError{Code: 613, Subcode: 5044001, Message: "(#613) Calls to this api have exceeded the rate limit."}
	case route.adds && (c.now.Before(b.blockedUntil) || b.score.total(c.now) > maxScore):
		b.blockedUntil = c.now.Add(block)
		return &metaError{Code: 17, Subcode: 2446079, Message: "(#17) User request limit reached", Title: "Ad account has too many API calls"}
	case !route.adds && b.calls.total(c.now) > m.callLimit(c.account):
		return &metaError{Code: 80003, Subcode: 2446079, Message: "(#80003) There have been too many calls to this ad-account. Wait a bit and try again."}
	}
	return nil
}

func (m *Meta) scoreLimit() (int, time.Duration) {
	if m.server.cfg.Meta.LimitedTier {
		return metaScoreLimited, metaBlockLimited
	}
	return metaScoreFull, metaBlockFull
}

func (m *Meta) callLimit(account *metaAccount) int {
	base := metaCallsFull
	if m.server.cfg.Meta.LimitedTier {
		base = metaCallsLimited
	}
	active := 0
	for _, a := range m.audiences {
		if a.account == account.id && a.state != StateDeleted {
			active++
		}
	}
	return min(base+metaCallsPerAudience*active, metaCallsCap)
}

type businessUsage struct {
	Type       string `json:"type"`
	CallCount  int    `json:"call_count"`
	TotalCPU   int    `json:"total_cputime"`
	TotalTime  int    `json:"total_time"`
	RegainMins int    `json:"estimated_time_to_regain_access"`
	Tier       string `json:"ads_api_access_tier"`
}

type accountUsage struct {
	Percent float64 `json:"acc_id_util_pct"`
	Reset   int     `json:"reset_time_duration"` // seconds
	Tier    string  `json:"ads_api_access_tier"`
}

type appUsage struct {
	CallCount int `json:"call_count"`
	TotalTime int `json:"total_time"`
	TotalCPU  int `json:"total_cputime"`
}

func (m *Meta) tier() string {
	if m.server.cfg.Meta.LimitedTier {
		return "development_access"
	}
	return "standard_access"
}

// usageHeaders reports the budgets, each on the calls that draw on it.
func (m *Meta) usageHeaders(c *metaCall, route metaRoute, h http.Header) {
	if c.account == nil {
		return
	}
	b, now := &c.account.budget, c.now
	if !route.adds {
		limit := m.callLimit(c.account)
		used := percent(b.calls.total(now), limit)
		wait := time.Duration(0)
		if b.calls.total(now) > limit {
			wait = b.calls.wait(now, limit)
		}
		setBusinessUsage(h, c.account.id, businessUsage{"custom_audience", int(used), int(used / 2), int(used / 2), minutes(wait), m.tier()})
		return
	}
	limit, _ := m.scoreLimit()
	used := percent(b.score.total(now), limit)
	reset := max(b.blockedUntil.Sub(now), 0)
	h["X-Ad-Account-Usage"] = []string{string(jsonText(accountUsage{used, int(math.Ceil(reset.Seconds())), m.tier()}))}
	calls := int(percent(m.app.hour.total(now), metaAppPerHour))
	h["X-App-Usage"] = []string{string(jsonText(appUsage{calls, calls / 2, calls / 2}))}
}

// throttleHeader says on a refusal by fault when access comes back, for the account of the path.
func (m *Meta) throttleHeader(path string, regainMins int, h http.Header) {
	for _, part := range strings.Split(path, "/") {
		account, _ := strings.CutPrefix(part, "act_")
		if a := m.audiences[part]; a != nil {
			account = a.account
		}
		if m.accounts[account] != nil {
			setBusinessUsage(h, account, businessUsage{"custom_audience", 100, 50, 50, regainMins, m.tier()})
		}
	}
}

func setBusinessUsage(h http.Header, account string, u businessUsage) {
	h["X-Business-Use-Case-Usage"] = []string{string(jsonText(map[string][]businessUsage{account: {u}}))}
}

// percent of a limit, to two decimals.
func percent(used, limit int) float64 {
	return math.Round(float64(used)/float64(limit)*10_000) / 100
}
