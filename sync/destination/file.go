package destination

import (
	"context"
	"errors"
	"iter"

	"github.com/kohorta/kohorta/internal/audience"
)

// Bulk is a Destination that takes large sets as files. An audience made of files is changed by files for life, and only
// when the platform has taken in the change before, which may take days: for static sets, never for one that people must be
// able to leave.
type Bulk interface {
	// Files writes the identifiers of rows into files, in order, each as large as the platform takes. With identifiers of
	// one kind the files are of that kind, otherwise of a mixed one; no schemes means all of Schemes. A file is valid until
	// the next is asked for. Rows without such an identifier stand in no file.
	Files(rows iter.Seq2[Row, error], schemes []audience.Scheme) iter.Seq2[File, error]
	// Upload sends one file. What comes back names it for a while.
	Upload(ctx context.Context, f File) (FileRef, error)
	// EnsureFileAudience gives the id of the file audience that spec describes and creates it from files when a listing does
	// not show it. Without files it creates none: one that is not listed is Gone.
	EnsureFileAudience(ctx context.Context, spec AudienceSpec, files []FileRef) (id string, err error)
	// ChangeByFiles changes a file audience. Repeating it is harmless. It is Busy until the change before is taken in.
	ChangeByFiles(ctx context.Context, id string, change FileChange, files []FileRef) error
	// DeleteFileAudience deletes for good. An audience that is gone already is no error.
	DeleteFileAudience(ctx context.Context, id string) error
}

// File is one file of identifiers.
type File struct {
	Name    string // with the suffix the platform wants
	Kind    string // in the platform's words; all files of an audience are of one
	Content []byte
	Rows    int
}

// FileRef is a file at the platform.
type FileRef struct {
	Path string // as the platform named it
	Kind string
}

// FileChange is what files do to an audience.
type FileChange uint8

// The changes. There is no default: a platform's own may empty the audience.
const (
	Append  FileChange = iota + 1 // adds those who are not in yet
	Cut                           // removes those who are in
	Replace                       // leaves nobody but those of the files
)

// ErrFileGone is in the errors of calls that name a file the platform no longer has: upload it again.
var ErrFileGone = errors.New("an uploaded file is no longer there")
