package warehouse

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// identifierRow is an identifier as the driver reads and writes it.
type identifierRow struct {
	Scheme string `ch:"scheme"`
	Value  string `ch:"value"`
}

const selectProfiles = "SELECT user_id, country, texts, numbers, identifiers FROM profiles FINAL "

// GetProfile reads a user's profile; ErrNotFound for a user who never had one.
func (s *Store) GetProfile(ctx context.Context, user audience.UserID) (audience.Profile, error) {
	profile, found, err := first(ctx, s, audience.Query{
		SQL:    selectProfiles + "WHERE user_id = {user:String}",
		Params: map[string]any{"user": string(user)},
	}, scanProfile)
	switch {
	case err != nil:
		return profile, fmt.Errorf("read a profile: %w", err)
	case !found:
		return profile, &audience.ResourceError{Kind: audience.ErrNotFound, Name: "users/" + string(user)}
	}
	return profile, nil
}

// UpsertProfiles applies the updates, which have passed Validate, in their order; several may concern one user. They are
// all durable when it returns without error; after an error, some may be: call again with the same updates.
func (s *Store) UpsertProfiles(ctx context.Context, updates []audience.ProfileUpdate) error {
	s.profiles.Lock()
	defer s.profiles.Unlock()
	s.tombstones.mu.RLock()
	defer s.tombstones.mu.RUnlock()
	if updates = s.withoutErased(updates); len(updates) == 0 {
		return nil
	}
	profiles, err := s.profilesOf(ctx, updates)
	if err != nil {
		return fmt.Errorf("read %d profiles: %w", len(updates), err)
	}
	for _, update := range updates {
		profiles[update.User] = updated(profiles[update.User], update)
	}
	if err := s.writeProfiles(ctx, profiles); err != nil {
		return fmt.Errorf("write %d profiles: %w", len(profiles), err)
	}
	return nil
}

// withoutErased are the updates but for those of users erased a moment ago: they are gone before they were stored. The
// tombstones' mu is held.
func (s *Store) withoutErased(updates []audience.ProfileUpdate) []audience.ProfileUpdate {
	if len(s.tombstones.known) == 0 {
		return updates
	}
	return slices.DeleteFunc(slices.Clone(updates), func(u audience.ProfileUpdate) bool { return s.tombstones.has(u.User) })
}

// profilesOf are the stored profiles of the users the updates name.
func (s *Store) profilesOf(ctx context.Context, updates []audience.ProfileUpdate) (map[audience.UserID]audience.Profile, error) {
	if err := s.settle(ctx); err != nil { // an older write must not land after this one has been read past it
		return nil, err
	}
	users := make([]audience.UserID, len(updates))
	for i, update := range updates {
		users[i] = update.User
	}
	asking, err := withUsers(ctx, users)
	if err != nil {
		return nil, err
	}
	profiles := make(map[audience.UserID]audience.Profile, len(users))
	for profile, err := range stream(asking, s, audience.Query{SQL: selectProfiles + "WHERE user_id IN (SELECT user_id FROM asked)"}, scanProfile) {
		if err != nil {
			return nil, err
		}
		profiles[profile.User] = profile
	}
	return profiles, nil
}

// updated is the profile after the update.
func updated(profile audience.Profile, update audience.ProfileUpdate) audience.Profile {
	profile.User = update.User
	if update.Country != nil {
		profile.Country = *update.Country
	}
	texts, numbers := cloned(profile.Texts), cloned(profile.Numbers)
	for _, name := range update.RemovedAttributes {
		delete(texts, name)
		delete(numbers, name)
	}
	for name, text := range update.Texts {
		texts[name] = text
		delete(numbers, name)
	}
	for name, number := range update.Numbers {
		numbers[name] = number
		delete(texts, name)
	}
	profile.Texts, profile.Numbers = texts, numbers
	profile.Identifiers = identifiersAfter(profile.Identifiers, update)
	return profile
}

// identifiersAfter are the identifiers after the update, in order.
func identifiersAfter(held []audience.Identifier, update audience.ProfileUpdate) []audience.Identifier {
	kept := slices.DeleteFunc(slices.Clone(held), func(old audience.Identifier) bool {
		return update.ReplaceIdentifiers || slices.ContainsFunc(update.Identifiers, func(given audience.Identifier) bool {
			return given.Scheme == old.Scheme
		})
	})
	return inOrder(append(kept, update.Identifiers...))
}

// inOrder are the identifiers sorted by scheme, then value, without repeats: equal sets are equal lists.
func inOrder(identifiers []audience.Identifier) []audience.Identifier {
	sorted := slices.SortedFunc(slices.Values(identifiers), func(a, b audience.Identifier) int {
		return cmp.Or(cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(a.Value, b.Value))
	})
	return slices.Compact(sorted)
}

func (s *Store) writeProfiles(ctx context.Context, profiles map[audience.UserID]audience.Profile) error {
	n := len(profiles)
	var (
		users       = make([]string, 0, n)
		versions    = make([]uint64, 0, n)
		countries   = make([]string, 0, n)
		texts       = make([]map[string]string, 0, n)
		numbers     = make([]map[string]float64, 0, n)
		identifiers = make([][]identifierRow, 0, n)
		times       = make([]int64, 0, n)
	)
	version, now := s.versions.next(), millis(time.Now())
	for user, profile := range profiles {
		users, versions, times = append(users, string(user)), append(versions, version), append(times, now)
		countries, texts, numbers = append(countries, profile.Country), append(texts, profile.Texts), append(numbers, profile.Numbers)
		identifiers = append(identifiers, identifierRows(profile.Identifiers))
	}
	if err := s.makeKnown(ctx, users); err != nil {
		return err
	}
	return s.insert(ctx, "profiles (user_id, version, country, texts, numbers, identifiers, update_time)",
		users, versions, countries, texts, numbers, identifiers, times)
}

func scanProfile(rows driver.Rows) (profile audience.Profile, err error) {
	var user string
	var identifiers []identifierRow
	err = rows.Scan(&user, &profile.Country, &profile.Texts, &profile.Numbers, &identifiers)
	profile.User, profile.Identifiers = audience.UserID(user), identifiersOf(identifiers)
	return profile, err
}

func identifierRows(identifiers []audience.Identifier) []identifierRow {
	rows := make([]identifierRow, len(identifiers))
	for i, identifier := range identifiers {
		rows[i] = identifierRow{string(identifier.Scheme), identifier.Value}
	}
	return rows
}

func identifiersOf(rows []identifierRow) []audience.Identifier {
	if len(rows) == 0 {
		return nil
	}
	identifiers := make([]audience.Identifier, len(rows))
	for i, row := range rows {
		identifiers[i] = audience.Identifier{Scheme: audience.Scheme(row.Scheme), Value: row.Value}
	}
	return identifiers
}

// cloned is a map of its own, never nil.
func cloned[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}
