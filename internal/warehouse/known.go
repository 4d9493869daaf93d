package warehouse

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// knownAtMost is how many users one generation of a store's knownUsers holds, in about 40 MB.
const knownAtMost = 1_000_000

// knownUsers remembers who is among the users for certain, so that not every event says so again: a table of a few bytes a
// row is merged as a whole for each handful of inserts. What is forgotten costs a row. Two generations, the older of which
// is dropped when the newer is full; ids are told apart by 128 bits of their SHA-256.
type knownUsers struct {
	room         int // of a generation
	mu           sync.Mutex
	newer, older map[knownUser]struct{}
}

type knownUser [16]byte

func knownUserOf(user string) knownUser {
	sum := sha256.Sum256([]byte(user))
	return knownUser(sum[:16])
}

// unknown are those of the users who may not be among the users yet.
func (k *knownUsers) unknown(users []string) (unknown []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, user := range users {
		id := knownUserOf(user)
		if _, known := k.newer[id]; known {
			continue
		}
		if _, known := k.older[id]; known {
			k.addLocked(id)
			continue
		}
		unknown = append(unknown, user)
	}
	return unknown
}

func (k *knownUsers) add(users []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, user := range users {
		k.addLocked(knownUserOf(user))
	}
}

func (k *knownUsers) addLocked(id knownUser) {
	if k.newer == nil || len(k.newer) >= k.room {
		k.newer, k.older = map[knownUser]struct{}{}, k.newer
	}
	k.newer[id] = struct{}{}
}

// forget has a user written down again when she comes again.
func (k *knownUsers) forget(user audience.UserID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.newer, knownUserOf(string(user)))
	delete(k.older, knownUserOf(string(user)))
}

// makeKnown sees to it that all are among the users. It comes before what is written of them.
func (s *Store) makeKnown(ctx context.Context, users []string) error {
	unknown := s.known.unknown(users)
	if len(unknown) == 0 {
		return nil
	}
	if err := s.insert(ctx, "users (user_id)", unknown); err != nil {
		return err
	}
	s.known.add(unknown)
	return nil
}

// readKnown remembers users from before the start.
func (s *Store) readKnown(ctx context.Context) error {
	for user, err := range stream(ctx, s, audience.Query{
		SQL:    "SELECT user_id FROM users LIMIT {most:UInt64}",
		Params: map[string]any{"most": uint64(knownAtMost)},
	}, func(rows driver.Rows) (user string, err error) { return user, rows.Scan(&user) }) {
		if err != nil {
			return err
		}
		s.known.add([]string{user})
	}
	return nil
}
