package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/warehouse"
)

// editedMeanwhile is a store in which somebody edits an audience between the first reading and the first writing.
type editedMeanwhile struct {
	audienceShelf
	edits int
}

func (e *editedMeanwhile) Update(ctx context.Context, changed audience.Audience) (audience.Audience, error) {
	if e.edits > 0 {
		e.edits--
		edited, err := e.Get(ctx, string(changed.ID))
		if err != nil {
			return edited, err
		}
		edited.PlatformName = "Audience 7"
		if edited, err = e.audienceShelf.Update(ctx, edited); err != nil {
			return edited, err
		}
	}
	return e.audienceShelf.Update(ctx, changed)
}

// TestPlatformIDLosesNoEdit: what people edit while the platform's id is written stays.
func TestPlatformIDLosesNoEdit(t *testing.T) {
	store, err := warehouse.Open(t.Context(), warehouse.Config{DSN: enginetest.ClickHouse(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	_, err = store.Audiences().Create(t.Context(), audience.Audience{ID: "vip"})
	require.NoError(t, err)
	require.NoError(t, setPlatformID(t.Context(), &editedMeanwhile{store.Audiences(), 2}, "vip", "120", false))
	kept, err := store.Audiences().Get(t.Context(), "vip")
	require.NoError(t, err)
	require.Equal(t, "120", kept.PlatformID)
	require.Equal(t, "Audience 7", kept.PlatformName)
	require.ErrorIs(t, setPlatformID(t.Context(), store.Audiences(), "none", "1", false), audience.ErrNotFound)
}
