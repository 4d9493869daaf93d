package sandbox

import "time"

// tikTokQuota is what one developer app and its advertisers have used. Recovery is TikTok's: a second over the limit ends
// with the second, a minute over it costs five minutes, a day over it the rest of the day (UTC).
type tikTokQuota struct {
	qps          int
	second       *bucket
	minute       *window
	day          string
	today        int
	blockedUntil time.Time
	advertisers  map[string]*bucket
}

func newTikTokQuota(cfg TikTokConfig) tikTokQuota {
	return tikTokQuota{qps: cfg.QPS, second: newBucket(cfg.QPS), minute: newWindow(time.Second, 60), advertisers: map[string]*bucket{}}
}

// takeApp books a request of the app and tells whether it is within all three limits.
func (q *tikTokQuota) takeApp(now time.Time) bool {
	if day := now.Format(time.DateOnly); day != q.day {
		q.day, q.today = day, 0
	}
	if now.Before(q.blockedUntil) || !q.second.take(now) {
		return false
	}
	q.minute.add(now, 1)
	q.today++
	switch {
	case q.today > 86_400*q.qps:
		q.blockedUntil = now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	case q.minute.total(now) > 60*q.qps:
		q.blockedUntil = now.Add(5 * time.Minute)
	default:
		return true
	}
	return false
}

func (q *tikTokQuota) takeAdvertiser(now time.Time, id string, qps int) bool {
	b := q.advertisers[id]
	if b == nil {
		b = newBucket(qps)
		q.advertisers[id] = b
	}
	return b.take(now)
}
