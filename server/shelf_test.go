package server_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// shelf keeps the resources of one kind.
type shelf[T any] struct {
	kind string
	id   func(T) string
	meta func(*T) *audience.Meta

	mu      sync.Mutex
	highest audience.Number
	writes  int
	items   []T // by id
	fault   error
	meddler func() // runs once, before the next Update: what another process does meanwhile
}

func (s *shelf[T]) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

func (s *shelf[T]) named(id string, kind error) error {
	return &audience.ResourceError{Kind: kind, Name: s.kind + "/" + id}
}

func (s *shelf[T]) find(id string) (int, bool) {
	return slices.BinarySearchFunc(s.items, id, func(item T, id string) int { return cmp.Compare(s.id(item), id) })
}

func (s *shelf[T]) Create(_ context.Context, item T) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := s.find(s.id(item))
	if found {
		return item, s.named(s.id(item), audience.ErrExists)
	}
	s.highest++
	s.writes++
	now := time.Now().UTC()
	*s.meta(&item) = audience.Meta{Number: s.highest, Etag: strconv.Itoa(s.writes), CreateTime: now, UpdateTime: now}
	s.items = slices.Insert(s.items, at, item)
	return item, s.fault
}

func (s *shelf[T]) Get(_ context.Context, id string) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := s.find(id)
	if !found {
		var none T
		return none, s.named(id, audience.ErrNotFound)
	}
	return s.items[at], s.fault
}

func (s *shelf[T]) All(ctx context.Context) ([]T, error) { return s.List(ctx, "", 1<<30) }

func (s *shelf[T]) List(_ context.Context, after string, limit int) ([]T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := s.find(after)
	if found {
		at++
	}
	rest := slices.Clone(s.items[at:])
	return rest[:min(limit, len(rest))], s.fault
}

func (s *shelf[T]) Update(_ context.Context, item T) (T, error) {
	if meddle := s.meddler; meddle != nil {
		s.meddler = nil
		meddle()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := s.find(s.id(item))
	if !found {
		return item, s.named(s.id(item), audience.ErrNotFound)
	}
	before := *s.meta(&s.items[at])
	if etag := s.meta(&item).Etag; etag != "" && etag != before.Etag {
		return item, fmt.Errorf("%s/%s was changed meanwhile: %w", s.kind, s.id(item), audience.ErrConflict)
	}
	s.writes++
	before.Etag, before.UpdateTime = strconv.Itoa(s.writes), time.Now().UTC()
	*s.meta(&item) = before
	s.items[at] = item
	return item, s.fault
}

func (s *shelf[T]) Delete(_ context.Context, id, etag string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, found := s.find(id)
	if !found {
		return s.named(id, audience.ErrNotFound)
	}
	if etag != "" && etag != s.meta(&s.items[at]).Etag {
		return fmt.Errorf("%s/%s was changed meanwhile: %w", s.kind, id, audience.ErrConflict)
	}
	s.items = slices.Delete(s.items, at, at+1)
	return s.fault
}
