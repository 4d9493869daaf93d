package warehouse

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// Resources keeps the documents of one kind, each with a number that is never used again and an etag that changes with
// every write. Errors are *audience.ResourceError for what is missing or there already, and of kind ErrConflict for a
// stale etag. Safe for concurrent use.
type Resources[T any] struct {
	store *Store
	kind  string // as in resource names: "segments"
	id    func(*T) string
	meta  func(*T) *audience.Meta
	place func(document *T, platformID string, files bool) // of audiences: what SetPlatformID has kept of it
}

// Models are the models.
func (s *Store) Models() *Resources[audience.Model] {
	return &Resources[audience.Model]{
		store: s, kind: "models",
		id:   func(v *audience.Model) string { return string(v.ID) },
		meta: func(v *audience.Model) *audience.Meta { return &v.Meta },
	}
}

// Destinations are the destinations.
func (s *Store) Destinations() *Resources[audience.Destination] {
	return &Resources[audience.Destination]{
		store: s, kind: "destinations",
		id:   func(v *audience.Destination) string { return string(v.ID) },
		meta: func(v *audience.Destination) *audience.Meta { return &v.Meta },
	}
}

// Audiences are the audiences.
func (s *Store) Audiences() *Resources[audience.Audience] {
	return &Resources[audience.Audience]{
		store: s, kind: "audiences",
		id:   func(v *audience.Audience) string { return string(v.ID) },
		meta: func(v *audience.Audience) *audience.Meta { return &v.Meta },
		place: func(v *audience.Audience, platformID string, files bool) {
			v.PlatformID, v.PlatformFiles = platformID, files
		},
	}
}

// Lookalikes are the platforms' lookalikes.
func (s *Store) Lookalikes() *Resources[audience.Lookalike] {
	return &Resources[audience.Lookalike]{
		store: s, kind: "lookalikes",
		id:   func(v *audience.Lookalike) string { return string(v.ID) },
		meta: func(v *audience.Lookalike) *audience.Meta { return &v.Meta },
	}
}

// Create stores a new document under the next number and gives it back with its Meta. ErrExists if the id is in use.
func (r *Resources[T]) Create(ctx context.Context, document T) (T, error) {
	r.store.resources.Lock()
	defer r.store.resources.Unlock()
	var none T
	if err := r.store.settle(ctx); err != nil { // a number that is about to be taken is taken
		return none, r.failed("create", r.id(&document), err, nil)
	}
	if _, found, err := r.find(ctx, r.id(&document)); err != nil || found {
		return none, r.failed("create", r.id(&document), err, audience.ErrExists)
	}
	highest, _, err := first(ctx, r.store, audience.Query{
		SQL:    "SELECT max(number) FROM resources WHERE kind = {kind:String}",
		Params: map[string]any{"kind": r.kind},
	}, func(rows driver.Rows) (number uint32, err error) { return number, rows.Scan(&number) })
	if err != nil {
		return none, r.failed("create", r.id(&document), err, nil)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	*r.meta(&document) = audience.Meta{Number: audience.Number(highest + 1), CreateTime: now, UpdateTime: now}
	return r.write(ctx, document, false)
}

// Get reads one document.
func (r *Resources[T]) Get(ctx context.Context, id string) (T, error) {
	document, found, err := r.find(ctx, id)
	if err != nil || !found {
		return document, r.failed("read", id, err, audience.ErrNotFound)
	}
	return document, nil
}

// All reads every document, by id.
func (r *Resources[T]) All(ctx context.Context) ([]T, error) { return r.List(ctx, "", 0) }

// List reads up to limit documents (0: all) whose id is after the given one, by id.
func (r *Resources[T]) List(ctx context.Context, after string, limit int) ([]T, error) {
	documents, err := all(r.read(ctx, "id > {id:String}", after, limit))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", r.kind, err)
	}
	return documents, nil
}

// Update replaces a document. An etag in its Meta must be the current one; "" checks nothing.
func (r *Resources[T]) Update(ctx context.Context, document T) (T, error) {
	r.store.resources.Lock()
	defer r.store.resources.Unlock()
	current, err := r.current(ctx, r.id(&document), r.meta(&document).Etag)
	if err != nil {
		return current, err
	}
	*r.meta(&document) = *r.meta(&current)
	r.meta(&document).UpdateTime = time.Now().UTC().Truncate(time.Millisecond)
	return r.write(ctx, document, false)
}

// Delete removes a document. The etag must be the current one; "" checks nothing. Its number stays taken.
func (r *Resources[T]) Delete(ctx context.Context, id, etag string) error {
	r.store.resources.Lock()
	defer r.store.resources.Unlock()
	current, err := r.current(ctx, id, etag)
	if err != nil {
		return err
	}
	_, err = r.write(ctx, current, true)
	return err
}

// current is the document that a write with this etag would replace.
func (r *Resources[T]) current(ctx context.Context, id, etag string) (T, error) {
	current, err := r.Get(ctx, id)
	if err == nil && etag != "" && etag != r.meta(&current).Etag {
		err = fmt.Errorf("%s/%s was changed meanwhile, read it again: %w", r.kind, id, audience.ErrConflict)
	}
	return current, err
}

func (r *Resources[T]) find(ctx context.Context, id string) (document T, found bool, err error) {
	documents, err := all(r.read(ctx, "id = {id:String}", id, 1))
	if err != nil || len(documents) == 0 {
		return document, false, err
	}
	return documents[0], true, nil
}

// read yields the documents for which condition, on {id:String}, holds.
func (r *Resources[T]) read(ctx context.Context, condition, id string, limit int) iter.Seq2[T, error] {
	documents := `SELECT id, number, version, spec, create_time, update_time FROM resources FINAL
		WHERE kind = {kind:String} AND NOT deleted AND ` + condition + ` ORDER BY id` + limited(limit)
	places := "(SELECT toUInt32(0) AS number, '' AS platform_id, false AS files WHERE false)"
	if r.place != nil {
		places = "(SELECT audience AS number, platform_id, files FROM platform_audiences FINAL)"
	}
	return stream(ctx, r.store, audience.Query{
		SQL:    "SELECT number, version, spec, create_time, update_time, platform_id, files FROM (" + documents + ") AS document LEFT JOIN " + places + " AS place USING (number) ORDER BY id",
		Params: map[string]any{"kind": r.kind, "id": id},
	}, r.scan)
}

func (r *Resources[T]) scan(rows driver.Rows) (document T, err error) {
	var (
		number  uint32
		version uint64
		spec    string
		meta    audience.Meta

		platformID string
		files      bool
	)
	if err := rows.Scan(&number, &version, &spec, &meta.CreateTime, &meta.UpdateTime, &platformID, &files); err != nil {
		return document, err
	}
	if err := json.Unmarshal([]byte(spec), &document); err != nil {
		return document, fmt.Errorf("stored document %d of %s: %w", number, r.kind, err)
	}
	meta.Number, meta.Etag = audience.Number(number), etagOf(version)
	*r.meta(&document) = meta
	if r.place != nil {
		r.place(&document, platformID, files)
	}
	return document, nil
}

// write stores the document as the newest and gives it back with its new etag.
func (r *Resources[T]) write(ctx context.Context, document T, deleted bool) (T, error) {
	var none T
	spec, err := json.Marshal(document)
	if err != nil {
		return none, r.failed("write", r.id(&document), err, nil)
	}
	meta, version := r.meta(&document), r.store.versions.next()
	meta.Etag = etagOf(version)
	if err := r.store.insert(ctx, "resources (kind, id, number, version, deleted, spec, create_time, update_time)",
		[]string{r.kind}, []string{r.id(&document)}, []uint32{uint32(meta.Number)}, []uint64{version}, []bool{deleted},
		[]string{string(spec)}, []int64{millis(meta.CreateTime)}, []int64{millis(meta.UpdateTime)}); err != nil {
		return none, r.failed("write", r.id(&document), err, nil)
	}
	return document, nil
}

// failed names the document in an error; without one, it is of the given kind.
func (r *Resources[T]) failed(doing, id string, err, kind error) error {
	if err == nil {
		return &audience.ResourceError{Kind: kind, Name: r.kind + "/" + id}
	}
	return fmt.Errorf("%s %s/%s: %w", doing, r.kind, id, err)
}

func etagOf(version uint64) string { return strconv.FormatUint(version, 36) }

// limited is a LIMIT clause; 0 is no limit.
func limited(limit int) string {
	if limit == 0 {
		return ""
	}
	return " LIMIT " + strconv.Itoa(limit)
}
