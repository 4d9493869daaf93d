package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// kind is one kind of resource. All kinds have the same five calls with the same shapes, so the calls are made by name.
type kind struct {
	plural   string // of names and files: "segments"
	singular string // of fields and commands: "segment"
	noun     string // of messages and calls: "Segment"
	service  string
	article  string // "a" or "an"
	file     string // of examples/ that has some
}

var (
	models       = kind{"models", "model", "Model", audiencev1.ModelService_ServiceDesc.ServiceName, "a", "models.yaml"}
	segments     = kind{"segments", "segment", "Segment", audiencev1.SegmentService_ServiceDesc.ServiceName, "a", "segments.yaml"}
	destinations = kind{"destinations", "destination", "Destination", audiencev1.AudienceService_ServiceDesc.ServiceName, "a", "audiences.yaml"}
	audiences    = kind{"audiences", "audience", "Audience", audiencev1.AudienceService_ServiceDesc.ServiceName, "an", "audiences.yaml"}
	webhooks     = kind{"webhooks", "webhook", "Webhook", audiencev1.WebhookService_ServiceDesc.ServiceName, "a", "webhooks.yaml"}
)

// kinds in the order in which they refer to one another.
var kinds = []kind{models, segments, destinations, audiences, webhooks}

// listPage is how many resources a page of a list has.
const listPage = 1000

// get reads one resource.
func (k kind) get(ctx context.Context, conn grpc.ClientConnInterface, name string) (proto.Message, error) {
	response, err := k.call(ctx, conn, "Get"+k.noun, map[string]any{"name": name})
	if err != nil {
		return nil, err
	}
	return k.in(response), nil
}

// all reads every resource of the kind, by name.
func (k kind) all(ctx context.Context, conn grpc.ClientConnInterface) ([]proto.Message, error) {
	var all []proto.Message
	for token := ""; ; {
		response, err := k.call(ctx, conn, "List"+k.noun+"s", map[string]any{"page_size": int32(listPage), "page_token": token})
		if err != nil {
			return nil, err
		}
		fields := response.Descriptor().Fields()
		list := response.Get(fields.ByName(protoreflect.Name(k.plural))).List()
		for i := range list.Len() {
			all = append(all, list.Get(i).Message().Interface())
		}
		if token = response.Get(fields.ByName("next_page_token")).String(); token == "" {
			return all, nil
		}
	}
}

func (k kind) create(ctx context.Context, conn grpc.ClientConnInterface, r resource) error {
	_, err := k.call(ctx, conn, "Create"+k.noun, map[string]any{k.singular + "_id": r.id, k.singular: r.message.ProtoReflect()})
	return err
}

func (k kind) update(ctx context.Context, conn grpc.ClientConnInterface, r resource, fields []string) error {
	named := proto.Clone(r.message).ProtoReflect()
	named.Set(named.Descriptor().Fields().ByName("name"), protoreflect.ValueOf(k.plural+"/"+r.id))
	_, err := k.call(ctx, conn, "Update"+k.noun, map[string]any{
		k.singular: named, "update_mask": (&fieldmaskpb.FieldMask{Paths: fields}).ProtoReflect(),
	})
	return err
}

func (k kind) delete(ctx context.Context, conn grpc.ClientConnInterface, name string) error {
	_, err := k.call(ctx, conn, "Delete"+k.noun, map[string]any{"name": name})
	return err
}

// call makes a call of the kind's service with the fields of its request.
func (k kind) call(ctx context.Context, conn grpc.ClientConnInterface, name string, fields map[string]any) (protoreflect.Message, error) {
	request, response := newMessage(name+"Request"), newMessage(name+"Response")
	for field, value := range fields {
		request.Set(request.Descriptor().Fields().ByName(protoreflect.Name(field)), protoreflect.ValueOf(value))
	}
	return response, conn.Invoke(ctx, "/"+k.service+"/"+name, request.Interface(), response.Interface())
}

// in is the resource in a response.
func (k kind) in(response protoreflect.Message) proto.Message {
	return response.Get(response.Descriptor().Fields().ByName(protoreflect.Name(k.singular))).Message().Interface()
}

// empty is a resource without fields.
func (k kind) empty() proto.Message { return newMessage(k.noun).Interface() }

// newMessage is an empty message of the contract.
func newMessage(name string) protoreflect.Message {
	t, err := protoregistry.GlobalTypes.FindMessageByName(audiencev1.File_audience_v1_run_service_proto.Package().Append(protoreflect.Name(name)))
	if err != nil {
		panic(fmt.Sprintf("message %s: %v", name, err)) // kinds names what the contract has; tested
	}
	return t.New()
}
