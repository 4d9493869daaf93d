package main

import (
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/privacy"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/segmenter"
	"github.com/kohorta/kohorta/sync/delivery"
)

// office is what the server asks about the privacy of users.
type office struct {
	*warehouse.Store
	eraser    *privacy.Eraser
	deliverer *delivery.Deliverer
}

// Erase forgets a user; see privacy.Eraser.
func (o office) Erase(ctx context.Context, user audience.UserID) (audience.Run, error) {
	return o.eraser.Erase(ctx, user)
}

// Stop takes users off platforms; see delivery.Deliverer.
func (o office) Stop(ctx context.Context, stops []audience.Stop) error {
	return o.deliverer.Stop(ctx, stops)
}

// erasurePlatforms is delivery as erasure sees it.
type erasurePlatforms struct {
	*delivery.Deliverer
	store *warehouse.Store
}

// Destinations are all there are.
func (p erasurePlatforms) Destinations(ctx context.Context) ([]audience.Destination, error) {
	return p.store.Destinations().All(ctx)
}

// Erase has a destination confirm that it does not hold a user any more.
func (p erasurePlatforms) Erase(ctx context.Context, at audience.Destination, user audience.UserID, identifiers []audience.Identifier) (string, error) {
	done, err := p.Deliverer.Erase(ctx, at, user, identifiers)
	if err != nil {
		return "", err
	}
	words := fmt.Sprintf("by the word of %s none of %s holds the user", at.Platform, countOf(int64(done.Audiences), "audience"))
	if done.Everywhere {
		words += ", nor any other of the account"
	}
	return words, nil
}

// mover is the segmenter, from whose moves the platforms hear at once: who is moved out of a segment leaves its audiences
// ahead of all other work.
type mover struct {
	*segmenter.Segmenter
	deliverer *delivery.Deliverer
}

// MoveUser returns once the move is in force for readers, and on its way to the platforms. After an error the move may stand.
func (m mover) MoveUser(ctx context.Context, move audience.Move) (token string, err error) {
	token, err = m.Segmenter.MoveUser(ctx, move)
	if len(move.OutOf) == 0 {
		return token, err
	}
	if told := m.deliverer.Withdrawn(context.WithoutCancel(ctx), []audience.UserID{move.User}); err == nil && told != nil {
		return "", fmt.Errorf("take the moved user off platforms: %w", told)
	}
	return token, err
}
