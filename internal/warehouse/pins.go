package warehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// WriteMove makes a move durable as pins, those of one user in the order of the calls. numbers are the segments the move
// names. A move whose request was written before is not written anew: its pins keep the version they had then, so that
// whatever has moved the user since stands; repeated is true. The error is an ErrConflict when the request was another move, and
// an InvalidError of "user_id" for a user who was erased.
func (s *Store) WriteMove(ctx context.Context, move audience.Move, numbers map[audience.SegmentID]audience.Number, now time.Time) (repeated bool, err error) {
	s.moves.Lock()
	defer s.moves.Unlock()
	s.tombstones.mu.RLock()
	defer s.tombstones.mu.RUnlock()
	if s.tombstones.has(move.User) {
		return false, errErased()
	}
	if err := s.settle(ctx); err != nil { // an older move must not land after this one
		return false, err
	}
	version, at, found, err := s.moveOf(ctx, move)
	if err != nil {
		return false, fmt.Errorf("look for an earlier move of the request: %w", err)
	}
	if !found {
		version, at = s.versions.next(), now
		if err := s.makeKnown(ctx, []string{string(move.User)}); err != nil {
			return false, fmt.Errorf("make the moved user known: %w", err)
		}
		if err := s.insertMove(ctx, move, version, at); err != nil {
			return false, fmt.Errorf("write a move: %w", err)
		}
	}
	if err := s.insertPins(ctx, pinsOf(move, numbers, version, at)); err != nil {
		return false, fmt.Errorf("write the pins of a move: %w", err)
	}
	return found, nil
}

// moveOf looks for the move of the same request.
func (s *Store) moveOf(ctx context.Context, move audience.Move) (version uint64, at time.Time, found bool, err error) {
	type stored struct {
		version uint64
		at      time.Time
		move    string
	}
	known, found, err := first(ctx, s, audience.Query{
		SQL:    "SELECT version, time, move FROM moves WHERE user_id = {user:String} AND request_id = {request:String} ORDER BY version LIMIT 1",
		Params: map[string]any{"user": string(move.User), "request": move.RequestID},
	}, func(rows driver.Rows) (m stored, err error) { return m, rows.Scan(&m.version, &m.at, &m.move) })
	if err != nil || !found {
		return 0, time.Time{}, false, err
	}
	var earlier audience.Move
	if err := json.Unmarshal([]byte(known.move), &earlier); err != nil {
		return 0, time.Time{}, false, err
	}
	if !reflect.DeepEqual(storedForm(move), earlier) {
		return 0, time.Time{}, false, fmt.Errorf("request_id was used for another move of the user; use a new one for each move: %w", audience.ErrConflict)
	}
	return known.version, known.at, true, nil
}

// storedForm is the move as it comes back from storage.
func storedForm(move audience.Move) audience.Move {
	text, errMarshal := json.Marshal(move)
	var stored audience.Move
	if err := errors.Join(errMarshal, json.Unmarshal(text, &stored)); err != nil {
		return move
	}
	return stored
}

func (s *Store) insertMove(ctx context.Context, move audience.Move, version uint64, at time.Time) error {
	text, err := json.Marshal(move)
	if err != nil {
		return err
	}
	return s.insert(ctx, "moves (user_id, request_id, version, time, move)",
		[]string{string(move.User)}, []string{move.RequestID}, []uint64{version}, []int64{millis(at)}, []string{string(text)})
}

// pinsOf are the pins of a move.
func pinsOf(move audience.Move, numbers map[audience.SegmentID]audience.Number, version uint64, at time.Time) []audience.Pin {
	var pins []audience.Pin
	add := func(ids []audience.SegmentID, held audience.Held) {
		for _, id := range ids {
			pins = append(pins, audience.Pin{
				User: move.User, Segment: numbers[id], Held: held, Reason: move.Reason, Actor: move.Actor,
				RequestID: move.RequestID, Time: at, Expires: move.Expires, Version: version,
			})
		}
	}
	add(move.Into, audience.HeldIn)
	add(move.OutOf, audience.HeldOut)
	add(move.Release, audience.Released)
	return pins
}

func (s *Store) insertPins(ctx context.Context, pins []audience.Pin) error {
	n := len(pins)
	var (
		users, reasons = make([]string, n), make([]string, n)
		actors, asked  = make([]string, n), make([]string, n)
		segments       = make([]uint32, n)
		held           = make([]int8, n)
		times, expires = make([]int64, n), make([]int64, n)
		versions       = make([]uint64, n)
	)
	for i, p := range pins {
		users[i], segments[i], held[i], reasons[i], actors[i] = string(p.User), uint32(p.Segment), int8(p.Held), p.Reason, p.Actor
		asked[i], times[i], expires[i], versions[i] = p.RequestID, millis(p.Time), millis(p.Expires), p.Version
	}
	return s.insert(ctx, "pins (user_id, segment, held, reason, actor, request_id, time, expires, version)",
		users, segments, held, reasons, actors, asked, times, expires, versions)
}

// Pins are the pins of a user that stand, by segment, also those that have expired or say "released".
func (s *Store) Pins(ctx context.Context, user audience.UserID) ([]audience.Pin, error) {
	pins, err := all(stream(ctx, s, audience.Query{
		SQL:    "SELECT segment, held, reason, actor, request_id, time, expires, version FROM pins FINAL WHERE user_id = {user:String} ORDER BY segment",
		Params: map[string]any{"user": string(user)},
	}, func(rows driver.Rows) (audience.Pin, error) {
		pin := audience.Pin{User: user}
		var segment uint32
		var held int8
		err := rows.Scan(&segment, &held, &pin.Reason, &pin.Actor, &pin.RequestID, &pin.Time, &pin.Expires, &pin.Version)
		pin.Segment, pin.Held, pin.Time, pin.Expires = audience.Number(segment), audience.Held(held), pin.Time.UTC(), orZero(pin.Expires)
		return pin, err
	}))
	if err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	return pins, nil
}
