package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/lipgloss/table"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// printer writes what a command found: text for people, or one JSON document for scripts.
type printer struct {
	out  io.Writer
	json bool
	bold lipgloss.Style
	dim  lipgloss.Style
}

func newPrinter(out io.Writer, o *options) *printer {
	styles := lipgloss.NewRenderer(out) // no colour where out is no terminal
	return &printer{out: out, json: o.json(), bold: styles.NewStyle().Bold(true), dim: styles.NewStyle().Faint(true)}
}

// table writes rows under headers. The columns in right are numbers and right-aligned.
func (p *printer) table(headers []string, rows [][]string, right ...int) {
	t := table.New().Border(lipgloss.HiddenBorder()).BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).
		BorderHeader(false).BorderColumn(false).Headers(headers...).Rows(rows...).
		StyleFunc(func(row, column int) lipgloss.Style {
			style := lipgloss.NewStyle().PaddingRight(2)
			if row == table.HeaderRow {
				style = p.dim.PaddingRight(2)
			}
			if slices.Contains(right, column) {
				style = style.Align(lipgloss.Right)
			}
			return style
		})
	for line := range strings.Lines(t.Render() + "\n") {
		fmt.Fprintln(p.out, strings.TrimRight(line, " \n"))
	}
}

// document writes a value as JSON.
func (p *printer) document(value any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// asJSON writes messages with the field names of the contract.
var asJSON = protojson.MarshalOptions{UseProtoNames: true}

// message writes a message of the contract as JSON.
func (p *printer) message(m proto.Message) error {
	text, err := asJSON.Marshal(m)
	if err != nil {
		return err
	}
	return p.document(json.RawMessage(text))
}

// messages writes a list of messages as a JSON array.
func (p *printer) messages(list []proto.Message) error {
	documents := make([]json.RawMessage, len(list))
	for i, m := range list {
		text, err := asJSON.Marshal(m)
		if err != nil {
			return err
		}
		documents[i] = text
	}
	return p.document(documents)
}

// done writes the result of a command: document as JSON, or text.
func (p *printer) done(document any, text string) error {
	if p.json {
		return p.document(document)
	}
	_, err := fmt.Fprintln(p.out, text)
	return err
}

// plan shows the steps of an apply before they are done.
func (p *printer) plan(steps []step) {
	if p.json {
		return
	}
	rows := make([][]string, len(steps))
	for i, s := range steps {
		rows[i] = []string{s.Action, s.Name, strings.Join(s.Fields, ", "), s.Effect}
	}
	p.table([]string{"plan", "resource", "fields", "members"}, rows)
}

// applied says how an apply ended.
func (p *printer) applied(steps []step, err error) error {
	if err != nil {
		return err
	}
	document := make([]map[string]any, len(steps))
	for i, s := range steps {
		document[i] = map[string]any{"action": s.Action, "resource": s.Name, "fields": s.Fields}
	}
	return p.done(map[string]any{"steps": document}, p.dim.Render(fmt.Sprintf("%d done", len(steps))))
}

// nameOf is the resource name of a message that has one.
func nameOf(m proto.Message) string {
	return m.ProtoReflect().Get(m.ProtoReflect().Descriptor().Fields().ByName("name")).String()
}

// cell is a field of a message, or of a message in it ("status.lag"), as text for a table: enum values short, times to the
// second.
func cell(m proto.Message, field string) string {
	r := m.ProtoReflect()
	if outer, inner, nested := strings.Cut(field, "."); nested {
		return cell(r.Get(r.Descriptor().Fields().ByName(protoreflect.Name(outer))).Message().Interface(), inner)
	}
	f := r.Descriptor().Fields().ByName(protoreflect.Name(field))
	if f.HasPresence() && !r.Has(f) {
		if f.Message() != nil {
			return ""
		}
		return "–" // a number not known yet is not 0
	}
	switch value := r.Get(f).Interface().(type) {
	case protoreflect.EnumNumber:
		prefix := strings.TrimSuffix(string(f.Enum().Values().Get(0).Name()), "UNSPECIFIED")
		return strings.ToLower(strings.TrimPrefix(string(f.Enum().Values().ByNumber(value).Name()), prefix))
	case protoreflect.Message:
		if t, isTime := value.Interface().(interface{ AsTime() time.Time }); isTime {
			return t.AsTime().Format("2006-01-02 15:04:05")
		}
		if d, isDuration := value.Interface().(interface{ AsDuration() time.Duration }); isDuration {
			return d.AsDuration().Round(time.Second).String()
		}
		return fmt.Sprint(value.Interface())
	case int64:
		return thousands(value)
	default:
		return fmt.Sprint(value)
	}
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}
