package server

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/kohorta/kohorta/internal/audience"
)

// merged is current with the masked fields taken from changed: all that are set when the mask is empty, all there are for
// "*". Fields named in fixed are the service's own: a mask may not name them. (Without one, nobody reads them from the
// merged message.)
func merged[Message proto.Message](current, changed Message, mask *fieldmaskpb.FieldMask, fixed map[string]bool) (Message, error) {
	out := proto.CloneOf(current)
	target, source := out.ProtoReflect(), changed.ProtoReflect()
	paths := mask.GetPaths()
	if len(paths) == 0 || len(paths) == 1 && paths[0] == "*" {
		for i := range source.Descriptor().Fields().Len() {
			field := source.Descriptor().Fields().Get(i)
			if len(paths) == 1 || source.Has(field) {
				take(target, source, field)
			}
		}
		return out, nil
	}
	var v audience.Violations
	for _, path := range paths {
		if fixed[path] {
			v.Add("update_mask", "names %s, which only the service sets", path)
		} else if !takePath(target, source, strings.Split(path, ".")) {
			v.Add("update_mask", "names %.80q, which is no field of %s", path, source.Descriptor().Name())
		}
	}
	return out, v.Err()
}

// takePath takes one field over, through the messages the path leads into; it reports whether there is such a field.
func takePath(target, source protoreflect.Message, path []string) bool {
	field := source.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case field == nil:
		return false
	case len(path) == 1:
		take(target, source, field)
		return true
	case field.Kind() != protoreflect.MessageKind || field.IsList() || field.IsMap():
		return false
	}
	return takePath(target.Mutable(field).Message(), source.Get(field).Message(), path[1:])
}

func take(target, source protoreflect.Message, field protoreflect.FieldDescriptor) {
	if source.Has(field) {
		target.Set(field, source.Get(field))
	} else {
		target.Clear(field)
	}
}
