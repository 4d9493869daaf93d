package warehouse

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"golang.org/x/sync/errgroup"

	"github.com/kohorta/kohorta/internal/audience"
)

// Excerpts reads what an evaluation selects of users' histories and yields the excerpt of each, in no particular order; one is valid until the
// next. It asks a handful of small queries at once, whatever the selection is. Events stream by user: memory is that of the longest history.
func (s *Store) Excerpts(ctx context.Context, users []audience.UserID, selection audience.Selection) iter.Seq2[*audience.Excerpt, error] {
	return func(yield func(*audience.Excerpt, error) bool) {
		if err := s.complete(ctx); err != nil {
			yield(nil, err)
			return
		}
		r := excerptReader{store: s, selection: selection, silent: make(map[audience.UserID]bool, len(users))}
		for _, user := range users {
			r.silent[user] = true
		}
		if err := r.read(ctx, users, func(x *audience.Excerpt) bool { return yield(x, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// excerptReader reads the excerpts of one call.
type excerptReader struct {
	store     *Store
	selection audience.Selection
	silent    map[audience.UserID]bool // users of whom no event was selected so far

	profiles map[audience.UserID]audience.Profile
	pins     map[audience.UserID][]audience.Pin
	recorded map[audience.UserID][]audience.Number
	scores   []map[audience.UserID]audience.Score

	excerpt audience.Excerpt // at hand; its events are written over by those of the next user
}

// read yields until told to stop.
func (r *excerptReader) read(ctx context.Context, users []audience.UserID, yield func(*audience.Excerpt) bool) error {
	asking, err := withUsers(ctx, users)
	if err != nil {
		return fmt.Errorf("name %d users: %w", len(users), err)
	}
	var group errgroup.Group
	r.readBesideEvents(asking, &group)
	goOn := true
	failed := r.readEvents(asking, func() bool {
		if goOn = group.Wait() == nil; goOn {
			goOn = yield(r.complete())
		}
		return goOn
	})
	if err := errors.Join(group.Wait(), failed); err != nil || !goOn {
		return err
	}
	return r.readSilent(ctx, yield)
}

const ofAsked = " WHERE user_id IN (SELECT user_id FROM asked)"

// readBesideEvents begins to read everything but events.
func (r *excerptReader) readBesideEvents(ctx context.Context, group *errgroup.Group) {
	r.profiles, r.pins, r.recorded = map[audience.UserID]audience.Profile{}, map[audience.UserID][]audience.Pin{}, map[audience.UserID][]audience.Number{}
	r.scores = make([]map[audience.UserID]audience.Score, len(r.selection.Scores))
	group.Go(func() error {
		for membership, err := range stream(ctx, r.store, audience.Query{SQL: selectMembers + ofAsked}, scanMembership) {
			if err != nil {
				return err
			}
			r.recorded[membership.User] = membership.Segments
		}
		return nil
	})
	group.Go(func() error {
		for pin, err := range stream(ctx, r.store, audience.Query{SQL: "SELECT user_id, segment, held, expires, version FROM pins FINAL" + ofAsked}, scanHeld) {
			if err != nil {
				return err
			}
			r.pins[pin.User] = append(r.pins[pin.User], pin)
		}
		return nil
	})
	if r.selection.Country || r.selection.Attributes {
		scan, columns := scanCountry, "user_id, country"
		if r.selection.Attributes {
			scan, columns = scanAttributes, "user_id, country, texts, numbers"
		}
		group.Go(func() error {
			for profile, err := range stream(ctx, r.store, audience.Query{SQL: "SELECT " + columns + " FROM profiles FINAL" + ofAsked}, scan) {
				if err != nil {
					return err
				}
				r.profiles[profile.User] = profile
			}
			return nil
		})
	}
	for i, selected := range r.selection.Scores {
		group.Go(func() error {
			labels := map[audience.UserID]audience.Score{}
			for score, err := range stream(ctx, r.store, audience.Query{
				SQL: fmt.Sprintf("SELECT user_id, label FROM scores%s AND model = %d AND version = %d", ofAsked, selected.Model, selected.Version),
			}, scanLabel) {
				if err != nil {
					return err
				}
				labels[score.User] = score
			}
			r.scores[i] = labels
			return nil
		})
	}
}

func scanHeld(rows driver.Rows) (pin audience.Pin, err error) {
	var user string
	var segment uint32
	var held int8
	err = rows.Scan(&user, &segment, &held, &pin.Expires, &pin.Version)
	pin.User, pin.Segment, pin.Held, pin.Expires = audience.UserID(user), audience.Number(segment), audience.Held(held), orZero(pin.Expires)
	return pin, err
}

func scanCountry(rows driver.Rows) (profile audience.Profile, err error) {
	var user string
	err = rows.Scan(&user, &profile.Country)
	profile.User = audience.UserID(user)
	return profile, err
}

func scanAttributes(rows driver.Rows) (profile audience.Profile, err error) {
	var user string
	err = rows.Scan(&user, &profile.Country, &profile.Texts, &profile.Numbers)
	profile.User = audience.UserID(user)
	return profile, err
}

func scanLabel(rows driver.Rows) (score audience.Score, err error) {
	var user string
	err = rows.Scan(&user, &score.Label)
	score.User = audience.UserID(user)
	return score, err
}

// readEvents gathers the selected events of one user after the other in the excerpt at hand, and hands it on until told to stop.
func (r *excerptReader) readEvents(ctx context.Context, handOn func() bool) error {
	if len(r.selection.Events) == 0 {
		return nil
	}
	var user string
	for rows, err := range r.store.rows(ctx, r.eventsQuery()) {
		if err != nil {
			return err
		}
		if err := rows.Scan(r.eventInto(&user)...); err != nil {
			return err
		}
		if id := audience.UserID(user); id != r.excerpt.User {
			n := len(r.excerpt.Events) - 1 // the first event of the next user
			next := r.excerpt.Events[n]
			if r.excerpt.Events = r.excerpt.Events[:n]; n > 0 && !handOn() {
				return nil
			}
			r.excerpt.Events = append(r.excerpt.Events[:0], next)
			r.excerpt.User = id
		}
	}
	if len(r.excerpt.Events) > 0 {
		handOn()
	}
	return nil
}

// eventInto adds an event to the excerpt at hand and points to the columns of eventsQuery in it.
func (r *excerptReader) eventInto(user *string) []any {
	x := &r.excerpt
	x.Events = append(x.Events, audience.ExcerptEvent{
		Texts: make([]*string, len(r.selection.Texts)), Numbers: make([]float64, len(r.selection.Numbers)),
	})
	e := &x.Events[len(x.Events)-1]
	into := []any{user, &e.Type, &e.Millis, &e.ValueMicros}
	if r.selection.Orders {
		into = append(into, &e.Order)
	}
	for i := range e.Texts {
		into = append(into, &e.Texts[i])
	}
	for i := range e.Numbers {
		into = append(into, &e.Numbers[i])
	}
	return into
}

// eventsQuery selects the events, only the columns and as far back as needed, by user; those of one user by type, time and id if that matters.
//
// The primary index is asked for users, halving its ranges, and for the oldest time that matters; for each type and its window (hence identity)
// the asking takes longer than reading the few events more.
func (r *excerptReader) eventsQuery() audience.Query {
	q := audience.Query{Params: map[string]any{}}
	types, ranges := make([]string, len(r.selection.Events)), map[int64][]string{}
	for i, selected := range r.selection.Events {
		types[i] = selected.Type
		after := int64(-1)
		if !selected.After.IsZero() {
			after = selected.After.UnixMilli()
		}
		ranges[after] = append(ranges[after], selected.Type)
	}
	afters := slices.Sorted(maps.Keys(ranges))
	var selected []string
	for i, after := range afters {
		name := fmt.Sprintf("range%d", i)
		q.Params[name] = ranges[after]
		within := fmt.Sprintf("identity(type) IN {%s:Array(String)}", name)
		if after >= 0 {
			within += " AND identity(time) > " + instant(after)
		}
		selected = append(selected, within)
	}
	oldest := ""
	switch {
	case afters[0] >= 0:
		oldest = " AND time > " + instant(afters[0])
	case len(afters) > 1:
		oldest = " AND (type IN {range0:Array(String)} OR time > " + instant(afters[1]) + ")"
	}
	columns := []string{"user_id", "toInt64(indexOf({types:Array(String)}, type) - 1)", "toUnixTimestamp64Milli(time)", "value_micros"}
	if r.selection.Orders {
		columns = append(columns, "order_hash")
	}
	q.Params["types"] = types
	for i, key := range r.selection.Texts {
		name := fmt.Sprintf("text%d", i)
		q.Params[name] = key
		columns = append(columns, fmt.Sprintf("if(mapContains(texts, {%[1]s:String}), texts[{%[1]s:String}], NULL)", name))
	}
	for i, key := range r.selection.Numbers {
		name := fmt.Sprintf("number%d", i)
		q.Params[name] = key
		columns = append(columns, fmt.Sprintf("if(mapContains(numbers, {%[1]s:String}), numbers[{%[1]s:String}], nan)", name))
	}
	order := "user_id"
	if r.selection.InOrder {
		order = "user_id, type, time, event_id"
	}
	q.SQL = fmt.Sprintf("SELECT %s FROM events_by_user%s%s AND (%s) ORDER BY %s SETTINGS merge_tree_coarse_index_granularity = 2",
		strings.Join(columns, ", "), ofAsked, oldest, strings.Join(selected, " OR "), order)
	return q
}

func instant(millis int64) string { return fmt.Sprintf("fromUnixTimestamp64Milli(%d, 'UTC')", millis) }

// complete adds what is on record beside events to the excerpt at hand.
func (r *excerptReader) complete() *audience.Excerpt {
	x := &r.excerpt
	delete(r.silent, x.User)
	profile, hasProfile := r.profiles[x.User]
	x.Profile, x.Pins, x.Recorded = profile, r.pins[x.User], r.recorded[x.User]
	x.Known = len(x.Events) > 0 || len(x.Pins) > 0 || hasProfile
	x.Scores = x.Scores[:0]
	for _, of := range r.scores {
		x.Scores = append(x.Scores, of[x.User])
	}
	return x
}

// readSilent yields the users without an event. Only who has nothing else either is looked up among the users there are.
func (r *excerptReader) readSilent(ctx context.Context, yield func(*audience.Excerpt) bool) error {
	r.excerpt.Events = nil
	var unseen []audience.UserID
	for _, user := range slices.Sorted(maps.Keys(r.silent)) {
		r.excerpt.User = user
		if x := r.complete(); !x.Known {
			unseen = append(unseen, user)
		} else if !yield(x) {
			return nil
		}
	}
	known, err := r.store.knownUsers(ctx, unseen)
	if err != nil {
		return err
	}
	for _, user := range unseen {
		r.excerpt.User = user
		x := r.complete()
		if x.Known = known[user]; !yield(x) {
			return nil
		}
	}
	return nil
}

// knownUsers are those of the users of whom anything was ever written.
func (s *Store) knownUsers(ctx context.Context, users []audience.UserID) (map[audience.UserID]bool, error) {
	known := map[audience.UserID]bool{}
	if len(users) == 0 {
		return known, nil
	}
	asking, err := withUsers(ctx, users)
	if err != nil {
		return nil, fmt.Errorf("name %d users: %w", len(users), err)
	}
	for user, err := range stream(asking, s, audience.Query{SQL: "SELECT user_id FROM users" + ofAsked},
		func(rows driver.Rows) (user string, err error) { return user, rows.Scan(&user) }) {
		if err != nil {
			return nil, err
		}
		known[audience.UserID(user)] = true
	}
	return known, nil
}
