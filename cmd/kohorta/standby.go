package main

import (
	"context"
	"iter"
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/sync/delivery"
)

// writersMembership is membership in motion, of which only the writer knows.
type writersMembership struct {
	mover
	store *warehouse.Store
}

// MoveUser returns once the move is in force.
func (m writersMembership) MoveUser(ctx context.Context, move audience.Move) (token string, err error) {
	if err := m.store.MayWrite(); err != nil {
		return "", err
	}
	return m.mover.MoveUser(ctx, move)
}

// Wait returns once reads are not older than the writes a token names.
func (m writersMembership) Wait(ctx context.Context, token string) error {
	if err := m.store.MayWrite(); err != nil {
		return err
	}
	return m.mover.Wait(ctx, token)
}

// Watch yields changes as they happen.
func (m writersMembership) Watch(ctx context.Context, cursor string, segments []audience.SegmentID) iter.Seq2[audience.WatchedChange, error] {
	return func(yield func(audience.WatchedChange, error) bool) {
		if err := m.store.MayWrite(); err != nil {
			yield(audience.WatchedChange{}, err)
			return
		}
		m.mover.Watch(ctx, cursor, segments)(yield)
	}
}

// lead returns once this process is the writer, or false when serving ended before. Until then it follows the one that is.
func (s *service) lead(serving, working context.Context) bool {
	if s.store.MayWrite() == nil {
		return true
	}
	following, stop := context.WithCancel(working)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer stop()
	reading.Go(func() { s.segmenter.Follow(following) })
	return s.replica.lead(serving)
}

// announce tells other replicas that users may have to be stopped, whose syncs under way do so before their next request. If
// they cannot be told the stops are carried out when those syncs have ended.
func (s *service) announce(ctx context.Context, users []audience.UserID) {
	if err := s.live.TellStops(ctx, users); err != nil {
		s.log.Warn("stops not announced to other replicas; they wait for the end of syncs there", "error", err)
	}
}

// edition is what the segments mean now. Another process may have brought it into force a moment ago.
func (s *service) edition(ctx context.Context) (*audience.Edition, error) {
	if s.store.MayWrite() == nil {
		return s.segmenter.Edition(ctx)
	}
	editions, err := s.store.Editions(ctx)
	if err != nil {
		return nil, err
	}
	if len(editions) == 0 {
		return audience.NewEdition(nil), nil
	}
	return editions[len(editions)-1], nil
}

// retirer takes audiences off platforms where their documents can be deleted, too.
type retirer struct {
	*delivery.Deliverer
	store *warehouse.Store
}

// Retire deletes an audience from its platform.
func (r retirer) Retire(ctx context.Context, id audience.AudienceID) error {
	if err := r.store.MayWrite(); err != nil {
		return err
	}
	return r.Deliverer.Retire(ctx, id)
}
