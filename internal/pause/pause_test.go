package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/pause"
)

var (
	errFault = errors.New("a fault")
	errEnd   = errors.New("the end")
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		require.NoError(t, pause.For(t.Context(), time.Hour))
		require.Equal(t, time.Hour, time.Since(began))

		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(errEnd) })
		began = time.Now()
		require.ErrorIs(t, pause.For(ctx, time.Hour), errEnd)
		require.Equal(t, time.Minute, time.Since(began))
	})
}

// TestAfter: waits double from the first to the most, and are spread.
func TestAfter(t *testing.T) {
	d := pause.Doubling{First: time.Second, Most: 5 * time.Minute}
	for failures, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 12: 5 * time.Minute, 100: 5 * time.Minute} {
		differ := map[time.Duration]bool{}
		for range 100 {
			wait := d.After(failures)
			require.LessOrEqual(t, wait, most)
			require.GreaterOrEqual(t, wait, most/2)
			differ[wait] = true
		}
		require.Greater(t, len(differ), 50)
	}
}

func TestUntilDone(t *testing.T) {
	d := pause.Doubling{First: time.Second, Most: time.Minute}
	for name, c := range map[string]struct {
		faults int           // before it succeeds
		ends   time.Duration // of the context
		tried  int
		err    error
	}{
		"at once":                {0, time.Hour, 1, nil},
		"at last":                {10, time.Hour, 11, nil},
		"ended while it waits":   {1000, 100 * time.Millisecond, 1, errEnd},
		"ended while it is done": {1000, 0, 1, errEnd},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer time.AfterFunc(c.ends, func() { cancel(errEnd) }).Stop()
				tried, told := 0, time.Duration(0)
				began := time.Now()
				err := d.UntilDone(ctx, func() error {
					if tried++; c.ends == 0 {
						<-ctx.Done()
					}
					if tried <= c.faults {
						return errFault
					}
					return nil
				}, func(err error, wait time.Duration) {
					require.ErrorIs(t, err, errFault)
					told += wait
				})
				require.ErrorIs(t, err, c.err)
				require.Equal(t, c.tried, tried)
				if c.err == nil {
					require.Equal(t, told, time.Since(began), "it waits as long as it says")
				}
			})
		})
	}
}
