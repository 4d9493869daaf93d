package server

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// actorKey is the metadata in which a caller names itself. It is not verified.
const actorKey = "x-kohorta-actor"

// maxNameBytes bounds what the audit keeps of an actor's name and of a request id.
const maxNameBytes = 256

// keep records a successful call in the audit, unless it is a read or an ingest. If that fails it only logs: the call is done.
func (c *calls) keep(ctx context.Context, call string, request, response any) {
	service, method, _ := strings.Cut(strings.TrimPrefix(call, "/"), "/")
	if c.reads[call] || service == audiencev1.IngestService_ServiceDesc.ServiceName {
		return
	}
	asked, isMessage := request.(proto.Message)
	answered, isAlso := response.(proto.Message)
	if !isMessage || !isAlso {
		return
	}
	id, err := uuid.NewV7() // in order of time
	if err == nil {
		action := audience.Action{ID: id.String(), Time: time.Now().UTC(), Actor: actorOf(ctx, asked), Call: service[strings.LastIndex(service, ".")+1:] + "." + method}
		action.Resource, action.Run = subjectOf(asked, answered)
		action.RequestID = bounded(textIn(asked, "request_id"))
		err = c.audit.RecordAction(context.WithoutCancel(ctx), action)
	}
	if err != nil {
		c.log.ErrorContext(ctx, "call not written into the audit", "call", call, "error", err)
	}
}

// actorOf is the actor named in the request, else in the metadata.
func actorOf(ctx context.Context, request proto.Message) string {
	actor := textIn(request, "actor")
	if given := metadata.ValueFromIncomingContext(ctx, actorKey); actor == "" && len(given) > 0 {
		actor = given[0]
	}
	return bounded(actor)
}

func bounded(name string) string { return strings.ToValidUTF8(name[:min(len(name), maxNameBytes)], "") }

// subjectOf is what a call was done to, and the run it started. Users are never named: the field user_id is not read.
func subjectOf(request, response proto.Message) (resource string, run audience.RunID) {
	for _, field := range []protoreflect.Name{"name", "run", "into", "out_of", "release", "audiences"} {
		if text := textIn(request, field); text != "" {
			resource = strings.TrimPrefix(resource+", "+text, ", ")
		}
	}
	fields := response.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Message() == nil || field.IsList() || field.IsMap() || !response.ProtoReflect().Has(field) {
			continue
		}
		switch made := response.ProtoReflect().Get(field).Message().Interface().(type) {
		case *audiencev1.Run:
			run = audience.RunID(strings.TrimPrefix(made.GetName(), runsCollection+"/"))
			if resource == "" {
				resource = made.GetSubject()
			}
		default:
			if resource == "" {
				resource = textIn(made, "name")
			}
		}
	}
	return resource, run
}

// textIn is the text of a field, or its texts; "" when there is no such field.
func textIn(message proto.Message, name protoreflect.Name) string {
	field := message.ProtoReflect().Descriptor().Fields().ByName(name)
	if field == nil || field.Kind() != protoreflect.StringKind || field.IsMap() {
		return ""
	}
	value := message.ProtoReflect().Get(field)
	if !field.IsList() {
		return value.String()
	}
	texts := make([]string, value.List().Len())
	for i := range texts {
		texts[i] = value.List().Get(i).String()
	}
	return strings.Join(texts, ", ")
}
