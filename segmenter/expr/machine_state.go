package expr

import "github.com/kohorta/kohorta/internal/audience"

// state is what a machine has found about the user at hand.
type state struct {
	at     int64 // of evaluation, in milliseconds
	bounds []bounds
	due    int64 // the next instant found so far; 0: none

	*audience.Excerpt
	event   *audience.ExcerptEvent // at hand; nil once all are counted
	tallies []tally
	chains  []chain
	bought  bought
	holds   []bool // of each unit: whether its expression does
	in      []bool // of each unit: whether the user is
}

// bounds are the instants after which and until which a window holds events.
type bounds struct{ after, until int64 }

// begin makes the state ready for another user.
func (s *state) begin(x *audience.Excerpt) {
	s.Excerpt, s.due = x, 0
	for i := range s.tallies {
		s.tallies[i].reset()
	}
	for i := range s.chains {
		s.chains[i].events = s.chains[i].events[:0]
	}
	s.bought.reset()
}

// next notes an instant at which something changes, if it is yet to come.
func (s *state) next(instant int64) {
	if instant > s.at && (s.due == 0 || instant < s.due) {
		s.due = instant
	}
}
