package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// shop is a simulated source: on which days which customers came, and what segments make of it. Traffic has a weekly and
// a yearly cycle, grows by half a year on year, and doubles during campaigns.
type shop struct {
	random *rand.Rand
	zero   time.Time
	today  int
	times  int                   // every event is there
	visits [][days/64 + 1]uint64 // a bit a day, by customer
}

const (
	customers = 3000
	warmUp    = 120 // days before syncs begin
	days      = warmUp + 56 + 365
)

func newShop(seed uint64) *shop {
	s := &shop{random: rand.New(rand.NewPCG(seed, 1)), zero: time.Date(2025, 1, 1, 5, 0, 0, 0, time.UTC), visits: make([][days/64 + 1]uint64, customers)}
	var campaigns []int
	for day := 20; day < days; day += 25 + s.random.IntN(30) {
		campaigns = append(campaigns, day)
	}
	for day := range days {
		level := 0.06 * (1 + 0.5*float64(day)/365) * (1 + 0.25*math.Sin(2*math.Pi*float64(day)/365)) * (0.95 + 0.1*s.random.Float64())
		if weekday := s.zero.AddDate(0, 0, day).Weekday(); weekday == time.Saturday || weekday == time.Sunday {
			level *= 0.6
		}
		if slices.ContainsFunc(campaigns, func(first int) bool { return day >= first && day < first+7 }) {
			level *= 2
		}
		for c := range s.visits {
			if s.random.Float64() < level*(0.5+float64(c%100)/100) { // some come often, some seldom
				s.visits[c][day/64] |= 1 << (day % 64)
			}
		}
	}
	return s
}

// count is on how many of the last days a customer came.
func (s *shop) count(c, last int) (n int) {
	for day := max(0, s.today-last+1); day <= s.today; day++ {
		n += int(s.visits[c][day/64] >> (day % 64) & 1)
	}
	return n * s.times
}

// segments are what shops use, each with the mistakes people make in it.
var segments = map[string]struct {
	right func(s *shop, c int) bool
	wrong map[string]func(s *shop, c int) bool
}{
	"came within 30 days": {
		right: func(s *shop, c int) bool { return s.count(c, 30) >= 1 },
		wrong: map[string]func(s *shop, c int) bool{
			"negated":         func(s *shop, c int) bool { return s.count(c, 30) < 1 },
			"3 days, not 30":  func(s *shop, c int) bool { return s.count(c, 3) >= 1 },
			"11 times, not 1": func(s *shop, c int) bool { return s.count(c, 30) >= 11 },
		},
	},
	"came ten times within 90 days": {
		right: func(s *shop, c int) bool { return s.count(c, 90) >= 10 },
		wrong: map[string]func(s *shop, c int) bool{
			"at most, not at least": func(s *shop, c int) bool { return s.count(c, 90) <= 10 },
			"9 days, not 90":        func(s *shop, c int) bool { return s.count(c, 9) >= 10 },
			"everybody":             func(*shop, int) bool { return true },
		},
	},
	"came within 60 days, but not 14": {
		right: func(s *shop, c int) bool { return s.count(c, 60) >= 1 && s.count(c, 14) == 0 },
		wrong: map[string]func(s *shop, c int) bool{
			"or, not and":   func(s *shop, c int) bool { return s.count(c, 60) >= 1 || s.count(c, 14) == 0 },
			"1 day, not 14": func(s *shop, c int) bool { return s.count(c, 60) >= 1 && s.count(c, 1) == 0 },
		},
	},
}

// fault is what went wrong between the shop and the plan.
type fault struct {
	lost       func(c int) bool // customers whose events are missing
	twice      bool             // every event is there twice, under other ids
	shift      time.Duration    // of the events' times
	late       time.Duration    // since membership was computed
	expression func(s *shop, c int) bool
	anonymous  bool // the identifiers of most customers are missing
}

func (f fault) none() bool {
	return f.lost == nil && f.expression == nil && !f.twice && !f.anonymous && f.shift == 0 && f.late == 0
}

// syncing is an audience of the shop with its ledger and its past.
type syncing struct {
	shop    *shop
	segment func(s *shop, c int) bool
	held    map[int]bool
	past    []audience.SyncRecord // newest first
}

// plan is that of today. Without a fault it is also carried out, if it is not held.
func (s *syncing) plan(f fault) Plan {
	at := s.shop.zero.AddDate(0, 0, s.shop.today)
	evidence := Evidence{Now: at, Expression: "right", Past: s.past[:min(len(s.past), 56)],
		Source: audience.Source{Evaluated: at.Add(-time.Hour - f.late), Newest: at.Add(f.shift - time.Duration(2+s.shop.random.IntN(15))*time.Minute)}}
	segment := s.segment
	if f.expression != nil {
		segment, evidence.Expression = f.expression, "wrong"
	}
	s.shop.times = 1
	if f.twice {
		s.shop.times = 2
	}
	var tally Tally
	var totals audience.SyncTotals
	for c := range customers {
		there := f.lost == nil || !f.lost(c)
		if n := int64(s.shop.count(c, 7)); there && n > 0 {
			evidence.Source.Users++
			evidence.Source.Events += n
			evidence.Source.Distinct += n / int64(s.shop.times)
		}
		var row audience.SyncRow
		if there && segment(s.shop, c) {
			row.Wanted = now
			if c%20 == 0 || f.anonymous && c%3 != 0 {
				row.Wanted, row.Suppressed = nil, Unidentifiable
			}
		}
		if s.held[c] {
			totals.Held++
			row.Held = audience.Delivery{State: audience.DeliveryDelivered, Identifiers: now}
		}
		if tally.Count(row) == Keep && len(row.Wanted) > 0 {
			totals.Unchanged++
		}
		if f.none() {
			s.held[c] = len(row.Wanted) > 0
		}
	}
	p := tally.Plan(totals, evidence)
	if f.none() {
		s.past = slices.Insert(s.past, 0, audience.SyncRecord{Time: at, Expression: evidence.Expression, Members: p.Members,
			Unidentifiable: p.Suppressed[Unidentifiable], Source: evidence.Source})
	}
	return p
}

// Faults of every kind are held on every day they are tried; a year of ordinary days never is.
func TestFaultsAreHeldAndSeasonsAreNot(t *testing.T) {
	for name, segment := range segments {
		t.Run(name, func(t *testing.T) {
			faults := map[string]fault{
				"empty source":                 {lost: func(int) bool { return true }},
				"half an import missing":       {lost: func(c int) bool { return c%2 == 0 }},
				"double import":                {twice: true},
				"membership not computed":      {late: 48 * time.Hour},
				"most identifiers missing":     {anonymous: true},
				"events an hour in the future": {shift: time.Hour},
				"events an hour late":          {shift: -time.Hour},
				"time zone of Warsaw":          {shift: 2 * time.Hour},
				"time zone of New York":        {shift: -5 * time.Hour},
				"time zone of Auckland":        {shift: 12 * time.Hour},
			}
			for mistake, expression := range segment.wrong {
				faults["wrong expression: "+mistake] = fault{expression: expression}
			}
			const seed = 7
			s := &syncing{shop: newShop(seed), segment: segment.right, held: map[int]bool{}}
			for s.shop.today = warmUp; s.shop.today < days; s.shop.today++ {
				ordinary := s.shop.today >= warmUp+56
				if ordinary && s.shop.today%9 == 0 {
					for name, f := range faults {
						require.NotEmpty(t, s.plan(f).Hold, "day %d: %s", s.shop.today, name)
					}
				}
				p := s.plan(fault{})
				if ordinary {
					require.Empty(t, p.Hold, "day %d", s.shop.today)
				}
			}
		})
	}
}
