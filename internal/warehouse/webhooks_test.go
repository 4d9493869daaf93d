package warehouse

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
)

func TestWebhookState(t *testing.T) {
	dsn := enginetest.ClickHouse(t)
	store := reopen(t, dsn)
	states := func() map[audience.Number]audience.WebhookState {
		got, err := store.WebhookStates(t.Context())
		require.NoError(t, err)
		return got
	}
	require.Empty(t, states())
	state := audience.WebhookState{Cursor: "c1", Delivered: noon, Failed: noon.Add(time.Second), Error: "answered 401", Remedy: "renew the secret", Attempts: 3}
	require.NoError(t, store.PutWebhookState(t.Context(), 4, state))
	state = audience.WebhookState{Cursor: "c2"}
	require.NoError(t, store.PutWebhookState(t.Context(), 4, state))
	require.NoError(t, store.PutWebhookState(t.Context(), 5, audience.WebhookState{Cursor: "other"}))
	require.NoError(t, store.Close())

	store = reopen(t, dsn)
	require.Equal(t, map[audience.Number]audience.WebhookState{4: state, 5: {Cursor: "other"}}, states())
	require.NoError(t, store.ForgetWebhook(t.Context(), 4))
	require.NotContains(t, states(), audience.Number(4))
}

// TestTheNewestStateStandsWhenTheClockWasSetBack between two processes, of moves and held plans, too.
func TestTheNewestStateStandsWhenTheClockWasSetBack(t *testing.T) {
	for table, columns := range map[string]string{"webhook_states": "webhook, cursor", "moves": "user_id, request_id", "held_plans": "audience, run"} {
		t.Run(table, func(t *testing.T) {
			dsn := enginetest.ClickHouse(t)
			store := reopen(t, dsn)
			future := uint64(time.Now().Add(time.Hour).UnixNano())
			require.NoError(t, store.Exec(t.Context(), audience.Query{
				SQL:    "INSERT INTO " + table + " (" + columns + ", version) VALUES ('1', 'before', {version:UInt64})",
				Params: map[string]any{"version": future},
			}))
			require.NoError(t, store.Close())
			require.Greater(t, reopen(t, dsn).versions.next(), future)
		})
	}
}

func TestDeadLetters(t *testing.T) {
	store := open(t)
	letter := func(id, user string, version uint64) audience.DeadLetter {
		return audience.DeadLetter{ID: id, User: audience.UserID(user), Version: version, Change: []byte(`{"id":"` + id + `"}`), Reason: "answered 400", Time: noon}
	}
	letters := []audience.DeadLetter{letter("1a", "a", 1), letter("1b", "b", 1), letter("2a", "a", 2), letter("10a", "a", 10)}
	add := func(webhook audience.Number, letters ...audience.DeadLetter) {
		require.NoError(t, store.AddDeadLetters(t.Context(), webhook, letters))
	}
	read := func(version uint64, user audience.UserID, ids []string, limit int) []audience.DeadLetter {
		got, err := store.DeadLetters(t.Context(), 4, version, user, ids, limit)
		require.NoError(t, err)
		return got
	}
	add(4, letters[2], letters[3])
	add(4, letters[0], letters[1])
	add(4, letters[3]) // a repeat
	add(5, letter("x", "a", 1))
	require.Equal(t, letters, read(0, "", nil, 0), "in the order of the log")
	require.Equal(t, letters[1:3], read(1, "a", nil, 2))
	require.Equal(t, []audience.DeadLetter{letters[0], letters[2]}, read(0, "", []string{"2a", "1a", "none"}, 10))
	counts, err := store.CountDeadLetters(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[audience.Number]int64{4: 4, 5: 1}, counts)

	require.NoError(t, store.DropDeadLetters(t.Context(), 4, []string{"1a", "2a"}))
	require.Equal(t, []audience.DeadLetter{letters[1], letters[3]}, read(0, "", nil, 0))
	add(4, letters[0])
	require.Len(t, read(0, "", nil, 0), 3, "one may die again")
	require.NoError(t, store.DropDeadLetters(t.Context(), 4, nil))
	require.Empty(t, read(0, "", nil, 0))
	add(4, letters...)
	require.NoError(t, store.ForgetWebhook(t.Context(), 4))
	counts, err = store.CountDeadLetters(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[audience.Number]int64{5: 1}, counts)
}
