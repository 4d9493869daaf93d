package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine/enginetest"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/sync/delivery"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
	"github.com/kohorta/kohorta/sync/meta"
	"github.com/kohorta/kohorta/sync/sandbox"
	"github.com/kohorta/kohorta/sync/tiktok"
)

// childOf names, in the environment, what a child process that syncs works with: where its secrets are, ClickHouse, and the
// platforms' stand-ins.
const childOf = "KOHORTA_TEST_SYNC_"

func init() {
	if dir := os.Getenv(childOf + "DIR"); dir != "" {
		p := process{dir: dir, dsn: os.Getenv(childOf + "DSN"), url: os.Getenv(childOf + "URL")}
		for {
			fmt.Fprintln(os.Stderr, p.syncAll(context.Background(), slog.New(slog.DiscardHandler)))
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// process is a service that syncs: in this process or in one that gets killed.
type process struct{ dir, dsn, url string }

var soaked = []audience.AudienceID{"soak-meta", "soak-tiktok"}

// syncAll opens the store and syncs both audiences, approving whatever is held.
func (p process) syncAll(ctx context.Context, log *slog.Logger) error {
	store, err := warehouse.Open(ctx, warehouse.Config{DSN: p.dsn})
	if err != nil {
		return err
	}
	defer store.Close()
	d := delivery.New(delivery.Deps{Ledger: store, Catalogue: shelf{store}, Connect: p.connect, Log: log})
	d.SetChoose(func(l destination.Load, limits destination.Limits) destination.Choice {
		choice := destination.FirstLoad(l, limits)
		if l.Rows > 0 && l.Held > 0 && limits.Replace.Within > 0 && rand.IntN(2) == 0 { // so small a load would never
			choice.Way = destination.ByReplace
		}
		return choice
	})
	var errs []error
	for _, id := range soaked {
		run := audience.RunID(fmt.Sprint(time.Now().UnixNano()))
		report, err := d.Sync(ctx, id, run, false, progress)
		if err == nil && report.Held {
			_, err = d.Sync(ctx, id, run, true, progress)
		}
		var failure *destination.Error
		if errors.As(err, &failure) && failure.Kind == destination.Gone {
			err = d.Recreate(ctx, id, run)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (p process) connect(d audience.Destination) (destination.Destination, error) {
	log := slog.New(slog.DiscardHandler)
	if d.Platform == audience.PlatformMeta {
		return meta.New(meta.Config{Account: d.Account, BaseURL: p.url, TokenFile: filepath.Join(p.dir, "meta"),
			AppSecretFile: filepath.Join(p.dir, "app"), BatchRows: 20, RequestsPerSecond: 100}, log)
	}
	return tiktok.New(tiktok.Config{Account: d.Account, BaseURL: p.url, TokenFile: filepath.Join(p.dir, "tiktok"), BatchRows: 20, RequestsPerSecond: 50}, log)
}

// shelf is the store as delivery sees it.
type shelf struct{ store *warehouse.Store }

func (s shelf) Audiences(ctx context.Context) ([]audience.Audience, error) {
	return s.store.Audiences().All(ctx)
}

func (s shelf) Audience(ctx context.Context, id audience.AudienceID) (audience.Audience, error) {
	return s.store.Audiences().Get(ctx, string(id))
}

func (s shelf) Segment(ctx context.Context, id audience.SegmentID) (audience.Segment, error) {
	return s.store.Segments().Get(ctx, string(id))
}

func (s shelf) Destination(ctx context.Context, id audience.DestinationID) (audience.Destination, error) {
	return s.store.Destinations().Get(ctx, string(id))
}

func (s shelf) SetPlatformID(ctx context.Context, id audience.AudienceID, platformID string, files bool, version uint64) error {
	a, err := s.store.Audiences().Get(ctx, string(id))
	if err != nil {
		return err
	}
	return s.store.SetPlatformID(ctx, a.Number, platformID, files, version)
}

// The law with real parts: a process that syncs is killed again and again, while members, consents and identifiers change
// and the platforms fail in every way. Once they answer again, each holds exactly the target. Three kills; with KOHORTA_SOAK
// as many as fit into that time, two hundred at least.
func TestSoakKilledSyncs(t *testing.T) {
	kills, until := 3, time.Now()
	if soak := os.Getenv("KOHORTA_SOAK"); soak != "" {
		duration, _ := time.ParseDuration(soak)
		kills, until = 200, time.Now().Add(duration)
	}
	var ahead atomic.Int64 // the stand-ins' clock, in hours: a replacement that was not ended is over after 90 minutes
	box := sandbox.New(sandbox.Config{QuotasOff: true, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) * time.Hour) },
		Meta: sandbox.MetaConfig{ReplaceTakes: 1}})
	var requests, replaced atomic.Int64
	life := &lives{version: 1}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if strings.HasSuffix(r.URL.Path, "/usersreplace") {
			replaced.Add(1)
		}
		life.read(t, r)
		box.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p := process{dir: t.TempDir(), dsn: enginetest.ClickHouse(t), url: server.URL}
	for name, secret := range map[string]string{"meta": sandbox.DemoMetaToken, "app": sandbox.DemoMetaAppSecret, "tiktok": sandbox.DemoTikTokToken} {
		require.NoError(t, os.WriteFile(filepath.Join(p.dir, name), []byte(secret), 0o600))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	life.random = rand.New(rand.NewPCG(seed, 0))
	life.begin(t, p)
	atWork := 0
	for killed := 0; killed < kills || time.Now().Before(until); killed++ {
		life.goOn(t, p)
		life.spoil(t, p, box)
		if life.random.IntN(2) == 0 {
			ahead.Add(2)
		}
		child := exec.Command(os.Args[0]) //nolint:gosec // this test again
		child.Env = append(os.Environ(), childOf+"DIR="+p.dir, childOf+"DSN="+p.dsn, childOf+"URL="+p.url)
		before := requests.Load()
		require.NoError(t, child.Start())
		for patience := time.Now().Add(20 * time.Second); requests.Load() == before && time.Now().Before(patience); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(life.random.IntN(1500)) * time.Millisecond)
		require.NoError(t, child.Process.Kill())
		_ = child.Wait()
		if requests.Load() > before {
			atWork++
		}
		if killed%20 == 19 || killed+1 == kills {
			box.ClearFaults()
			ahead.Add(2)
			life.requireLaw(t, p, box)
		}
	}
	require.GreaterOrEqual(t, atWork, kills/3, "too few were killed while they sent")
	t.Logf("%d killed while they sent, %d requests, %d of them of replacements", atWork, requests.Load(), replaced.Load())
	if kills >= 200 {
		require.Positive(t, replaced.Load())
	}
}

var digests = regexp.MustCompile(`[0-9a-f]{64}`)

// read holds that a request adds nobody but members who may be sent, under no identifiers but those they have.
func (l *lives) read(t *testing.T, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // its sender was killed
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	adds := r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/users") || bytes.Contains(body, []byte(`"action":"add"`))
	if !adds {
		return
	}
	allowed := *l.allowed.Load()
	for _, digest := range digests.FindAll(body, -1) {
		if !allowed[string(digest)] {
			t.Error("somebody was added who must not be sent so")
			return
		}
	}
}

// lives are those of a few hundred users.
type lives struct {
	random  *rand.Rand
	version uint64
	members map[audience.UserID]bool
	granted map[audience.UserID]bool
	facts   map[audience.UserID][]audience.Identifier
	allowed atomic.Pointer[map[string]bool] // digests that may be added
	refused bool                            // the platforms have refused rows that are well
}

func (l *lives) begin(t *testing.T, p process) {
	l.members, l.granted, l.facts = map[audience.UserID]bool{}, map[audience.UserID]bool{}, map[audience.UserID][]audience.Identifier{}
	with(t, p, func(ctx context.Context, store *warehouse.Store) error {
		_, err := store.Segments().Create(ctx, audience.Segment{ID: "soak", Expression: "true"})
		for i, d := range []audience.Destination{
			{ID: "meta", Platform: audience.PlatformMeta, Account: sandbox.DemoMetaAccount},
			{ID: "tiktok", Platform: audience.PlatformTikTok, Account: sandbox.DemoTikTokAdvertiser},
		} {
			_, made := store.Destinations().Create(ctx, d)
			_, bound := store.Audiences().Create(ctx, audience.Audience{ID: soaked[i], Segment: "soak", Destination: d.ID})
			err = errors.Join(err, made, bound)
		}
		return err
	})
}

// with does something idempotent with the store, again while ClickHouse is away: a connection that is cut in an unlucky
// moment can end it, and then it is started anew.
func with(t *testing.T, p process, do func(context.Context, *warehouse.Store) error) {
	var err error
	for range 60 {
		var store *warehouse.Store
		if store, err = warehouse.Open(t.Context(), warehouse.Config{DSN: p.dsn}); err == nil {
			err = errors.Join(do(t.Context(), store), store.Close())
		}
		if !errors.Is(err, audience.ErrUnavailable) {
			break
		}
		time.Sleep(time.Second)
	}
	require.NoError(t, err)
}

// goOn changes some users' membership, consent and identifiers.
func (l *lives) goOn(t *testing.T, p process) {
	hasher, err := identity.NewHasher("PL")
	require.NoError(t, err)
	var changes []audience.Change
	var consents []audience.Consent
	var updates []audience.ProfileUpdate
	l.version++
	for _, i := range l.random.Perm(600)[:150] {
		u := userOf(i)
		l.members[u], l.granted[u] = l.random.IntN(3) > 0, l.random.IntN(8) > 0
		change := audience.Change{Membership: audience.Membership{User: u, Version: l.version}, Time: time.Now()}
		if l.members[u] {
			change.Segments = []audience.Number{1}
		}
		inputs := []identity.Input{{Field: identity.Email, Value: identity.Raw(fmt.Sprintf("user.%d.%d@example.com", i, l.random.IntN(3)))}}
		if i%3 == 0 {
			inputs = append(inputs, identity.Input{Field: identity.Phone, Value: identity.Raw(fmt.Sprintf("601 %06d", i/6))})
		}
		l.facts[u], _ = hasher.Identify(inputs)
		changes = append(changes, change)
		consents = append(consents, audience.Consent{User: u, Purpose: "advertising", Granted: l.granted[u], Time: time.Now()})
		updates = append(updates, audience.ProfileUpdate{User: u, Identifiers: l.facts[u], ReplaceIdentifiers: true})
	}
	allowed := map[string]bool{}
	for u, ids := range l.facts {
		for _, id := range ids {
			if l.members[u] && l.granted[u] {
				allowed[hexOf(id)] = true
			}
		}
	}
	l.allowed.Store(&allowed)
	with(t, p, func(ctx context.Context, store *warehouse.Store) error {
		return errors.Join(store.AppendChanges(ctx, changes), store.SetConsents(ctx, consents), store.UpsertProfiles(ctx, updates))
	})
}

// spoil has the platforms fail, and now and then somebody deletes an audience there.
func (l *lives) spoil(t *testing.T, p process, box *sandbox.Server) {
	box.ClearFaults()
	faults := []sandbox.Fault{{Kind: sandbox.FaultHTTP500}, {Kind: sandbox.FaultHTTP502HTML}, {Kind: sandbox.FaultHTML400}, {Kind: sandbox.FaultEmpty200},
		{Kind: sandbox.FaultPlainText200}, {Kind: sandbox.FaultResetBefore}, {Kind: sandbox.FaultResetAfter}, {Kind: sandbox.FaultTruncatedJSON},
		{Kind: sandbox.FaultTokenRevoked}, {Kind: sandbox.FaultAudienceLocked}, {Kind: sandbox.FaultCodeAsString},
		{Kind: sandbox.FaultRateLimited, Wait: sandbox.Duration(time.Second)}, {Kind: sandbox.FaultSlow, Wait: sandbox.Duration(300 * time.Millisecond)},
		// A removal that is refused says that the identifiers are none; so only adds are refused for nothing.
		{Kind: sandbox.FaultRejectHalf, Platform: "meta", Method: http.MethodPost, Path: "/users"}}
	for range 3 {
		f := faults[l.random.IntN(len(faults))]
		f.Probability, f.Seed, f.After = 0.1, l.random.Uint64(), l.random.IntN(2) == 0
		l.refused = l.refused || f.Kind == sandbox.FaultRejectHalf
		require.NoError(t, box.Inject(f))
	}
	if l.random.IntN(15) == 0 {
		with(t, p, func(ctx context.Context, store *warehouse.Store) error {
			a, err := store.Audiences().Get(ctx, string(soaked[l.random.IntN(len(soaked))]))
			if err != nil || a.PlatformID == "" {
				return err
			}
			if a.Destination == "meta" {
				return box.Meta().SetState(a.PlatformID, sandbox.StateDeleted)
			}
			return box.TikTok().SetDeleted(a.PlatformID)
		})
	}
}

// requireLaw syncs until all is done, and compares platform, ledger and target.
func (l *lives) requireLaw(t *testing.T, p process, box *sandbox.Server) {
	for range 3 { // members who share an identifier with a removed one may take another
		var err error
		for range 60 {
			if err = p.syncAll(t.Context(), slog.New(slog.DiscardHandler)); !errors.Is(err, audience.ErrUnavailable) {
				break
			}
			time.Sleep(time.Second)
		}
		require.NoError(t, err)
	}
	for i := range soaked {
		v := &vendor{world: newWorld()}
		with(t, p, func(ctx context.Context, store *warehouse.Store) (err error) {
			if v.world.audience, err = store.Audiences().Get(ctx, string(soaked[i])); err != nil {
				return err
			}
			d, err := store.Destinations().Get(ctx, string(v.world.audience.Destination))
			if err != nil {
				return err
			}
			v.members = membersOf(box, d.Platform)
			for row, err := range store.Deliveries(ctx, v.world.audience.Number) {
				if err != nil {
					return err
				}
				v.world.ledger[row.User] = row
			}
			v.client, err = p.connect(d)
			return err
		})
		refused := map[audience.UserID]bool{}
		for u, ids := range l.facts {
			ids = slices.DeleteFunc(slices.Clone(ids), func(i audience.Identifier) bool { return !slices.Contains(v.client.Schemes(), i.Scheme) })
			if l.members[u] && l.granted[u] && len(ids) > 0 {
				v.world.wanted[u] = ids
				refused[u] = l.refused && v.world.ledger[u].State == audience.DeliveryRejected && slices.Equal(v.world.ledger[u].Identifiers, ids)
			}
		}
		v.requireTarget(t, refused)
	}
}
