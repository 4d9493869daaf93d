package tabular

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/kohorta/kohorta/internal/audience"
)

// Row is what a row of the file became: an event, a refusal, or nothing if the mapping's filter left it out.
type Row struct {
	Line    int // on which the row begins, from 1
	Event   audience.Event
	Refused error // why it is no event; names the field, never quotes a user id
	Skipped bool
}

// Reader reads one file once. Close it.
type Reader struct {
	Size int64 // bytes of the file as stored; 0 where that is not known

	file    *os.File
	read    atomic.Int64
	records source
	mapping Mapping
	zone    *time.Location
	fields  fields
}

// source gives the records of a file one by one, and io.EOF after the last. Any other error is about one record, on the line
// of the row returned, unless it is fatal.
type source interface {
	columns() map[string]bool // nil where records name their own
	next() (row, error)
}

// fatal is an error after which nothing more can be read.
type fatal struct{ error }

type fields struct {
	user, id, kind, time, value field
	texts, numbers              map[string]field
	where                       func(row) (any, error)
}

// Stdin is the path of the standard input.
const Stdin = "-"

// Open opens a file of rows, or Stdin: NDJSON where the name says so (.ndjson, .jsonl, .json) or Stdin begins with {, else
// CSV with a header; gzip is recognised by its content. Errors of the mapping name its field.
func Open(path string, m Mapping) (*Reader, error) {
	file := os.Stdin
	if path != Stdin {
		var err error
		if file, err = os.Open(path); err != nil {
			return nil, fmt.Errorf("open rows: %w", err)
		}
	}
	r := &Reader{file: file, mapping: m}
	if err := r.open(path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return r, nil
}

func (r *Reader) open(path string) error {
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("open rows: %w", err)
	}
	r.Size = info.Size()
	if r.zone, err = time.LoadLocation(r.mapping.TimeZone); err != nil {
		return audience.Invalid("time_zone", "%q is not an IANA time zone such as Europe/London", r.mapping.TimeZone)
	}
	buffered := bufio.NewReaderSize(&counting{r.file, &r.read}, 1<<16)
	var text io.Reader = buffered
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if text, err = gzip.NewReader(buffered); err != nil {
			return fmt.Errorf("read gzip: %w", err)
		}
	}
	lines := bufio.NewReaderSize(text, 1<<16)
	if mark, _ := lines.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = lines.Discard(3) // a byte order mark, just seen
	}
	if isNDJSON(path, lines) {
		r.records = &ndjson{lines: lines}
	} else if r.records, err = newCSV(lines); err != nil {
		return err
	}
	return r.compile(r.records.columns())
}

func isNDJSON(path string, lines *bufio.Reader) bool {
	if path == Stdin {
		begin, _ := lines.Peek(1)
		return bytes.Equal(begin, []byte("{"))
	}
	return slices.Contains([]string{".ndjson", ".jsonl", ".json"}, filepath.Ext(strings.TrimSuffix(strings.ToLower(path), ".gz")))
}

// compile makes the mapping's fields, and says all that is wrong with it.
func (r *Reader) compile(columns map[string]bool) error {
	var v audience.Violations
	of := func(name, source string) field {
		f, err := compile(name, source, columns)
		v.Merge("", err)
		return f
	}
	m := r.mapping
	for _, required := range []struct{ name, source string }{{"user", m.User}, {"event_id", m.EventID}, {"time", m.Time}} {
		if required.source == "" {
			v.Add(required.name, "is not mapped; name its column or an expression, or use a preset")
		}
	}
	if m.Type == "" {
		m.Type = `="purchase"`
	}
	r.fields = fields{
		user: of("user", m.User), id: of("event_id", m.EventID), kind: of("type", m.Type),
		time: of("time", m.Time), value: of("value", m.Value),
		texts: map[string]field{}, numbers: map[string]field{},
	}
	for name, source := range m.Texts {
		r.fields.texts[name] = of("texts."+name, source)
	}
	for name, source := range m.Numbers {
		r.fields.numbers[name] = of("numbers."+name, source)
	}
	if m.Where != "" {
		where, err := compileCEL("where", strings.TrimPrefix(m.Where, "="))
		v.Merge("", err)
		r.fields.where = where
	}
	return v.Err()
}

// Rows yields what each row became, in the order of the file. It ends with an error only when no more can be read.
func (r *Reader) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for {
			record, err := r.records.next()
			var broken fatal
			switch {
			case errors.Is(err, io.EOF):
				return
			case errors.As(err, &broken):
				yield(Row{Line: record.line}, fmt.Errorf("read rows, line %d: %w", record.line, broken.error))
				return
			case err != nil:
				if !yield(Row{Line: record.line, Refused: err}, nil) {
					return
				}
			default:
				if !yield(r.event(record), nil) {
					return
				}
			}
		}
	}
}

// Progress is how many bytes of the file, as stored, have been read. Safe to call while Rows goes on.
func (r *Reader) Progress() int64 { return r.read.Load() }

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// event makes a row's event, and collects all that is wrong with it.
func (r *Reader) event(record row) Row {
	out := Row{Line: record.line}
	if r.fields.where != nil {
		keep, err := r.fields.where(record)
		if err != nil {
			out.Refused = audience.Invalid("where", "%v", err)
			return out
		}
		if out.Skipped = keep != true; out.Skipped {
			return out
		}
	}
	var v audience.Violations
	text := func(f field) string {
		s, err := f(record)
		v.Merge("", err)
		return s
	}
	event := audience.Event{User: audience.UserID(text(r.fields.user)), ID: text(r.fields.id), Type: text(r.fields.kind)}
	when, err := parseTime(strings.TrimSpace(text(r.fields.time)), r.mapping.TimeLayout, r.zone)
	v.Merge("", err)
	event.Time = when
	if r.fields.value != nil {
		if amount := text(r.fields.value); amount != "" {
			event.ValueMicros, err = parseMicros(amount)
			v.Merge("", err)
		}
	}
	for name, f := range r.fields.texts {
		if s := text(f); s != "" {
			if event.Texts == nil {
				event.Texts = make(map[string]string, len(r.fields.texts))
			}
			event.Texts[name] = s
		}
	}
	for name, f := range r.fields.numbers {
		if s := text(f); s != "" {
			number, err := parseNumber("numbers."+name, s)
			v.Merge("", err)
			if event.Numbers == nil {
				event.Numbers = make(map[string]float64, len(r.fields.numbers))
			}
			event.Numbers[name] = number
		}
	}
	if v.Err() == nil {
		v.Merge("", event.Validate())
	}
	if out.Refused = v.Err(); out.Refused == nil {
		out.Event = event
	}
	return out
}

// counting counts the bytes read through it.
type counting struct {
	from io.Reader
	n    *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// quoted lists columns for people.
func quoted(columns map[string]bool) string {
	names := make([]string, 0, len(columns))
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		names = append(names, fmt.Sprintf("%q", name))
	}
	return strings.Join(names, ", ")
}

// validUTF8 refuses cells that are no text.
func validUTF8(name, cell string) error {
	if !utf8.ValidString(cell) {
		return audience.Invalid(name, "is not valid UTF-8; convert the file first (iconv -f latin1 -t utf-8)")
	}
	return nil
}
