package delivery_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// How a platform rebuilds an audience: a replacement empties it with its first batch, takes no other change until it is
// over, and is over by itself some time after its first batch; files lock it for a while after each change.
const (
	replaceTakes = 90 * time.Minute
	takesIn      = 6 * time.Minute
	filesLock    = 48 * time.Hour
	perCall      = 2
)

// rebuilding is the platform's side of it.
type rebuilding struct {
	replacing *replacement
	ends      time.Time // of the replacement, whether it was ended or not
	collapses bool      // the next replacement fails in the end

	ofFiles bool // the audience is made of files
	locked  time.Time
	blocked bool // what it took last it could not take in
	files   map[string][]destination.Row
}

// inReplacement reports whether nothing else can change the members now.
func (p *platform) inReplacement() bool { return p.replacing != nil && time.Now().Before(p.ends) }

func busyUntil(then time.Time, words string) error {
	return &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, RetryAfter: min(time.Until(then), 5*time.Minute), Err: errors.New(words)}
}

func (c connection) BeginReplace(_ context.Context, id string, _ destination.ReplaceSpec) (destination.Replacement, error) {
	if err := c.world.step(); err != nil {
		return nil, err
	}
	switch {
	case id != c.id:
		return nil, &destination.Error{Kind: destination.Gone, Err: errors.New("no such audience")}
	case c.inReplacement():
		return nil, busyUntil(c.ends, "the audience is being replaced")
	}
	return &replacement{connection: c, audience: id}, nil
}

type replacement struct {
	connection
	audience            string
	begun, over, failed bool
}

func (r *replacement) Send(ctx context.Context, b destination.Batch, last bool) (destination.Result, error) {
	for user, entry := range r.world.ledger {
		if entry.State == audience.DeliveryDelivered {
			r.violated = fmt.Sprintf("%s counts as delivered while all are replaced", user)
		}
	}
	return r.takes(ctx, r.audience, b, func() error {
		switch {
		case r.begun && (r.over || !r.inReplacement() || r.replacing != r):
			return &destination.Error{Kind: destination.Busy, Err: destination.ErrReplaceOver}
		case !r.begun && r.inReplacement():
			return busyUntil(r.ends, "the audience is being replaced")
		case !r.begun:
			clear(r.held)
			r.begun, r.failed = true, r.collapses
			r.replacing, r.ends, r.collapses = r, time.Now().Add(replaceTakes), false
		}
		if last {
			r.over, r.ends = true, time.Now().Add(takesIn)
		}
		return nil
	})
}

func (r *replacement) Finish(context.Context) error {
	if err := r.world.step(); err != nil {
		return err
	}
	switch {
	case r.inReplacement():
		return busyUntil(r.ends, "it is being taken in")
	case r.failed:
		clear(r.held)
		return &destination.Error{Kind: destination.Rejected, Scope: destination.OfAudience, Err: errors.New("the replacement failed")}
	}
	return nil
}

// Files has the rows themselves as content.
func (c connection) Files(rows iter.Seq2[destination.Row, error], _ []audience.Scheme) iter.Seq2[destination.File, error] {
	return func(yield func(destination.File, error) bool) {
		var file []destination.Row
		flush := func() bool {
			content, err := json.Marshal(file)
			n := 0
			for _, row := range file {
				n += len(row.Identifiers)
			}
			file = nil
			return n == 0 || yield(destination.File{Content: content, Rows: n}, err)
		}
		for row, err := range rows {
			if err != nil {
				yield(destination.File{}, err)
				return
			}
			if file = append(file, row); len(file) == c.rows+2 && !flush() {
				return
			}
		}
		flush()
	}
}

func (c connection) Upload(ctx context.Context, f destination.File) (destination.FileRef, error) {
	if err := errors.Join(ctx.Err(), c.world.step()); err != nil {
		return destination.FileRef{}, err
	}
	var rows []destination.Row
	if err := json.Unmarshal(f.Content, &rows); err != nil {
		return destination.FileRef{}, err
	}
	if c.fails != nil {
		if err := c.fails(destination.Batch{Op: destination.Add, Rows: rows}); err != nil {
			return destination.FileRef{}, err
		}
	}
	if c.random.Float64() < c.faults {
		return destination.FileRef{}, &destination.Error{Kind: destination.Transient, Err: errors.New("out of order")}
	}
	if c.files == nil {
		c.files = map[string][]destination.Row{}
	}
	path := fmt.Sprint("file ", len(c.files))
	c.files[path] = rows
	return destination.FileRef{Path: path}, nil
}

func (c connection) EnsureFileAudience(_ context.Context, spec destination.AudienceSpec, refs []destination.FileRef) (string, error) {
	if err := c.world.step(); err != nil {
		return "", err
	}
	if c.id != "" && !c.ofFiles { // of the same name, but of another kind: it was never used
		if len(c.held) > 0 {
			c.violated = "an audience is made of files though another holds members"
		}
		c.id = ""
	}
	if c.id == "" && len(refs) == 0 {
		return "", &destination.Error{Kind: destination.Gone, Err: errors.New("no such audience")}
	}
	if c.id == "" {
		c.created++
		c.id, c.ofFiles = fmt.Sprintf("platform-%s-%d", spec.Key, c.created), true
		if err := c.change(destination.Replace, refs); err != nil {
			return "", err
		}
	}
	return c.id, nil
}

func (c connection) ChangeByFiles(_ context.Context, id string, change destination.FileChange, refs []destination.FileRef) error {
	if err := c.world.step(); err != nil {
		return err
	}
	switch {
	case id != c.id:
		return &destination.Error{Kind: destination.Gone, Err: errors.New("no such audience")}
	case !c.ofFiles:
		c.violated = "an audience that is not made of files is changed by files"
	case time.Now().Before(c.rebuilding.locked):
		return busyUntil(c.rebuilding.locked, "it takes in the change before")
	}
	return c.change(change, refs)
}

func (c connection) change(change destination.FileChange, refs []destination.FileRef) error {
	var rows []destination.Row
	for _, ref := range refs {
		rows = append(rows, c.files[ref.Path]...)
	}
	op := destination.Add
	if change == destination.Cut {
		op = destination.Remove
	}
	c.requests = append(c.requests, destination.Batch{Op: op, Rows: rows})
	c.world.check(destination.Batch{Op: op, Rows: rows})
	if len(refs) > perCall {
		c.violated = "a call names too many files"
	}
	if change == destination.Replace {
		clear(c.held)
	}
	for _, row := range rows {
		for _, id := range row.Identifiers {
			if change == destination.Cut {
				delete(c.held, rowKey([]audience.Identifier{id}))
			} else {
				c.held[rowKey([]audience.Identifier{id})] = []audience.Identifier{id}
			}
		}
	}
	c.rebuilding.locked, c.blocked = time.Now().Add(filesLock), false
	if c.random.Float64() < c.faults/2 {
		return &destination.Error{Kind: destination.Transient, Err: errors.New("connection dropped")}
	}
	return nil
}

func (c connection) DeleteFileAudience(ctx context.Context, id string) error {
	return c.DeleteAudience(ctx, id)
}

// by has every plan choose a way where it is possible.
func by(way destination.Way) func(destination.Load, destination.Limits) destination.Choice {
	return func(l destination.Load, limits destination.Limits) destination.Choice {
		switch {
		case l.Rows > 0 && (l.Files || way == destination.ByFile && l.Static):
			return destination.Choice{Way: destination.ByFile, Reason: "a test"}
		case way == destination.ByReplace && l.Rows > 0 && l.Held > 0:
			return destination.Choice{Way: destination.ByReplace, Reason: "a test"}
		}
		return destination.FirstLoad(l, limits)
	}
}
