package delivery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// mostUploads is how often the files of a sync are made anew because somebody in them was stopped.
const mostUploads = 5

// neverMade is the ledger's reason of users whom no audience holds because its making failed.
const neverMade = "the audience was not made"

// failedFiles is the ledger's reason of users whose files the platform took and could not take in.
const failedFiles = "the platform could not take in the files of the last sync"

// byFiles rebuilds the audience, or makes it, of files.
func (s *sending) byFiles(ctx context.Context) (err error) {
	if !s.audience.PlatformFiles { // before all else, so that an audience whose id gets lost is looked for, see findMade
		if err := s.madeOfFiles(ctx, ""); err != nil {
			return err
		}
	}
	made, err := ofFiles(s.destination)
	if err != nil {
		return err
	}
	r := &filing{rebuild: s.rebuild(), bulk: made.bulk}
	defer func() { r.end(err) }()
	if err := r.awaitWritable(ctx); err != nil {
		return err
	}
	if err := r.intendAll(ctx); err != nil {
		return fmt.Errorf("write down whom the files will hold: %w", err)
	}
	for range mostUploads {
		r.short = false
		again, err := r.fill(ctx)
		if err != nil {
			return err
		}
		if !again {
			return r.settle(ctx)
		}
		if err := r.awaitWritable(ctx); err != nil {
			return err
		}
	}
	return &destination.Error{Kind: destination.Busy, Scope: destination.OfAudience, Err: errors.New("users in the files were stopped again and again while they were uploaded")}
}

// filing is a rebuild by files under way.
type filing struct {
	*rebuild
	bulk  destination.Bulk
	calls int // that have named files
}

// fill uploads everybody and has the audience hold them, and nobody else. Again says that somebody in the files was stopped,
// or a file got lost, so that they have to be made anew.
func (r *filing) fill(ctx context.Context) (again bool, err error) {
	r.calls, r.done = 0, 0
	r.show("uploading the members")
	var refs []destination.FileRef
	for file, err := range r.bulk.Files(r.members(ctx), nil) {
		if err != nil {
			return false, err
		}
		if len(refs) == r.destination.Limits().Files.PerCall {
			if again, err := r.name(ctx, refs); again || err != nil {
				return again, err
			}
			if err := r.awaitWritable(ctx); err != nil {
				return false, err
			}
			refs = refs[:0]
		}
		var ref destination.FileRef
		err = r.try(ctx, adding, r.heed, func() (pace destination.Pace, err error) {
			r.report.Requests++
			ref, err = r.bulk.Upload(ctx, file)
			return pace, err
		})
		if err != nil {
			return false, fmt.Errorf("upload a file: %w", err)
		}
		refs = append(refs, ref)
		r.show("uploading the members")
	}
	if len(refs) == 0 {
		return false, &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfAudience,
			Remedy: "delete the audience instead", Err: errors.New("files cannot empty an audience")}
	}
	return r.name(ctx, refs)
}

// members yields everybody to be sent, marked in the ledger as in a file.
func (r *filing) members(ctx context.Context) iter.Seq2[destination.Row, error] {
	return func(yield func(destination.Row, error) bool) {
		within := audience.SyncRange{Agreed: true}
		for more := true; more; {
			var page []audience.SyncRow
			var err error
			page, more, err = r.read(ctx, &within, r.pageUsers, func(row audience.SyncRow) bool { _, ok := markOf(row.Held); return ok })
			if err == nil {
				err = r.write(ctx, r.target, r.marks(page))
			}
			if err != nil {
				yield(destination.Row{}, err)
				return
			}
			for _, row := range page {
				if send, some := r.rowOf(row); some && !yield(send, nil) {
					return
				}
			}
			r.done += int64(len(page))
		}
	}
}

// marks are the ledger's rows of a page: who is in the files, and who was in those before but is not any more.
func (r *filing) marks(page []audience.SyncRow) (marks []audience.Delivery) {
	for _, row := range page {
		m, _ := markOf(row.Held)
		entry := row.Held
		send, some := r.rowOf(row)
		switch {
		case some:
			m.stage, entry.Identifiers = taken, union(send.Identifiers, entry.Identifiers)
		case m.stage == taken && entry.Run == r.run:
			m.stage = waiting
		default:
			continue
		}
		entry.Reason, entry.Time = m.String(), time.Now().UTC()
		marks = append(marks, entry)
	}
	return marks
}

// name has the audience hold whom the files name: the first call nobody else, the others those as well.
func (r *filing) name(ctx context.Context, refs []destination.FileRef) (again bool, err error) {
	r.show("handing over the files")
	known, gone := r.audience.PlatformID != "", false
	err = r.try(ctx, adding, r.heed, func() (pace destination.Pace, err error) {
		if r.short {
			return pace, errNothing
		}
		r.report.Requests++
		switch {
		case r.audience.PlatformID == "":
			r.audience.PlatformID, err = r.bulk.EnsureFileAudience(ctx, specOf(r.audience), refs)
		case r.calls == 0:
			err = r.bulk.ChangeByFiles(ctx, r.audience.PlatformID, destination.Replace, refs)
		default:
			err = r.bulk.ChangeByFiles(ctx, r.audience.PlatformID, destination.Append, refs)
		}
		if gone = errors.Is(err, destination.ErrFileGone); gone {
			return pace, errNothing
		}
		return pace, err
	})
	if err != nil {
		return false, fmt.Errorf("hand over the files: %w", err)
	}
	if gone || r.short {
		return true, nil
	}
	r.calls++
	if known {
		return false, nil
	}
	return false, r.madeOfFiles(ctx, r.audience.PlatformID)
}

// madeOfFiles keeps the id of an audience that is made of files, "" while it is not known.
func (s *sending) madeOfFiles(ctx context.Context, id string) error {
	made, err := ofFiles(s.destination)
	if err != nil {
		return err
	}
	s.destination, s.audience.PlatformFiles = made, true
	return s.place(ctx, s.target, id, true)
}

// findMade finds out what became of an audience of files whose making ended without an answer. If there is none, nobody is
// held.
func (d *Deliverer) findMade(ctx context.Context, t *target, run audience.RunID) error {
	if !t.audience.PlatformFiles || t.audience.PlatformID != "" {
		return nil
	}
	made, ok := t.destination.(fileAudience)
	if !ok {
		return nil
	}
	err := t.try(ctx, d.Log, tellNobody, adding, nil, func() (pace destination.Pace, err error) {
		t.audience.PlatformID, err = made.bulk.EnsureFileAudience(ctx, specOf(t.audience), nil)
		return pace, err
	})
	var failure *destination.Error
	switch {
	case errors.As(err, &failure) && failure.Kind == destination.Gone:
		if err := d.forget(ctx, *t, run, neverMade); err != nil {
			return err
		}
		t.destination, t.audience.PlatformFiles = made.Destination, false
	case err != nil:
		return fmt.Errorf("look for the audience on the platform: %w", err)
	}
	return d.place(ctx, *t, t.audience.PlatformID, t.audience.PlatformFiles)
}

// awaitWritable waits until the platform has taken in the change before.
func (r *filing) awaitWritable(ctx context.Context) error {
	if r.audience.PlatformID == "" {
		return nil
	}
	r.show("asking whether the audience takes a change")
	for until := time.Now().Add(r.destination.Limits().Files.Locked + filePoll); ; {
		err := r.try(ctx, adding, nil, func() (destination.Pace, error) {
			status, err := r.destination.Audience(ctx, r.audience.PlatformID)
			if err == nil && !status.Writable {
				err = takingIn(status)
			}
			return destination.Pace{}, err
		})
		if !busy(err) || time.Now().After(until) {
			return err
		}
	}
}

// checkFiles looks whether the platform could take in the files of the last sync. If not, nobody knows whom the audience
// holds: the ledger says so, and the next sync sends all of them again.
func (s *sending) checkFiles(ctx context.Context, status destination.Status) error {
	if !s.audience.PlatformFiles || status.State != destination.Blocked || s.report.Plan.Unchanged == 0 {
		return nil
	}
	err := s.rewrite(ctx, s.target, func(row *audience.Delivery) bool {
		delivered := row.State == audience.DeliveryDelivered
		row.State, row.Reason, row.Run = audience.DeliverySending, failedFiles, s.run
		return delivered
	})
	return errors.Join(&destination.Error{Kind: destination.Misconfigured, Scope: destination.OfAudience, Remedy: status.Remedy, Err: errors.New(status.Reason)}, err)
}
