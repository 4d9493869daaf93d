package meta

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/kohorta/kohorta/sync/destination"
)

// budget is what the headers of one answer say (5.2).
type budget struct {
	used       float64       // share of the tightest, 1 = used up
	regain     time.Duration // until this account may call again; 0 when nothing is blocked
	reset      time.Duration // until the ad account's score is back at zero
	byScore    bool          // the tightest is the ad account's score
	retryAfter time.Duration // of the general header, which Meta may not send
	tier       string        // of access, "" when no header tells
	fullTier   bool          // it is the higher one
}

// usage is one entry of X-Business-Use-Case-Usage, or X-App-Usage. All are percentages and may exceed 100.
type usage struct {
	Type      string  `json:"type"`
	CallCount float64 `json:"call_count"`
	CPUTime   float64 `json:"total_cputime"`
	Time      float64 `json:"total_time"`
	RegainMin float64 `json:"estimated_time_to_regain_access"` // minutes
	Tier      string  `json:"ads_api_access_tier"`
}

func (u usage) share() float64 { return max(u.CallCount, u.CPUTime, u.Time) / 100 }

// readBudget reads the three headers. Broken ones count as absent: they must not fail a call that succeeded.
func readBudget(h http.Header, account string) (b budget) {
	var app usage
	if json.Unmarshal([]byte(h.Get("X-App-Usage")), &app) == nil {
		b.used = app.share()
	}
	var score struct {
		Percent  float64 `json:"acc_id_util_pct"`
		ResetSec float64 `json:"reset_time_duration"` // seconds
		Tier     string  `json:"ads_api_access_tier"`
	}
	if json.Unmarshal([]byte(h.Get("X-Ad-Account-Usage")), &score) == nil {
		b.byScore = score.Percent/100 >= b.used
		b.used = max(b.used, score.Percent/100)
		b.reset = seconds(score.ResetSec)
		b.tier, b.fullTier = score.Tier, isFull(score.Tier)
	}
	for _, u := range useCases(h, account) {
		if u.Type == "custom_audience" {
			b.byScore = b.byScore && b.used >= u.share()
			b.used = max(b.used, u.share())
			b.tier = cmp.Or(b.tier, u.Tier)
			b.regain = max(b.regain, seconds(60*u.RegainMin))
			b.fullTier = b.fullTier || isFull(u.Tier)
		}
	}
	if s, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil {
		b.retryAfter = seconds(s)
	}
	return b
}

// useCases are the entries under this account's number, or, when the key is that of a business, all of them.
func useCases(h http.Header, account string) (all []usage) {
	var byOwner map[string][]usage
	if json.Unmarshal([]byte(h.Get("X-Business-Use-Case-Usage")), &byOwner) != nil {
		return nil
	}
	if own, ok := byOwner[account]; ok {
		return own
	}
	for _, list := range byOwner {
		all = append(all, list...)
	}
	return all
}

// isFull tells the higher tier; its old name was standard_access.
func isFull(tier string) bool { return tier == "standard_access" || tier == "full_access" }

// seconds bounds what a header says to a day; negative and absurd values count as nothing.
func seconds(s float64) time.Duration {
	if !(s > 0) {
		return 0
	}
	return time.Duration(min(s, 24*3600) * float64(time.Second))
}

func (b budget) pace() destination.Pace {
	pace := destination.Pace{Used: b.used, Wait: b.regain}
	if b.byScore {
		pace.Back = b.reset
	}
	return pace
}

// The ad account's score (5.1): a write takes 3 points, and they come back within 300 seconds.
const (
	scoreLimited = 60
	scoreFull    = 9000
	writeScore   = 3
	scoreSpan    = 300 * time.Second
)

// budgetOf is how many writes a tier allows, nothing while the tier is not known.
func budgetOf(tier string) destination.Budget {
	switch {
	case tier == "":
		return destination.Budget{}
	case isFull(tier):
		return destination.Budget{Requests: scoreFull / writeScore, Per: scoreSpan}
	}
	return destination.Budget{Requests: scoreLimited / writeScore, Per: scoreSpan}
}
