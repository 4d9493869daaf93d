package tabular

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// maxRecord bounds a row of CSV in bytes. A row may have many lines: a quote that is never closed would take in all the rest.
const maxRecord = 16 << 20

// csvSource reads CSV with a header line.
type csvSource struct {
	reader *csv.Reader
	leash  *leash
	header []string
	names  map[string]bool
	line   int // of the row read last
	end    int // the line on which that ends
}

func newCSV(text io.Reader) (*csvSource, error) {
	s := &csvSource{leash: &leash{from: text, left: maxRecord}, names: map[string]bool{}}
	s.reader = csv.NewReader(s.leash)
	s.reader.ReuseRecord = true
	header, err := s.reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, audience.Invalid("file", "is empty; the first line must name the columns")
	}
	if errors.Is(err, errLeash) {
		return nil, audience.Invalid("file", "the header line %v", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the header line: %w", err)
	}
	s.header, s.end = append(s.header, header...), s.ending(header)
	for _, name := range s.header {
		if s.names[name] {
			return nil, audience.Invalid("file", "the header names the column %q twice", name)
		}
		s.names[name] = true
	}
	return s, nil
}

func (s *csvSource) columns() map[string]bool { return s.names }

// ending is the line on which a row ends that was just read.
func (s *csvSource) ending(cells []string) int {
	last := len(cells) - 1
	line, _ := s.reader.FieldPos(last)
	return line + strings.Count(cells[last], "\n")
}

func (s *csvSource) next() (row, error) {
	s.leash.left = maxRecord
	cells, err := s.reader.Read()
	var fault *csv.ParseError
	switch {
	case errors.As(err, &fault) && errors.Is(fault.Err, csv.ErrQuote) && fault.Line > fault.StartLine:
		return row{line: fault.StartLine}, fatal{fmt.Errorf("a quote opened here is not closed by line %d, so it cannot be known where the next row begins", fault.Line)}
	case errors.Is(err, errLeash):
		return row{line: s.end + 1}, fatal{fmt.Errorf("the row that begins here or later %w", errLeash)}
	case errors.As(err, &fault):
		return row{line: fault.StartLine}, audience.Invalid("row", "%v", fault.Err)
	case err != nil:
		return row{line: s.line + 1}, unreadable(err)
	}
	s.line, _ = s.reader.FieldPos(0)
	s.end = s.ending(cells)
	r := row{line: s.line, cells: make(map[string]string, len(cells))}
	for i, cell := range cells {
		if err := validUTF8(s.header[i], cell); err != nil {
			return r, err
		}
		r.cells[s.header[i]] = cell
	}
	return r, nil
}

// errLeash says that a row is too long.
var errLeash = fmt.Errorf("has more than %d MiB: a quote in it may not be closed", maxRecord>>20)

// leash is a reader that fails after so many bytes.
type leash struct {
	from io.Reader
	left int
}

func (l *leash) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLeash
	}
	n, err := l.from.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// maxLine bounds a line of NDJSON in bytes, so that a file without line ends is not read into memory.
const maxLine = 1 << 20

// ndjson reads one JSON object a line. Nested objects become columns "outer.inner".
type ndjson struct {
	lines *bufio.Reader
	line  int
}

func (s *ndjson) columns() map[string]bool { return nil }

func (s *ndjson) next() (row, error) {
	for {
		s.line++
		text, err := s.readLine()
		if err != nil && (len(text) == 0 || !errors.Is(err, io.EOF)) {
			return row{line: s.line}, err
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		r := row{line: s.line, cells: map[string]string{}}
		if err := validUTF8("row", string(text)); err != nil {
			return r, err
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var object map[string]any
		var other *json.UnmarshalTypeError
		switch err := decoder.Decode(&object); {
		case errors.As(err, &other):
			return r, audience.Invalid("row", "is not a JSON object but %s", other.Value)
		case err != nil:
			return r, audience.Invalid("row", "is not a JSON object: %v", err)
		case decoder.More():
			return r, audience.Invalid("row", "has more than one JSON object; write one a line")
		}
		r.flatten("", object)
		return r, nil
	}
}

// readLine reads to the end of the line; a line that is too long is skipped and refused.
func (s *ndjson) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := s.lines.ReadSlice('\n')
		if len(line) <= maxLine {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return line, unreadable(err)
		case len(line) > maxLine:
			return nil, audience.Invalid("row", "has more than %d bytes; one JSON object a line is expected", maxLine)
		}
		return line, nil
	}
}

// flatten makes cells of an object's members; null makes none, and neither does a list, which is noted.
func (r *row) flatten(prefix string, object map[string]any) {
	for name, value := range object {
		switch v := value.(type) {
		case nil:
		case string:
			r.cells[prefix+name] = v
		case json.Number:
			r.cells[prefix+name] = v.String()
		case bool:
			r.cells[prefix+name] = fmt.Sprint(v)
		case map[string]any:
			r.flatten(prefix+name+".", v)
		default:
			r.lists = append(r.lists, prefix+name)
		}
	}
}

// unreadable makes an error of the file itself fatal; its end stays io.EOF.
func unreadable(err error) error {
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the compressed data end too early: the file was cut off")
	}
	return fatal{err}
}
