package sandbox

import "time"

// window counts what happened in the last slots × width of time.
type window struct {
	width time.Duration
	slots []int
	last  int64 // number of the newest slot since the epoch
}

func newWindow(width time.Duration, slots int) *window {
	return &window{width: width, slots: make([]int, slots)}
}

// roll drops the slots that have left the window at now.
func (w *window) roll(now time.Time) {
	n := now.UnixNano() / int64(w.width)
	for w.last < n {
		w.last = max(w.last+1, n-int64(len(w.slots))+1)
		w.slots[w.last%int64(len(w.slots))] = 0
	}
}

func (w *window) add(now time.Time, n int) {
	w.roll(now)
	w.slots[w.last%int64(len(w.slots))] += n
}

func (w *window) total(now time.Time) int {
	w.roll(now)
	sum := 0
	for _, n := range w.slots {
		sum += n
	}
	return sum
}

// wait is how long it takes, without further use, until the total is below limit.
func (w *window) wait(now time.Time, limit int) time.Duration {
	total := w.total(now)
	size := int64(len(w.slots))
	for i := int64(1); i <= size; i++ {
		if total < limit {
			return max(0, time.Unix(0, (w.last+i-1)*int64(w.width)).Sub(now))
		}
		total -= w.slots[(w.last+i)%size]
	}
	return time.Unix(0, (w.last+size)*int64(w.width)).Sub(now)
}

// bucket is a token bucket that starts full: rate tokens a second, at most rate of them.
type bucket struct {
	rate   float64
	tokens float64
	at     time.Time
}

func newBucket(rate int) *bucket { return &bucket{rate: float64(rate), tokens: float64(rate)} }

func (b *bucket) take(now time.Time) bool {
	if !b.at.IsZero() {
		b.tokens = min(b.rate, b.tokens+now.Sub(b.at).Seconds()*b.rate)
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// timeline is a size as it grew, so that a platform can show an old one.
type timeline []struct {
	at   time.Time
	size int
}

// note keeps size as of now and forgets what is older than the newest entry before shown.
func (t *timeline) note(now, shown time.Time, size int) {
	for len(*t) > 1 && !(*t)[1].at.After(shown) {
		*t = (*t)[1:]
	}
	*t = append(*t, struct {
		at   time.Time
		size int
	}{now, size})
}

// at is the size as of that time; false before the first.
func (t timeline) at(when time.Time) (int, bool) {
	for i := len(t) - 1; i >= 0; i-- {
		if !t[i].at.After(when) {
			return t[i].size, true
		}
	}
	return 0, false
}
