package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// resource is one entry of an apply file: an id and the fields it names.
type resource struct {
	id      string
	message proto.Message
	named   []string // fields the file names, be it with an empty value
}

// changes are the fields the file names, or that were set since, with another value than existing has. A message counts as
// a whole.
func (r resource) changes(existing proto.Message) []string {
	if existing == nil {
		return nil
	}
	var fields []string
	wanted, is := r.message.ProtoReflect(), existing.ProtoReflect()
	descriptors := wanted.Descriptor().Fields()
	for i := range descriptors.Len() {
		field := descriptors.Get(i)
		named := wanted.Has(field) || slices.Contains(r.named, string(field.Name())) || slices.Contains(r.named, field.JSONName())
		if named && (wanted.Has(field) != is.Has(field) || !wanted.Get(field).Equal(is.Get(field))) {
			fields = append(fields, string(field.Name()))
		}
	}
	return fields
}

// readResources reads apply files: mappings of a plural to a list of entries, in one YAML document or several. Of entries
// with the same id in several files, the last stands. A kind that no file has a list of, be it an empty one, is missing.
func readResources(read func(name string) ([]byte, error), files []string) (map[string][]resource, error) {
	wanted := map[string][]resource{}
	for _, file := range files {
		text, err := read(file)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{} // names in this file
		for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
			var lists map[string][]map[string]any
			err := documents.Decode(&lists)
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = readLists(wanted, seen, lists)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, plainYAML(err))
			}
		}
	}
	return wanted, nil
}

// readLists adds the entries of one document to what is wanted.
func readLists(wanted map[string][]resource, seen map[string]bool, lists map[string][]map[string]any) error {
	for _, kind := range kinds {
		list := lists[kind.plural]
		if list != nil && wanted[kind.plural] == nil {
			wanted[kind.plural] = []resource{} // [] says that there is to be none; a name with nothing behind it says nothing
		}
		for i, entry := range list {
			r, err := readResource(kind, entry)
			if err != nil {
				return fmt.Errorf("%s[%d]: %w", kind.plural, i, err)
			}
			if seen[kind.name(r.id)] {
				return fmt.Errorf("%s[%d]: id: %s stands in this file twice; remove one", kind.plural, i, r.id)
			}
			seen[kind.name(r.id)] = true
			wanted[kind.plural] = append(slices.DeleteFunc(wanted[kind.plural], func(other resource) bool { return other.id == r.id }), r)
		}
		delete(lists, kind.plural)
	}
	for unknown := range lists {
		return fmt.Errorf("%s: no such list; there are models, segments, destinations, audiences and webhooks", unknown)
	}
	return nil
}

func readResource(k kind, entry map[string]any) (resource, error) {
	id, isText := entry["id"].(string)
	if !isText || id == "" {
		return resource{}, errors.New("id: missing; every entry needs one")
	}
	delete(entry, "id")
	m := k.empty()
	named := slices.Sorted(maps.Keys(entry))
	for _, name := range named {
		field := m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() || field.IsMap() {
			continue // protojson says so better
		}
		switch value := entry[name].(type) {
		case int, int64, uint64, float64, bool, time.Time:
			return resource{}, fmt.Errorf("%s: %s: %v is text here; put it in quotes", id, name, value)
		}
	}
	widenValues(m.ProtoReflect().Descriptor(), entry)
	document, err := json.Marshal(entry)
	if err != nil {
		return resource{}, fmt.Errorf("%s: %w", id, err)
	}
	if err := protojson.Unmarshal(document, m); err != nil {
		_, reason, _ := strings.Cut(err.Error(), "): ") // after "proto: (line 1:2): ", a place in a document nobody wrote
		return resource{}, fmt.Errorf("%s: %s", id, reason)
	}
	return resource{id: id, message: m, named: named}, nil
}

// widenValues lets files say "meta" for PLATFORM_META, and "48h" for "172800s".
func widenValues(m protoreflect.MessageDescriptor, entry map[string]any) {
	for name, value := range entry {
		field := m.Fields().ByName(protoreflect.Name(name))
		if field == nil {
			continue // protojson says so better
		}
		switch {
		case field.Enum() != nil:
			entry[name] = widen(field.Enum(), value)
		case field.Message() != nil && field.Message().FullName() == "google.protobuf.Duration":
			entry[name] = inSeconds(value)
		case field.Message() != nil && !field.IsMap():
			for _, nested := range asEntries(value) {
				widenValues(field.Message(), nested)
			}
		}
	}
}

// inSeconds lets files say "48h" for "172800s".
func inSeconds(value any) any {
	text, isText := value.(string)
	if length, err := time.ParseDuration(text); isText && err == nil {
		return strconv.FormatFloat(length.Seconds(), 'f', -1, 64) + "s"
	}
	return value // protojson says what is wrong with it
}

func widen(enum protoreflect.EnumDescriptor, value any) any {
	if list, isList := value.([]any); isList {
		for i := range list {
			list[i] = widen(enum, list[i])
		}
		return list
	}
	text, isText := value.(string)
	if !isText {
		return value
	}
	prefix := strings.TrimSuffix(string(enum.Values().Get(0).Name()), "UNSPECIFIED")
	if long := prefix + strings.ToUpper(text); enum.Values().ByName(protoreflect.Name(long)) != nil {
		return long
	}
	return value
}

func asEntries(value any) []map[string]any {
	switch v := value.(type) {
	case map[string]any:
		return []map[string]any{v}
	case []any:
		var entries []map[string]any
		for _, item := range v {
			entries = append(entries, asEntries(item)...)
		}
		return entries
	}
	return nil
}
