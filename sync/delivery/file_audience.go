package delivery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// filePoll is how long to wait between looks at an audience that the platform is taking a file into.
const filePoll = 15 * time.Minute

// fileAudience is a destination as an audience sees it that is made of files: a request is a file and the change that names
// it, and takes as long as the platform has not taken in the one before. Stops go so; whole syncs as in byFiles.
type fileAudience struct {
	destination.Destination
	bulk destination.Bulk
}

func ofFiles(d destination.Destination) (fileAudience, error) {
	if made, is := d.(fileAudience); is {
		return made, nil
	}
	bulk, ok := d.(destination.Bulk)
	if !ok {
		return fileAudience{}, fmt.Errorf("it is made of files, which its platform does not take: %w", audience.ErrPrecondition)
	}
	return fileAudience{d, bulk}, nil
}

// lineBytes is what an identifier takes in a file, at most.
const lineBytes = 65

// Split makes requests of one file of each kind of identifier.
func (f fileAudience) Split(rows []destination.Row, op destination.Op) (batches []destination.Batch, left []destination.Rejection) {
	most, used := f.Limits().Files.Bytes/lineBytes, 0
	batch := destination.Batch{Op: op}
	for i, row := range rows {
		schemes := f.Schemes()
		if op == destination.Remove {
			schemes = schemesOf(row, schemes)
		}
		if !slices.ContainsFunc(row.Identifiers, func(id audience.Identifier) bool { return slices.Contains(schemes, id.Scheme) }) {
			left = append(left, destination.Rejection{Row: i, Reason: "has no identifier that a file can carry"})
			continue
		}
		// What is sent of a user goes at once: another request may have to wait for days.
		if used += len(row.Identifiers); used > most && len(batch.Rows) > 0 && batch.Rows[len(batch.Rows)-1].User != row.User {
			batches = append(batches, batch)
			batch.Rows, used = nil, len(row.Identifiers)
		}
		batch.Rows = append(batch.Rows, row)
	}
	if len(batch.Rows) > 0 {
		batches = append(batches, batch)
	}
	return batches, left
}

// schemesOf are the schemes and those of a row that are none of them: a removal sends what was added, under whatever
// settings that was.
func schemesOf(row destination.Row, schemes []audience.Scheme) []audience.Scheme {
	all := slices.Clone(schemes)
	for _, id := range row.Identifiers {
		if !slices.Contains(all, id.Scheme) {
			all = append(all, id.Scheme)
		}
	}
	return all
}

// Apply adds to the audience or cuts from it.
func (f fileAudience) Apply(ctx context.Context, id string, b destination.Batch) (result destination.Result, err error) {
	status, err := f.Audience(ctx, id)
	if err != nil {
		return result, err
	}
	if !status.Writable {
		return result, takingIn(status)
	}
	schemes := f.Schemes()
	for _, row := range b.Rows {
		schemes = schemesOf(row, schemes)
	}
	var refs []destination.FileRef
	for file, err := range f.bulk.Files(sequence(b.Rows), schemes) {
		if err != nil {
			return result, err
		}
		ref, err := f.bulk.Upload(ctx, file)
		if err != nil {
			return result, err
		}
		refs = append(refs, ref)
	}
	change := map[destination.Op]destination.FileChange{destination.Add: destination.Append, destination.Remove: destination.Cut}[b.Op]
	err = f.bulk.ChangeByFiles(ctx, id, change, refs)
	if errors.Is(err, destination.ErrFileGone) {
		err = &destination.Error{Kind: destination.Transient, Scope: destination.OfAudience, Err: err}
	}
	return result, err
}

// DeleteAudience deletes for good.
func (f fileAudience) DeleteAudience(ctx context.Context, id string) error {
	return f.bulk.DeleteFileAudience(ctx, id)
}

// takingIn is the error of an audience that takes no change yet.
func takingIn(status destination.Status) error {
	return &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, RetryAfter: filePoll,
		Err: fmt.Errorf("the platform is still taking in the change before: %s", status.Reason)}
}

func sequence(rows []destination.Row) iter.Seq2[destination.Row, error] {
	return func(yield func(destination.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}
