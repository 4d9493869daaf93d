package tabular

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kohorta/kohorta/internal/audience"
)

// csvSource reads CSV with a header line.
type csvSource struct {
	reader *csv.Reader
	header []string
	names  map[string]bool
}

func newCSV(text io.Reader) (*csvSource, error) {
	s := &csvSource{reader: csv.NewReader(text), names: map[string]bool{}}
	s.reader.ReuseRecord = true
	header, err := s.reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, audience.Invalid("file", "is empty; the first line must name the columns")
	}
	if err != nil {
		return nil, fmt.Errorf("read the header line: %w", err)
	}
	s.header = append(s.header, header...)
	for _, name := range s.header {
		if s.names[name] {
			return nil, audience.Invalid("file", "the header names the column %q twice", name)
		}
		s.names[name] = true
	}
	return s, nil
}

func (s *csvSource) columns() map[string]bool { return s.names }

func (s *csvSource) next() (row, error) {
	cells, err := s.reader.Read()
	var fault *csv.ParseError
	switch {
	case errors.As(err, &fault):
		return row{line: fault.StartLine}, audience.Invalid("row", "%v", fault.Err)
	case err != nil:
		return row{}, unreadable(err)
	}
	line, _ := s.reader.FieldPos(0)
	r := row{line: line, cells: make(map[string]string, len(cells))}
	for i, cell := range cells {
		if err := validUTF8(s.header[i], cell); err != nil {
			return r, err
		}
		r.cells[s.header[i]] = cell
	}
	return r, nil
}

// maxLine bounds a line of NDJSON, so that a file without line ends is refused and not swallowed.
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
		if err := decoder.Decode(&object); err != nil {
			return r, audience.Invalid("row", "is not a JSON object: %v", err)
		}
		return r, flatten("", object, r.cells)
	}
}

// readLine reads up to the line's end; a line too long is read over and refused.
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

// flatten makes cells of an object's members; null is an empty cell.
func flatten(prefix string, object map[string]any, cells map[string]string) error {
	for name, value := range object {
		switch v := value.(type) {
		case nil:
		case string:
			cells[prefix+name] = v
		case json.Number:
			cells[prefix+name] = v.String()
		case bool:
			cells[prefix+name] = fmt.Sprint(v)
		case map[string]any:
			if err := flatten(prefix+name+".", v, cells); err != nil {
				return err
			}
		default:
			return audience.Invalid(prefix+name, "is a list; events take texts and numbers")
		}
	}
	return nil
}

// unreadable marks what the file itself did wrong; its end stays io.EOF.
func unreadable(err error) error {
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return fatal{err}
}
