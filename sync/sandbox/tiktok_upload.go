package sandbox

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the file signature of the platform is an MD5
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"time"
)

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
	var members memberSet
	var problem error
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
		if errors.Is(err, io.EOF) {
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
