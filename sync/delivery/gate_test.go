package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/pause"
	"github.com/kohorta/kohorta/sync/destination"
)

var (
	errSilence = &destination.Error{Kind: destination.Transient, Err: errors.New("no answer")}
	errRevoked = &destination.Error{Kind: destination.Unauthorized, Scope: destination.OfAccount, Remedy: "renew it", Err: errors.New("revoked")}
	errAppOver = &destination.Error{Kind: destination.RateLimited, Scope: destination.OfApp, RetryAfter: time.Minute, Err: errors.New("too many")}
)

func accounts(t *testing.T, perSecond float64) (d *Deliverer, one, other, foreign account) {
	t.Helper()
	d = New(Deps{})
	of := func(number, token string) account {
		return d.account(audience.Destination{Platform: "x", Account: number, TokenSecret: token}, destination.Limits{RequestsPerSecond: perSecond})
	}
	return d, of("1", "a"), of("2", "a"), of("3", "b")
}

// Whoever waits, a stop goes next, then removals, then adds; those alike take turns.
func TestGateLetsTheMostUrgentThroughFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.setRate(1)
		require.NoError(t, g.turn(t.Context(), adding)) // the place now is taken
		g.leave(destination.Pace{}, nil)
		order := make(chan string, 12)
		wait := func(name string, u urgency, requests int) {
			go func() {
				for range requests {
					if g.turn(t.Context(), u) == nil {
						order <- name
						g.leave(destination.Pace{}, nil)
					}
				}
			}()
			synctest.Wait()
		}
		wait("big", adding, 4)
		wait("small", adding, 2)
		wait("removal", removing, 2)
		wait("stop", stopping, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		close(order)
		var got []string
		for name := range order {
			got = append(got, name)
		}
		require.Equal(t, "stop removal removal big small big small big big", strings.Join(got, " "))
	})
}

// Ten minutes of trouble of one account cost it few requests and others nothing.
func TestTroubleIsOneAccountsOwn(t *testing.T) {
	for name, test := range map[string]struct {
		failure *destination.Error
		most    int64
		fast    bool // waiting work hears at once what is wrong
	}{
		"silence":       {failure: errSilence, most: 12},
		"revoked token": {failure: errRevoked, most: 11, fast: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, sick, well, _ := accounts(t, 10)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				var asked, refused atomic.Int64
				for range 3 { // audiences
					go func() {
						for ctx.Err() == nil {
							if err := sick.turn(ctx, adding); err != nil {
								refused.Add(1)
								_ = pause.For(ctx, time.Second)
								continue
							}
							asked.Add(1)
							sick.leave(destination.Pace{}, test.failure)
						}
					}()
				}
				served := 0
				for ctx.Err() == nil && well.turn(ctx, adding) == nil {
					served++
					well.leave(destination.Pace{}, nil)
				}
				require.InDelta(t, 6000, served, 2)
				synctest.Wait()
				require.LessOrEqual(t, asked.Load(), test.most)
				require.Equal(t, test.fast, refused.Load() > 1000, refused.Load())

				time.Sleep(6 * time.Minute) // the next probe is due, and goes well
				require.NoError(t, sick.turn(t.Context(), adding))
				sick.leave(destination.Pace{}, nil)
				begun := time.Now()
				for range 11 {
					require.NoError(t, sick.turn(t.Context(), adding))
					sick.leave(destination.Pace{}, nil)
				}
				require.LessOrEqual(t, time.Since(begun), 1100*time.Millisecond)
			})
		})
	}
}

// A platform that says nothing of budgets gets the set rate, less after each refusal, and again after a while.
func TestRefusalsSlowDownForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, _, _ := accounts(t, 10)
		perMinute := func() (n int) {
			for begun := time.Now(); time.Since(begun) < time.Minute; n++ {
				require.NoError(t, one.turn(t.Context(), adding))
				one.leave(destination.Pace{}, nil)
			}
			return n
		}
		require.InDelta(t, 600, perMinute(), 2)
		for range 5 {
			require.NoError(t, one.turn(t.Context(), adding))
			one.leave(destination.Pace{}, &destination.Error{Kind: destination.RateLimited, Scope: destination.OfAccount, RetryAfter: time.Second})
		}
		require.InDelta(t, 600*0.62, perMinute(), 30)
		time.Sleep(time.Minute)
		for range 10 {
			perMinute()
		}
		require.InDelta(t, 600, perMinute(), 2)
	})
}

// A platform that says when a budget is back is believed; only one that does not is waited for by the longest window.
func TestPlatformKnowsWhenABudgetIsBack(t *testing.T) {
	for name, test := range map[string]struct {
		pace destination.Pace
		wait time.Duration
	}{
		"it says when":                    {destination.Pace{Used: 1.2, Wait: time.Minute}, time.Minute},
		"it says only that it is used up": {destination.Pace{Used: 1.2}, refill},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate()
				g.setRate(10)
				require.NoError(t, g.turn(t.Context(), adding))
				g.leave(test.pace, nil)
				start := time.Now()
				require.NoError(t, g.turn(t.Context(), adding))
				require.Equal(t, test.wait, time.Since(start))
			})
		})
	}
	t.Run("the request after it shows whether the pace can be as before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			g.setRate(10)
			var waits []time.Duration
			for _, said := range []destination.Pace{{Used: 0.1}, {Used: 1, Wait: time.Minute}, {Used: 0.1}, {Used: 0.1}, {Used: 0.1}} {
				start := time.Now()
				require.NoError(t, g.turn(t.Context(), adding))
				waits = append(waits, time.Since(start).Round(time.Second))
				g.leave(said, nil)
			}
			require.Equal(t, []time.Duration{0, 0, time.Minute, 40 * time.Second, 0}, waits)
		})
	})
}

// While a probe is under way nobody else sends.
func TestOneProbeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		for range breakAfter {
			require.NoError(t, g.turn(t.Context(), adding))
			g.leave(destination.Pace{}, errSilence)
		}
		require.NoError(t, g.turn(t.Context(), adding)) // the probe
		through := false
		go func() {
			through = g.turn(t.Context(), stopping) == nil
			g.leave(destination.Pace{}, nil)
		}()
		time.Sleep(time.Hour)
		require.False(t, through)
		g.leave(destination.Pace{}, nil)
		synctest.Wait()
		require.True(t, through)
	})
}

// What the platform says of the app holds every account of its token, and no other.
func TestAppIsSharedByItsAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, one, other, foreign := accounts(t, 10)
		require.NoError(t, one.turn(t.Context(), adding))
		one.leave(destination.Pace{}, errAppOver)
		for a, want := range map[*account]time.Duration{&foreign: 0, &other: time.Minute} {
			begun := time.Now()
			if want == 0 {
				wait, _ := a.held()
				require.LessOrEqual(t, wait, time.Duration(0))
				continue
			}
			require.NoError(t, a.turn(t.Context(), adding))
			require.Equal(t, want, time.Since(begun))
			a.leave(destination.Pace{}, nil)
		}
	})
}

func TestTroubleIsAStateWithItsRemedy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, one, _, _ := accounts(t, 10)
		of := func(n int) audience.Destination {
			return audience.Destination{Platform: "x", Account: fmt.Sprint(n), TokenSecret: "a"}
		}
		require.NoError(t, one.turn(t.Context(), adding))
		one.leave(destination.Pace{}, errRevoked)
		began := time.Now()
		time.Sleep(2 * time.Minute)
		require.NoError(t, one.turn(t.Context(), adding)) // a probe
		one.leave(destination.Pace{}, errRevoked)
		trouble, since := d.Trouble(of(1))
		require.Equal(t, "renew it", trouble.Remedy)
		require.Equal(t, began, since)
		trouble, _ = d.Trouble(of(2))
		require.Nil(t, trouble)
		time.Sleep(personalBreak)
		require.NoError(t, one.turn(t.Context(), adding))
		one.leave(destination.Pace{}, nil)
		trouble, _ = d.Trouble(of(1))
		require.Nil(t, trouble)
	})
}

// All destinations of one app share its rate, whatever their tokens: the lowest that any of them asks for.
func TestAppsRateIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(Deps{})
		of := func(id, app string, perSecond float64) account {
			return d.account(audience.Destination{ID: audience.DestinationID(id), Platform: "x", Account: id, TokenSecret: id, App: app},
				destination.Limits{RequestsPerSecond: 100, AppRequestsPerSecond: perSecond})
		}
		one, other, foreign := of("1", "a", 8), of("2", "a", 4), of("3", "b", 8)
		rate := func(accounts ...account) int {
			begun, sent := time.Now(), 0
			for time.Since(begun) < 10*time.Second {
				for _, a := range accounts {
					require.NoError(t, a.turn(t.Context(), adding))
					a.leave(destination.Pace{}, nil)
					sent++
				}
			}
			return sent
		}
		require.InDelta(t, 40, rate(one, other), 2)
		require.InDelta(t, 80, rate(foreign), 2)
		other = of("2", "a", 8)
		require.InDelta(t, 80, rate(one, other), 3)
	})
}
