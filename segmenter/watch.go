package segmenter

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// watchedChanges is how many recent changes are kept in memory for watchers. Who is further behind reads the log.
const watchedChanges = 100_000

// watchedPage is how many changes are read from the log at a time: a slow watcher then holds no query open.
const watchedPage = 10_000

// Watch yields every change of the segments (none: of any) that readers see, after a cursor ("": from now on), in the order of
// the log, as they happen, without gap or repeat, until ctx ends. A change is durable when it is yielded; the projection may
// have it a moment later. When definitions change, it yields whom that moves, once. The error is an InvalidError of "cursor"
// when it belongs to another stream.
func (s *Segmenter) Watch(ctx context.Context, cursor string, segments []audience.SegmentID) iter.Seq2[audience.WatchedChange, error] {
	return func(yield func(audience.WatchedChange, error) bool) {
		w := watcher{Segmenter: s, segments: segments, filter: filterHash(segments), yield: yield}
		err := w.begin(ctx, cursor)
		for err == nil && !w.ended {
			err = w.advance(ctx)
		}
		if err != nil {
			yield(audience.WatchedChange{}, err)
		}
	}
}

// Cursor is where a watch of all segments begins that goes on from now: what it will see is everything after the call.
func (s *Segmenter) Cursor(ctx context.Context) (string, error) {
	last, err := s.lastVersion(ctx)
	if err != nil {
		return "", err
	}
	return cursorOf(filterHash(nil), place{last, lastUser}), nil
}

// cursorOf is the opaque form of a place in a stream.
func cursorOf(filter uint32, at place) string {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, filter), at.version)
	return base64.RawURLEncoding.EncodeToString(append(b, at.user...))
}

// place is where a stream has come to in the log.
type place struct {
	version uint64
	user    audience.UserID // of the version: those up to this one were seen
}

// before says whether the place is before that of a user's change of a version.
func (p place) before(version uint64, user audience.UserID) bool {
	return cmp.Or(cmp.Compare(p.version, version), cmp.Compare(p.user, user)) < 0
}

// watcher is one stream.
type watcher struct {
	*Segmenter
	segments []audience.SegmentID
	filter   uint32
	at       place
	yield    func(audience.WatchedChange, error) bool
	ended    bool // by the consumer
}

// lastUser is behind every user: their ids are valid UTF-8.
const lastUser = audience.UserID("\xff")

// begin finds the place that a cursor names.
func (w *watcher) begin(ctx context.Context, cursor string) error {
	if _, err := w.allEditions(ctx); err != nil {
		return err
	}
	last, err := w.lastVersion(ctx)
	if err != nil {
		return err
	}
	if cursor == "" {
		w.at = place{last, lastUser}
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) < 12 {
		return audience.Invalid("cursor", "is not one this service gave; pass on that of the last change you have seen")
	}
	if binary.BigEndian.Uint32(b) != w.filter {
		return audience.Invalid("cursor", "belongs to a stream of other segments; watch the same ones, or begin without a cursor")
	}
	w.at = place{binary.BigEndian.Uint64(b[4:]), audience.UserID(b[12:])}
	if w.at.version > last {
		return audience.Invalid("cursor", "is ahead of the log, so it belongs to another database; begin without a cursor")
	}
	return nil
}

// advance yields what there is behind the place, up to the next edition and the users it moves, or waits until there is more.
func (w *watcher) advance(ctx context.Context) error {
	through, next := w.editions.around(w.at) // first: then all that comes before the next one is read
	changes, moved, all := w.watchers.after(w.at)
	if !all {
		var err error
		if changes, err = w.Log.ChangesBehind(ctx, w.at.version, w.at.user, watchedPage); err != nil {
			return err
		}
	}
	if _, newer := w.editions.around(w.at); next == nil && newer != nil {
		return nil // it may come before some of them
	}
	more := !all && len(changes) == watchedPage
	for _, change := range changes {
		if next != nil && change.Version > next.Version {
			more = false
			break
		}
		if w.see(change.Version, change.User, change.Time, change.Cause, through.IDs(change.Entered), through.IDs(change.Left)); w.ended {
			return nil
		}
	}
	switch {
	case more:
		return nil
	case next != nil:
		return w.turn(ctx, through, next)
	}
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// turn yields the users that an edition moves, and passes it.
func (w *watcher) turn(ctx context.Context, through, next *audience.Edition) error {
	after := audience.UserID("")
	if w.at.version == next.Version {
		after = w.at.user
	}
	var turned []audience.Membership // first all of them: a slow watcher holds no query open
	if renumbered := next.RenumberedSince(through); len(renumbered) > 0 {
		var err error
		turned, err = w.watchers.turned.page(ctx, place{next.Version, after}, func(ctx context.Context) (turned []audience.Membership, err error) {
			for membership, err := range w.Log.Turned(ctx, next.Version, renumbered, after, watchedChanges) {
				if err != nil {
					return nil, err
				}
				turned = append(turned, membership)
			}
			return turned, nil
		})
		if err != nil {
			return err
		}
	}
	for _, membership := range turned {
		entered, left := next.Turn(through, membership.Segments)
		if w.see(next.Version, membership.User, next.Time, next.Cause, entered, left); w.ended {
			return nil
		}
	}
	if len(turned) < watchedChanges {
		w.at = place{next.Version, lastUser}
	}
	return nil
}

// see moves on to a change, and yields it if it is to be seen.
func (w *watcher) see(version uint64, user audience.UserID, at time.Time, cause string, entered, left []audience.SegmentID) {
	if !w.at.before(version, user) {
		return
	}
	w.at = place{version, user}
	if len(w.segments) > 0 {
		other := func(id audience.SegmentID) bool { return !slices.Contains(w.segments, id) }
		entered, left = slices.DeleteFunc(entered, other), slices.DeleteFunc(left, other)
	}
	if len(entered)+len(left) > 0 {
		w.ended = !w.yield(audience.WatchedChange{
			User: user, Version: version, Entered: entered, Left: left, Time: at, Cause: cause, Cursor: cursorOf(w.filter, w.at),
		}, nil)
	}
}

// filterHash tells streams of different segments apart, whatever their order.
func filterHash(segments []audience.SegmentID) uint32 {
	h := fnv.New32a()
	for _, id := range slices.Compact(slices.Sorted(slices.Values(segments))) {
		_, _ = h.Write(append([]byte(id), 0)) // it never fails
	}
	return h.Sum32()
}

// watchers keeps recent changes and wakes those who watch. Nobody is waited for: a slow watcher falls back to the log.
type watchers struct {
	mu     sync.Mutex
	recent []audience.Change // every change with a version above complete; nil: none is known
	above  uint64
	moved  chan struct{}

	turned turnedPages
}

func newWatchers() watchers { return watchers{moved: make(chan struct{})} }

// after gives the changes behind a place, if all of them are in memory, and what is closed when there are more.
func (w *watchers) after(at place) (changes []audience.Change, moved <-chan struct{}, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.recent) == 0 || at.version < w.above || at.version == w.above && at.user != lastUser {
		return nil, w.moved, false
	}
	from, _ := slices.BinarySearchFunc(w.recent, at, func(c audience.Change, at place) int {
		if at.before(c.Version, c.User) {
			return 1
		}
		return -1
	})
	return w.recent[from:], w.moved, true // never written again, see publish
}

// publish adds the changes of one version, by UserID.
func (w *watchers) publish(changes []audience.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.recent) == 0 {
		w.above = changes[0].Version - 1
	}
	w.recent = append(w.recent, changes...)
	if len(w.recent) > 2*watchedChanges {
		surplus := len(w.recent) - watchedChanges
		w.above = w.recent[surplus-1].Version
		for surplus < len(w.recent) && w.recent[surplus].Version == w.above { // a version goes as a whole
			surplus++
		}
		w.recent = slices.Clone(w.recent[surplus:]) // a watcher may still read the old ones
	}
	w.wake()
}

// turn says that an edition has come into force.
func (w *watchers) turn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wake()
}

// missed says that the log may hold changes that were not published: what is in memory is no longer all.
func (w *watchers) missed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recent = nil
	w.wake()
}

func (w *watchers) wake() {
	close(w.moved)
	w.moved = make(chan struct{})
}
