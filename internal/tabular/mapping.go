package tabular

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kohorta/kohorta/internal/audience"
)

//go:embed presets/*.yaml
var presets embed.FS

// Mapping says how a row becomes an event. A field is the name of a column or, with a leading "=", a CEL expression over
// row (the columns by name, all text) and line (the row's line in the file), such as
//
//	=row["Invoice"].startsWith("C") ? "refund" : "purchase"
type Mapping struct {
	// User is the user id. Required.
	User string `yaml:"user"`
	// EventID identifies the event within the user. Required: it is what makes a second import of the file harmless.
	EventID string `yaml:"event_id"`
	// Type of the event. "" means purchase.
	Type string `yaml:"type"`
	// Time of the event. Required.
	Time string `yaml:"time"`
	// TimeLayout is how times are written, in Go's notation (2006-01-02 15:04:05), "unix" or "unix_ms". "" accepts
	// RFC 3339, "2006-01-02 15:04:05" and "2006-01-02".
	TimeLayout string `yaml:"time_layout"`
	// TimeZone holds where the times name none, e.g. Europe/London. "" means UTC.
	TimeZone string `yaml:"time_zone"`
	// Value in units of the currency. "" means that events have none.
	Value string `yaml:"value"`
	// Texts and Numbers are the event's properties, by name. An empty cell gives no property.
	Texts   map[string]string `yaml:"texts"`
	Numbers map[string]string `yaml:"numbers"`
	// Where keeps only the rows for which this CEL expression is true. "" keeps all.
	Where string `yaml:"where"`
	// Currency the values are in, for people; the service's must be the same.
	Currency string `yaml:"currency"`
}

// Preset is a built-in mapping, by name.
func Preset(name string) (Mapping, error) {
	text, err := presets.ReadFile("presets/" + name + ".yaml")
	if err != nil {
		return Mapping{}, audience.Invalid("preset", "%q is none of %s", name, strings.Join(Presets(), ", "))
	}
	return parse(text)
}

// Presets are the names of the built-in mappings.
func Presets() []string {
	entries, _ := presets.ReadDir("presets") // embedded: it is there, and sorted
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = strings.TrimSuffix(entry.Name(), ".yaml")
	}
	return names
}

// ReadMapping reads a mapping from a YAML file.
func ReadMapping(file string) (Mapping, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Mapping{}, fmt.Errorf("read mapping: %w", err)
	}
	m, err := parse(text)
	if err != nil {
		return Mapping{}, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

func parse(text []byte) (Mapping, error) {
	var m Mapping
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&m); err != nil && !errors.Is(err, io.EOF) {
		return Mapping{}, err
	}
	return m, nil
}

// Set changes one field of the mapping, by its name in YAML: "user", "texts.category".
func (m *Mapping) Set(field, value string) error {
	if name, ok := strings.CutPrefix(field, "texts."); ok {
		set(&m.Texts, name, value)
		return nil
	}
	if name, ok := strings.CutPrefix(field, "numbers."); ok {
		set(&m.Numbers, name, value)
		return nil
	}
	fields := map[string]*string{
		"user": &m.User, "event_id": &m.EventID, "type": &m.Type, "time": &m.Time, "time_layout": &m.TimeLayout,
		"time_zone": &m.TimeZone, "value": &m.Value, "where": &m.Where, "currency": &m.Currency,
	}
	target, known := fields[field]
	if !known {
		return audience.Invalid(field, "is no field of an event; use user, event_id, type, time, time_layout, time_zone, value, currency, where, texts.NAME or numbers.NAME")
	}
	*target = value
	return nil
}

func set(properties *map[string]string, name, value string) {
	if *properties == nil {
		*properties = map[string]string{}
	}
	(*properties)[name] = value
}
