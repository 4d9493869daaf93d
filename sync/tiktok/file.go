package tiktok

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the signature of a file is an MD5 at TikTok
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime/multipart"
	"net/http"
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
	"github.com/kohorta/kohorta/sync/identity"
)

// The kinds of file made here (3.1).
const (
	kindMixed   = "MULTIPLE_TYPES" // begins with a header
	kindDevices = "FIRST_SHA256"   // IDFA and GAID
)

// kindOf is the kind of a file of one scheme, and the column of such identifiers in a mixed one.
func kindOf(s audience.Scheme) (single, column string) {
	switch s {
	case identity.TikTokPhone:
		return "PHONE_SHA256", "phone_SHA256"
	case identity.TikTokIDFA:
		return "IDFA_SHA256", "MAID_SHA256"
	case identity.TikTokAAID:
		return "GAID_SHA256", "MAID_SHA256"
	}
	return "EMAIL_SHA256", "email_SHA256"
}

// kindOfAll is the kind of the files that carry all of the schemes.
func kindOfAll(schemes []audience.Scheme) string {
	kind, column := kindOf(schemes[0])
	for _, s := range schemes[1:] {
		switch k, c := kindOf(s); {
		case c != column:
			return kindMixed
		case k != kind:
			kind = kindDevices
		}
	}
	return kind
}

// sheet is a file being written: one column of hashes.
type sheet struct {
	column  string
	content []byte
	rows    int
}

// Files writes one hash a line. Mixed files have one column each, so that no field is ever empty: what TikTok makes of empty
// fields is not documented.
func (c *Client) Files(rows iter.Seq2[destination.Row, error], schemes []audience.Scheme) iter.Seq2[destination.File, error] {
	if len(schemes) == 0 {
		schemes = c.schemes
	}
	return func(yield func(destination.File, error) bool) {
		kind := kindOfAll(schemes)
		sheets := make([]*sheet, len(schemes)) // those of one column are one
		for i, s := range schemes {
			_, column := kindOf(s)
			sheets[i] = &sheet{column: column}
			for _, earlier := range sheets[:i] {
				if earlier.column == column {
					sheets[i] = earlier
				}
			}
		}
		number := 0
		flush := func(s *sheet) bool {
			if s.rows == 0 {
				return true
			}
			number++
			file := destination.File{Name: fmt.Sprintf("members-%d.csv", number), Kind: kind, Content: s.content, Rows: s.rows}
			s.content, s.rows = s.content[:0], 0
			return yield(file, nil)
		}
		for row, err := range rows {
			if err != nil {
				yield(destination.File{}, err)
				return
			}
			for _, id := range row.Identifiers {
				i := slices.Index(schemes, id.Scheme)
				if i < 0 {
					continue
				}
				const line = 2*32 + 1
				s := sheets[i]
				if len(s.content)+line > c.fileBytes && !flush(s) {
					return
				}
				if s.rows == 0 && kind == kindMixed {
					s.content = append(append(s.content, s.column...), '\n')
				}
				s.content = append(identity.AppendHex(s.content, id.Value), '\n')
				s.rows++
			}
		}
		for _, s := range sheets {
			if !flush(s) {
				return
			}
		}
	}
}

// Upload sends a file as a form: its name with the suffix, its MD5, its kind (3.1).
func (c *Client) Upload(ctx context.Context, f destination.File) (destination.FileRef, error) {
	sum := md5.Sum(f.Content) //nolint:gosec // see the import
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	for _, field := range [][2]string{{"advertiser_id", c.account}, {"file_signature", hex.EncodeToString(sum[:])},
		{"calculate_type", f.Kind}, {"file_name", f.Name}} {
		if err := form.WriteField(field[0], field[1]); err != nil {
			return destination.FileRef{}, err
		}
	}
	if _, err := form.CreateFormFile("file", f.Name); err != nil {
		return destination.FileRef{}, err
	}
	tail := "\r\n--" + form.Boundary() + "--\r\n"
	body := io.MultiReader(&head, bytes.NewReader(f.Content), bytes.NewReader([]byte(tail))) // the content is not copied
	size := int64(head.Len() + len(f.Content) + len(tail))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.root+"dmp/custom_audience/file/upload/", body)
	if err != nil {
		return destination.FileRef{}, uncallable()
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", form.FormDataContentType())
	var data struct {
		Path string `json:"file_path"`
	}
	said, err := c.send(c.uploads, req, &data)
	if err != nil {
		return destination.FileRef{}, err
	}
	if data.Path == "" {
		return destination.FileRef{}, &destination.Error{Kind: destination.Transient, RequestID: said.requestID, Err: errors.New("the answer has no path of the file")}
	}
	return destination.FileRef{Path: data.Path, Kind: f.Kind}, nil
}

// EnsureFileAudience finds the audience by its name among the advertiser's file audiences, or creates it.
func (c *Client) EnsureFileAudience(ctx context.Context, spec destination.AudienceSpec, files []destination.FileRef) (string, error) {
	c.creating.Lock()
	defer c.creating.Unlock()
	name := title(spec)
	id, err := c.find(ctx, name, typeFile)
	if err != nil || id != "" {
		return id, err
	}
	if len(files) == 0 {
		return "", &destination.Error{Kind: destination.Gone, Scope: destination.OfAudience, Err: errors.New("TikTok lists no such file audience")}
	}
	paths, err := pathsOf(files)
	if err != nil {
		return "", err
	}
	return c.create(ctx, "dmp/custom_audience/create/", map[string]any{"advertiser_id": c.account, "custom_audience_name": name,
		"calculate_type": files[0].Kind, "file_paths": paths})
}

// pathsOf are the paths of files that one call can name.
func pathsOf(files []destination.FileRef) ([]string, error) {
	refuse := func(words string) error {
		return &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfRequest, Err: errors.New(words)}
	}
	if len(files) == 0 || len(files) > filesPerCall {
		return nil, refuse(fmt.Sprintf("a call names 1 to %d files; make the audience of the first ones, then append the others", filesPerCall))
	}
	paths := make([]string, len(files))
	for i, f := range files {
		if paths[i] = f.Path; f.Kind != files[0].Kind {
			return nil, refuse("all files of an audience must be of one kind")
		}
	}
	return paths, nil
}

var fileActions = map[destination.FileChange]string{destination.Append: "APPEND", destination.Cut: "REMOVE", destination.Replace: "REPLACE"}

// ChangeByFiles always names the action: without one TikTok replaces (3.3).
func (c *Client) ChangeByFiles(ctx context.Context, id string, change destination.FileChange, files []destination.FileRef) error {
	paths, err := pathsOf(files)
	if err != nil {
		return err
	}
	action, ok := fileActions[change]
	if !ok || !idShape.MatchString(id) {
		return &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfRequest, Err: errors.New("a change needs an action and the number of an audience")}
	}
	body, err := json.Marshal(map[string]any{"advertiser_id": c.account, "custom_audience_id": id, "action": action, "file_paths": paths})
	if err != nil {
		return err
	}
	var none json.RawMessage
	_, err = c.call(ctx, http.MethodPost, "dmp/custom_audience/update/", nil, body, &none)
	return c.tellApart(ctx, id, err, "the audience itself is well; TikTok refuses a change that would leave fewer than 1000 people")
}

// DeleteFileAudience deletes for good; lookalikes too.
func (c *Client) DeleteFileAudience(ctx context.Context, id string) error {
	body, err := json.Marshal(map[string]any{"advertiser_id": c.account, "custom_audience_ids": []string{id}})
	if err != nil {
		return err
	}
	var none json.RawMessage
	_, err = c.call(ctx, http.MethodPost, "dmp/custom_audience/delete/", nil, body, &none)
	var e *destination.Error
	if errors.As(err, &e) && e.Kind == destination.Gone {
		return nil
	}
	return err
}
