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

	"github.com/kohorta/kohorta/internal/audience"
)

// watchedChanges is how many recent changes are kept in memory for watchers. Who is further behind reads the log.
const watchedChanges = 100_000

// watchedPage is how many changes are read from the log at a time: a slow watcher then holds no query open.
const watchedPage = 10_000

// Watch yields every change of the segments (none: of any) after a cursor ("": from now on), in the order of the log, as
// they happen, without gap or repeat, until ctx ends. A change is durable when it is yielded; the projection may have it a
// moment later. The error is an InvalidError of "cursor" when it belongs to another stream.
func (s *Segmenter) Watch(ctx context.Context, cursor string, segments []audience.Number) iter.Seq2[audience.WatchedChange, error] {
	return func(yield func(audience.WatchedChange, error) bool) {
		w := watcher{segments: segments, filter: filterHash(segments)}
		if err := w.begin(ctx, s, cursor); err != nil {
			yield(audience.WatchedChange{}, err)
			return
		}
		for {
			changes, moved, all := s.watchers.after(w.at)
			if !all {
				var err error
				if changes, err = s.Log.ChangesBehind(ctx, w.at.version, w.at.user, watchedPage); err != nil {
					yield(audience.WatchedChange{}, err)
					return
				}
			}
			for _, change := range changes {
				if watched, yes := w.watched(change); yes && !yield(watched, nil) {
					return
				}
			}
			if !all && len(changes) == watchedPage {
				continue
			}
			select {
			case <-moved:
			case <-ctx.Done():
				yield(audience.WatchedChange{}, context.Cause(ctx))
				return
			}
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

func (p place) before(c audience.Change) bool {
	return cmp.Or(cmp.Compare(p.version, c.Version), cmp.Compare(p.user, c.User)) < 0
}

// watcher is one stream.
type watcher struct {
	segments []audience.Number
	filter   uint32
	at       place
}

// lastUser is behind every user: their ids are valid UTF-8.
const lastUser = audience.UserID("\xff")

// begin finds the place that a cursor names.
func (w *watcher) begin(ctx context.Context, s *Segmenter, cursor string) error {
	last, err := s.lastVersion(ctx)
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

// watched moves on to a change, and says whether it is to be seen and how.
func (w *watcher) watched(change audience.Change) (audience.WatchedChange, bool) {
	if !w.at.before(change) {
		return audience.WatchedChange{}, false
	}
	w.at = place{change.Version, change.User}
	if len(w.segments) > 0 {
		other := func(n audience.Number) bool { return !slices.Contains(w.segments, n) }
		change.Entered = slices.DeleteFunc(slices.Clone(change.Entered), other)
		change.Left = slices.DeleteFunc(slices.Clone(change.Left), other)
	}
	return audience.WatchedChange{Change: change, Cursor: cursorOf(w.filter, w.at)}, len(change.Entered)+len(change.Left) > 0
}

// filterHash tells streams of different segments apart, whatever their order.
func filterHash(segments []audience.Number) uint32 {
	h := fnv.New32a()
	for _, n := range slices.Compact(slices.Sorted(slices.Values(segments))) {
		_ = binary.Write(h, binary.BigEndian, uint32(n))
	}
	return h.Sum32()
}

// watchers keeps recent changes and wakes those who watch. Nobody is waited for: a slow watcher falls back to the log.
type watchers struct {
	mu     sync.Mutex
	recent []audience.Change // every change with a version above complete; nil: none is known
	above  uint64
	moved  chan struct{}
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
		if at.before(c) {
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
