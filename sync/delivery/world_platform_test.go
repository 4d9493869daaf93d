package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// platform is a destination's memory and its moods. It knows people by their identifiers, as those it stands for do: a
// removal takes out every row that shares one with it.
type platform struct {
	held     map[string][]audience.Identifier // rows by rowKey
	values   map[string]float64               // that came last with a row
	id       string                           // of the audience; "" while there is none
	created  int
	requests []destination.Batch // taken or not
	violated string              // the first broken promise

	rows     int     // of a request
	together bool    // a row carries all identifiers of a user; otherwise each scheme has its own requests
	rate     float64 // requests per second
	refuse   refusal
	random   *rand.Rand
	locked   bool    // nothing can be changed now
	silent   bool    // of a vanished audience a request does not say that it is
	faults   float64 // share of requests that fail
	fails    func(destination.Batch) error
	rebuilding
}

// refusal is how a platform answers to bad identifiers, those whose value begins with "bad".
type refusal int

const (
	byName refusal = iota
	byCount
	whole
	refusals
)

// connection is a process's destination.
type connection struct {
	*platform
	world *world
}

func (c connection) Schemes() []audience.Scheme { return []audience.Scheme{emails, phones} }

func (c connection) Limits() destination.Limits {
	return destination.Limits{Rows: c.rows, RequestsPerSecond: c.rate,
		Files: destination.FileLimits{Bytes: 65 * c.rows, PerCall: perCall, Locked: filesLock}}
}

func (c connection) Split(rows []destination.Row, op destination.Op) (batches []destination.Batch, left []destination.Rejection) {
	for i, row := range rows {
		if strings.HasPrefix(string(row.User), "unsendable") {
			left = append(left, destination.Rejection{Row: i, Reason: "nothing to send"})
		}
	}
	schemas := [][]audience.Scheme{{emails}, {phones}}
	if c.together {
		schemas = [][]audience.Scheme{{emails, phones}}
	}
	for _, schema := range schemas {
		var packed []destination.Row
		for _, row := range rows {
			ids := slices.DeleteFunc(slices.Clone(row.Identifiers), func(id audience.Identifier) bool { return !slices.Contains(schema, id.Scheme) })
			for !strings.HasPrefix(string(row.User), "unsendable") && len(ids) > 0 { // two identifiers of a scheme are two rows
				var part, rest []audience.Identifier
				for _, id := range ids {
					if slices.ContainsFunc(part, func(other audience.Identifier) bool { return other.Scheme == id.Scheme }) {
						rest = append(rest, id)
					} else {
						part = append(part, id)
					}
				}
				whole := row
				whole.Identifiers = part
				packed, ids = append(packed, whole), rest
			}
		}
		for chunk := range slices.Chunk(packed, c.rows) {
			batches = append(batches, destination.Batch{Op: op, Schema: schema, Rows: chunk})
		}
	}
	return batches, left
}

func rowKey(ids []audience.Identifier) string { return fmt.Sprint(ids) }

func bad(row destination.Row) bool {
	return slices.ContainsFunc(row.Identifiers, func(id audience.Identifier) bool { return strings.HasPrefix(id.Value, "bad") })
}

func (c connection) Apply(ctx context.Context, id string, b destination.Batch) (destination.Result, error) {
	return c.takes(ctx, id, b, func() error {
		if c.ofFiles {
			c.violated = "an audience that is made of files is changed by requests"
		}
		if c.inReplacement() {
			return busyUntil(c.ends, "the audience is being replaced")
		}
		return nil
	})
}

// takes is what the platform does with the rows of a request. Begin is called before anything changes, and can refuse.
func (c connection) takes(ctx context.Context, id string, b destination.Batch, begin func() error) (destination.Result, error) {
	if err := errors.Join(ctx.Err(), c.world.step()); err != nil {
		return destination.Result{}, err
	}
	c.requests = append(c.requests, b)
	c.world.check(b)
	if (id != c.id || c.id == "") && !c.silent {
		return destination.Result{}, &destination.Error{Kind: destination.Gone, Err: errors.New("no such audience")}
	}
	if c.fails != nil {
		if err := errors.Join(c.fails(b), ctx.Err()); err != nil { // an answer nobody waits for is lost
			return destination.Result{}, err
		}
	}
	fault := c.random.Float64() < c.faults
	if fault {
		switch c.random.IntN(5) {
		case 0:
			return destination.Result{Pace: destination.Pace{Used: 1, Wait: time.Second}},
				&destination.Error{Kind: destination.RateLimited, Scope: destination.OfAccount, RetryAfter: 2 * time.Second, Err: errors.New("slow down")}
		case 1:
			return destination.Result{}, &destination.Error{Kind: destination.Transient, Err: errors.New("out of order")}
		case 2:
			if len(b.Rows) > 1 {
				return destination.Result{}, &destination.Error{Kind: destination.TooLarge, Err: errors.New("too large")}
			}
		case 3:
			return destination.Result{}, &destination.Error{Kind: destination.Unauthorized, Remedy: "renew the token", Err: errors.New("token revoked")}
		}
	}
	var result destination.Result
	for i, row := range b.Rows {
		switch {
		case !bad(row):
		case c.refuse == whole:
			return destination.Result{}, &destination.Error{Kind: destination.Rejected, Code: "40002", Err: errors.New("a parameter is wrong")}
		case c.refuse == byName:
			result.Rejected = append(result.Rejected, destination.Rejection{Row: i, Reason: "malformed"})
		default:
			result.Unnamed = 1 // at least
		}
	}
	if err := begin(); err != nil {
		return destination.Result{}, err
	}
	for _, row := range b.Rows {
		switch {
		case bad(row):
		case b.Op == destination.Add:
			c.held[rowKey(row.Identifiers)], c.values[rowKey(row.Identifiers)] = row.Identifiers, row.Value
		case c.together:
			maps.DeleteFunc(c.held, func(_ string, held []audience.Identifier) bool {
				return slices.ContainsFunc(held, func(id audience.Identifier) bool { return slices.Contains(row.Identifiers, id) })
			})
		default:
			delete(c.held, rowKey(row.Identifiers))
		}
	}
	if fault {
		return destination.Result{}, &destination.Error{Kind: destination.Transient, Err: errors.New("connection dropped")}
	}
	return result, nil
}

// check holds what must be true of every request at the moment it arrives.
func (w *world) check(b destination.Batch) {
	wanted := w.target()
	for _, row := range b.Rows {
		entry := w.ledger[row.User]
		if row.HasValue != (w.audience.Value != "") {
			w.platform.violated = fmt.Sprintf("%s of %s: it has a value in a plain audience, or none in a value-based one", b.Op, row.User)
		}
		if b.Op == destination.Add && (row.Value != entry.Value || row.HasValue && row.Value != w.values[row.User]) {
			w.platform.violated = fmt.Sprintf("%s added with %g, is worth %g, and the ledger intends %g", row.User, row.Value, w.values[row.User], entry.Value)
		}
		for _, id := range row.Identifiers {
			switch {
			case !entry.State.MayHold() || !slices.Contains(entry.Identifiers, id):
				w.platform.violated = fmt.Sprintf("%s of %s without an intent in the ledger", b.Op, row.User)
			case b.Op == destination.Add && !slices.Contains(wanted[row.User], id):
				w.platform.violated = fmt.Sprintf("%s added, who must not be sent so", row.User)
			}
		}
	}
	if len(w.platform.held) > 2000 {
		return
	}
	remembered := map[audience.Identifier]bool{}
	for _, entry := range w.ledger {
		for _, id := range entry.Identifiers {
			remembered[id] = remembered[id] || entry.State.MayHold()
		}
	}
	for _, ids := range w.platform.held {
		for _, id := range ids {
			if !remembered[id] {
				w.platform.violated = fmt.Sprintf("the ledger has forgotten that %s is held", id.Value)
			}
		}
	}
}

func (c connection) EnsureAudience(_ context.Context, spec destination.AudienceSpec) (string, error) {
	if err := c.world.step(); err != nil {
		return "", err
	}
	if c.ofFiles {
		c.violated = "an audience is made though one of files may hold members"
	}
	if c.id == "" {
		c.created++
		c.id = fmt.Sprintf("platform-%s-%d", spec.Key, c.created)
	}
	return c.id, nil
}

func (c connection) Audience(_ context.Context, id string) (destination.Status, error) {
	if id != c.id {
		return destination.Status{}, &destination.Error{Kind: destination.Gone, Err: errors.New("no such audience")}
	}
	status := destination.Status{State: destination.Ready, Writable: !c.locked && !c.inReplacement() && time.Now().After(c.rebuilding.locked)}
	if c.blocked {
		status.State, status.Reason = destination.Blocked, "the last file could not be taken in"
	}
	return status, c.world.step()
}

// vanish is what a person in the platform's own interface can do.
func (p *platform) vanish() {
	p.id, p.ofFiles, p.replacing, p.rebuilding.locked = "", false, nil, time.Time{}
	clear(p.held)
}

func (c connection) DeleteAudience(_ context.Context, id string) error {
	if err := c.world.step(); err != nil {
		return err
	}
	if id == c.id {
		c.vanish()
	}
	return nil
}

func (c connection) Check(context.Context) error { return nil }
