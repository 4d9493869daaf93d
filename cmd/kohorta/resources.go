package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// resource is one entry of an apply file: an id and the fields it names.
type resource struct {
	id      string
	message proto.Message
}

// changes are the fields the file names with another value than existing has. A message counts as a whole.
func (r resource) changes(existing proto.Message) []string {
	if existing == nil {
		return nil
	}
	var fields []string
	r.message.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if !value.Equal(existing.ProtoReflect().Get(field)) {
			fields = append(fields, string(field.Name()))
		}
		return true
	})
	return fields
}

// readResources reads apply files: mappings of a plural to a list of entries. Of entries with the same id, the last stands.
func readResources(read func(name string) ([]byte, error), files []string) (map[string][]resource, error) {
	wanted := map[string][]resource{}
	for _, file := range files {
		text, err := read(file)
		if err != nil {
			return nil, err
		}
		var lists map[string][]map[string]any
		if err := yaml.Unmarshal(text, &lists); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, kind := range kinds {
			for i, entry := range lists[kind.plural] {
				r, err := readResource(kind, entry)
				if err != nil {
					return nil, fmt.Errorf("%s: %s[%d]: %w", file, kind.plural, i, err)
				}
				wanted[kind.plural] = append(slices.DeleteFunc(wanted[kind.plural], func(other resource) bool { return other.id == r.id }), r)
			}
			delete(lists, kind.plural)
		}
		for unknown := range lists {
			return nil, fmt.Errorf("%s: %s: no such list; there are models, segments, destinations and audiences", file, unknown)
		}
	}
	return wanted, nil
}

func readResource(k kind, entry map[string]any) (resource, error) {
	id, isText := entry["id"].(string)
	if !isText || id == "" {
		return resource{}, errors.New("id: missing; every entry needs one")
	}
	delete(entry, "id")
	m := k.empty()
	widenEnums(m.ProtoReflect().Descriptor(), entry)
	document, err := json.Marshal(entry)
	if err != nil {
		return resource{}, fmt.Errorf("%s: %w", id, err)
	}
	if err := protojson.Unmarshal(document, m); err != nil {
		_, reason, _ := strings.Cut(err.Error(), "): ") // after "proto: (line 1:2): ", a place in a document nobody wrote
		return resource{}, fmt.Errorf("%s: %s", id, reason)
	}
	return resource{id: id, message: m}, nil
}

// widenEnums lets files say "meta" for PLATFORM_META.
func widenEnums(m protoreflect.MessageDescriptor, entry map[string]any) {
	for name, value := range entry {
		field := m.Fields().ByName(protoreflect.Name(name))
		if field == nil {
			continue // protojson says so better
		}
		switch {
		case field.Enum() != nil:
			entry[name] = widen(field.Enum(), value)
		case field.Message() != nil && !field.IsMap():
			for _, nested := range asEntries(value) {
				widenEnums(field.Message(), nested)
			}
		}
	}
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
