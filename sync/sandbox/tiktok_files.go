package sandbox

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the platform's file signature is an MD5
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"slices"
	"strings"
	"time"
)

// tikTokMaxFiles is the most file_paths of one call.
const tikTokMaxFiles = 500

// tikTokFile is an uploaded file, waiting to be used.
type tikTokFile struct {
	owner         string
	calculateType string
	members       memberSet
	expires       time.Time
}

// fileTypes are the calculate_types of an upload and the hex digits of their hash; 0 for files with a header.
var fileTypes = map[string]int{"EMAIL_SHA256": 64, "PHONE_SHA256": 64, "IDFA_SHA256": 64, "IDFA_MD5": 32, "GAID_SHA256": 64, "GAID_MD5": 32,
	"FIRST_SHA256": 64, "FIRST_MD5": 32, "MAID_SHA256": 64, "MAID_MD5": 32, "MULTIPLE_TYPES": 0}

// uploadOnly are the types an upload takes but an audience does not.
var uploadOnly = []string{"MAID_SHA256", "MAID_MD5"}

// headerTypes are the column names of a MULTIPLE_TYPES file and the hex digits of their hash; 0 for a clear device id.
var headerTypes = map[string]int{"MAID": 0, "PHONE_SHA256": 64, "EMAIL_SHA256": 64, "MAID_SHA256": 64, "MAID_MD5": 32}

// uploadForm is the multipart body of a file upload.
type uploadForm struct {
	fields   map[string]string
	filename string
	content  []byte
	hasFile  bool
}

// readUpload is POST /dmp/custom_audience/file/upload/.
func readUpload(c *tikTokCall) (tikTokAct, error) {
	f, err := readForm(c)
	if err != nil {
		return nil, err
	}
	advertiser, kind := f.fields["advertiser_id"], f.fields["calculate_type"]
	if err := required(requiredField{"advertiser_id", advertiser != ""}, requiredField{"file", f.hasFile},
		requiredField{"file_signature", f.fields["file_signature"] != ""}, requiredField{"calculate_type", kind != ""}); err != nil {
		return nil, err
	}
	sum := md5.Sum(f.content) //nolint:gosec // see the import
	members, problem := memberSet(nil), error(nil)
	digits, known := fileTypes[kind]
	switch suffix := f.filename[max(0, len(f.filename)-4):]; {
	case !known:
		return nil, refusal(40909, "calculate_type: %s is not supported.", kind)
	case suffix != ".csv" && suffix != ".txt":
		return nil, refusal(40908, "The file type is not supported, use .csv or .txt.")
	case len(f.content) == 0:
		return nil, refusal(40906, "The file is empty.")
	case len(f.content) > c.cfg.MaxFileBytes:
		return nil, refusal(40907, "The file is larger than %d bytes.", c.cfg.MaxFileBytes)
	case hex.EncodeToString(sum[:]) != f.fields["file_signature"]:
		return nil, refusal(40900, "The file signature does not match the file.")
	case kind == "MULTIPLE_TYPES":
		members, problem = readTable(string(f.content))
	default:
		members, problem = readHashes(string(f.content), kind, digits)
	}
	if problem != nil {
		return nil, refusal(40915, "The file is off specification: %v", problem)
	}
	c.rows = len(members)
	return func(t *TikTok) (any, error) {
		if err := t.own(c, advertiser); err != nil {
			return nil, err
		}
		t.created++
		path := fmt.Sprintf("%016x", uint64(t.created)*0x9e3779b97f4a7c15) // spread, as the platform's are
		t.files[path] = &tikTokFile{owner: advertiser, calculateType: kind, members: members, expires: c.now.Add(c.cfg.FileLifetime)}
		return map[string]string{"file_path": path}, nil
	}, nil
}

func readForm(c *tikTokCall) (uploadForm, error) {
	f := uploadForm{fields: map[string]string{}}
	media, args, _ := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if media != "multipart/form-data" {
		return f, refusal(40002, "Content-Type must be multipart/form-data")
	}
	parts := multipart.NewReader(bytes.NewReader(c.body), args["boundary"])
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return f, nil
		}
		if err != nil {
			return f, refusal(40002, "The multipart body is malformed")
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return f, refusal(40002, "The multipart body is malformed")
		}
		switch name := part.FormName(); name {
		case "file":
			f.hasFile, f.filename, f.content = true, part.FileName(), content
		case "advertiser_id", "file_signature", "calculate_type", "file_name", "name", "context_info":
			f.fields[name] = string(content)
		default:
			return f, refusal(40002, "%s: Unknown field.", name)
		}
	}
}

// readHashes reads one hash a line.
func readHashes(text, kind string, digits int) (memberSet, error) {
	members := memberSet{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		hash := strings.ToLower(strings.TrimRight(line, "\r\n"))
		if !isHash(hash, digits) {
			return nil, fmt.Errorf("line %d is no hash of %d hex digits", n, digits)
		}
		members[Member{kind, hash}] = struct{}{}
	}
	return members, nil
}

// readTable reads a file with a header; a blank cell has no id of that kind.
func readTable(text string) (memberSet, error) {
	members := memberSet{}
	var header []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		cells := strings.Split(strings.TrimRight(line, "\r\n"), ",")
		if header == nil {
			for i := range cells {
				cells[i] = strings.ToUpper(cells[i])
				if _, known := headerTypes[cells[i]]; !known {
					return nil, fmt.Errorf("column %d of the header is not supported", i+1)
				}
			}
			header = cells
			continue
		}
		if len(cells) != len(header) {
			return nil, fmt.Errorf("line %d has %d fields, the header has %d", n, len(cells), len(header))
		}
		for i, cell := range cells {
			kind := header[i]
			if digits := headerTypes[kind]; digits > 0 {
				cell = strings.ToLower(cell)
				if cell != "" && !isHash(cell, digits) {
					return nil, fmt.Errorf("line %d field %d is no hash of %d hex digits", n, i+1, digits)
				}
			}
			if cell != "" {
				members[Member{kind, cell}] = struct{}{}
			}
		}
	}
	return members, nil
}

type fileCreateBody struct {
	Advertiser  string   `json:"advertiser_id"`
	Name        string   `json:"custom_audience_name"`
	Type        string   `json:"calculate_type"`
	Paths       []string `json:"file_paths"`
	SubType     string   `json:"audience_sub_type"`
	Retention   *int     `json:"retention_in_days"`
	Enhancement bool     `json:"audience_enhancement"`
}

// readFileCreate is POST /dmp/custom_audience/create/.
func readFileCreate(c *tikTokCall) (tikTokAct, error) {
	var b fileCreateBody
	if err := c.decodeBody(&b); err != nil {
		return nil, err
	}
	if err := required(requiredField{"advertiser_id", b.Advertiser != ""}, requiredField{"custom_audience_name", b.Name != ""},
		requiredField{"calculate_type", b.Type != ""}, requiredField{"file_paths", len(b.Paths) > 0}); err != nil {
		return nil, err
	}
	_, known := fileTypes[b.Type]
	switch {
	case !known || slices.Contains(uploadOnly, b.Type):
		return nil, refusal(40909, "calculate_type: %s is not supported.", b.Type)
	case len([]rune(b.Name)) > 128:
		return nil, refusal(40002, "custom_audience_name: Length must be 1 to 128.")
	case len(b.Paths) > tikTokMaxFiles:
		return nil, refusal(40011, "file_paths: At most %d.", tikTokMaxFiles)
	case !slices.Contains([]string{"", "NORMAL", "REACH_FREQUENCY"}, b.SubType):
		return nil, refusal(40002, "audience_sub_type: Must be one of NORMAL, REACH_FREQUENCY.")
	case b.Retention != nil && (*b.Retention < 1 || *b.Retention > 365):
		return nil, refusal(40002, "retention_in_days: Must be 1 to 365.")
	}
	return func(t *TikTok) (any, error) {
		if err := t.own(c, b.Advertiser); err != nil {
			return nil, err
		}
		members, mixed, err := t.takeFiles(c, b.Advertiser, b.Type, b.Paths)
		if err != nil {
			return nil, err
		}
		a, err := t.newAudience(c, b.Advertiser, b.Name, typeFile)
		if err != nil {
			return nil, err
		}
		a.calculateType, a.subType, a.enhancement = b.Type, b.SubType, b.Enhancement
		if b.Retention != nil {
			a.expires = c.now.AddDate(0, 0, *b.Retention)
		}
		t.process(c, a, members)
		if mixed {
			a.pendingError = "The calculate_type differs from that of a file."
		}
		return map[string]string{"custom_audience_id": a.id}, nil
	}, nil
}

// takeFiles reads files of the advertiser. mixed tells that one is of another type than kind.
func (t *TikTok) takeFiles(c *tikTokCall, advertiser, kind string, paths []string) (members memberSet, mixed bool, err error) {
	members = memberSet{}
	for _, path := range paths {
		f := t.files[path]
		switch {
		case f == nil || f.owner != advertiser:
			return nil, false, refusal(40905, "The file %s does not exist.", path)
		case c.now.After(f.expires):
			return nil, false, refusal(40910, "The file %s has expired.", path)
		}
		mixed = mixed || f.calculateType != kind
		maps.Copy(members, f.members)
	}
	return members, mixed, nil
}

// process lets the audience hold the members after the platform's processing, unless they are too few.
func (t *TikTok) process(c *tikTokCall, a *tikTokAudience, members memberSet) {
	a.pending, a.pendingError = members, ""
	a.ready = c.now.Add(c.cfg.ProcessingFor)
	if t.matched(len(members)) < tikTokMinMatched {
		a.pendingError = fmt.Sprintf("The audience size is below %d.", tikTokMinMatched)
	}
}

type fileUpdateBody struct {
	Advertiser  string   `json:"advertiser_id"`
	ID          string   `json:"custom_audience_id"`
	Name        string   `json:"custom_audience_name"`
	Paths       []string `json:"file_paths"`
	Action      string   `json:"action"`
	SubType     string   `json:"audience_sub_type"`
	Enhancement *bool    `json:"audience_enhancement"`
}

// readFileUpdate is POST /dmp/custom_audience/update/. Without an action it replaces.
func readFileUpdate(c *tikTokCall) (tikTokAct, error) {
	var b fileUpdateBody
	if err := c.decodeBody(&b); err != nil {
		return nil, err
	}
	if err := required(requiredField{"advertiser_id", b.Advertiser != ""}, requiredField{"custom_audience_id", b.ID != ""},
		requiredField{"custom_audience_name or file_paths", b.Name != "" || len(b.Paths) > 0 || b.SubType != ""}); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains([]string{"", "APPEND", "REMOVE", "REPLACE"}, b.Action):
		return nil, refusal(40002, "action: Must be one of APPEND, REMOVE, REPLACE.")
	case !slices.Contains([]string{"", "REACH_FREQUENCY"}, b.SubType):
		return nil, refusal(40002, "audience_sub_type: Can only be changed to REACH_FREQUENCY.")
	case len(b.Paths) > tikTokMaxFiles:
		return nil, refusal(40011, "file_paths: At most %d.", tikTokMaxFiles)
	}
	return func(t *TikTok) (any, error) {
		if err := t.own(c, b.Advertiser); err != nil {
			return nil, err
		}
		a := t.find(b.ID, b.Advertiser)
		if a == nil {
			return nil, refusal(40007, "The audience %s does not exist.", b.ID)
		}
		a.settle(c.now)
		if a.kind != typeFile || a.pending != nil || len(a.members) == 0 {
			return nil, refusal(40002, "The audience %s is not editable.", b.ID)
		}
		if b.SubType != "" { // all other changes are ignored then
			a.subType = b.SubType
			return empty{}, nil
		}
		if len(b.Paths) > 0 {
			if err := t.editFile(c, a, b); err != nil {
				return nil, err
			}
		}
		if b.Name != "" {
			a.name = b.Name
		}
		return empty{}, nil
	}, nil
}

// editFile computes the members after APPEND, REMOVE or REPLACE and starts processing.
func (t *TikTok) editFile(c *tikTokCall, a *tikTokAudience, b fileUpdateBody) error {
	given, mixed, err := t.takeFiles(c, b.Advertiser, a.calculateType, b.Paths)
	if err != nil {
		return err
	}
	if mixed {
		return refusal(40909, "The files must have the calculate_type of the audience.")
	}
	members := maps.Clone(a.members)
	switch b.Action {
	case "APPEND":
		maps.Copy(members, given)
	case "REMOVE":
		maps.DeleteFunc(members, func(m Member, _ struct{}) bool { _, gone := given[m]; return gone })
	default:
		members = given
	}
	if c.cfg.SmallFloorSync && t.matched(len(members)) < tikTokMinMatched {
		return refusal(40002, "The audience would be below %d users.", tikTokMinMatched)
	}
	a.note(c.now, "UPDATE", b.Action)
	t.process(c, a, members)
	return nil
}
