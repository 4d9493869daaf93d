package server

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/kohorta/kohorta/internal/audience"
)

// kind creates, reads, changes and deletes one kind of resource: in the same way for all, but for these functions.
type kind[T any, Message resourceMessage] struct {
	collection string // "segments"
	field      string // of requests that carry one: "segment"; that of its id in requests that create one is "segment_id"
	store      Resources[T]
	writing    *sync.Mutex // held while references are checked and a change is written

	id    func(T) string
	meta  func(*T) *audience.Meta
	make  func(id string) T
	write func(T) Message
	// read sets what callers may set from a message; faults are an InvalidError of the message's fields.
	read func(into *T, message Message) error
	// check says what is wrong with a new (before == nil) or changed resource in view of the others.
	check func(ctx context.Context, after T, before *T) error
	// users are the names of what refers to a resource; they prevent its deletion.
	users func(ctx context.Context, resource T) ([]string, error)
	// fixed are the fields only the service sets.
	fixed map[string]bool
}

// resourceMessage is what all resources' messages have.
type resourceMessage interface {
	proto.Message
	GetName() string
	GetEtag() string
}

// maxAttempts bounds how often a change without an etag is tried on what others have written meanwhile.
const maxAttempts = 5

// asked is the resource that a request wants created, not yet checked against the others.
func (k *kind[T, Message]) asked(id string, message Message) (T, error) {
	var v audience.Violations
	v.Merge("", audience.ValidSlug(k.field+"_id", id))
	resource := k.make(id)
	if !message.ProtoReflect().IsValid() {
		v.Add(k.field, "is missing")
	} else if err := k.read(&resource, message); !v.Merge(k.field, err) {
		return resource, err
	}
	return resource, v.Err()
}

func (k *kind[T, Message]) create(ctx context.Context, id string, message Message) (Message, error) {
	var none Message
	resource, err := k.asked(id, message)
	if err != nil {
		return none, err
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	if err := k.check(ctx, resource, nil); err != nil {
		return none, audience.Within(k.field, err)
	}
	created, err := k.store.Create(ctx, resource)
	if err != nil {
		return none, err
	}
	return k.write(created), nil
}

// find reads the resource a request's field name names.
func (k *kind[T, Message]) find(ctx context.Context, field, name string) (T, error) {
	id, err := idOf(field, k.collection, name)
	if err != nil {
		var none T
		return none, err
	}
	return k.store.Get(ctx, id)
}

func (k *kind[T, Message]) get(ctx context.Context, name string) (Message, error) {
	resource, err := k.find(ctx, "name", name)
	if err != nil {
		var none Message
		return none, err
	}
	return k.write(resource), nil
}

// page reads the part of the list a request asks for, and the token of the next.
func (k *kind[T, Message]) page(ctx context.Context, size int32, token string) ([]T, string, error) {
	p, err := pageOf(size, token, k.collection)
	if err != nil {
		return nil, "", err
	}
	resources, err := k.store.List(ctx, p.after, p.size+1)
	if err != nil {
		return nil, "", err
	}
	resources, next := cut(p, resources, k.id)
	return resources, next, nil
}

func (k *kind[T, Message]) list(ctx context.Context, size int32, token string) ([]Message, string, error) {
	resources, next, err := k.page(ctx, size, token)
	if err != nil {
		return nil, "", err
	}
	messages := make([]Message, len(resources))
	for i, resource := range resources {
		messages[i] = k.write(resource)
	}
	return messages, next, nil
}

// update changes a resource. A caller who names an etag is refused when it is stale; without one, the change is made to
// whatever the resource has become.
func (k *kind[T, Message]) update(ctx context.Context, message Message, mask *fieldmaskpb.FieldMask) (Message, error) {
	var none Message
	if !message.ProtoReflect().IsValid() {
		return none, audience.Invalid(k.field, "is missing")
	}
	id, err := idOf(k.field+".name", k.collection, message.GetName())
	if err != nil {
		return none, err
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	for attempt := 1; ; attempt++ {
		changed, err := k.change(ctx, id, message, mask)
		if errors.Is(err, audience.ErrConflict) && message.GetEtag() == "" && attempt < maxAttempts {
			continue
		}
		if err != nil {
			return none, err
		}
		return k.write(changed), nil
	}
}

func (k *kind[T, Message]) change(ctx context.Context, id string, message Message, mask *fieldmaskpb.FieldMask) (T, error) {
	var none T
	before, err := k.store.Get(ctx, id)
	if err != nil {
		return none, err
	}
	next, err := merged(k.write(before), message, mask, k.fixed)
	if err != nil {
		return none, err
	}
	after := before
	err = k.read(&after, next)
	if err == nil {
		err = k.check(ctx, after, &before)
	}
	if err != nil {
		return none, audience.Within(k.field, err)
	}
	k.meta(&after).Etag = cmp.Or(message.GetEtag(), k.meta(&before).Etag)
	return k.store.Update(ctx, after)
}

func (k *kind[T, Message]) delete(ctx context.Context, name, etag string) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	resource, err := k.deletable(ctx, name)
	if err != nil {
		return err
	}
	return k.store.Delete(ctx, k.id(resource), etag)
}

// deletable reads a resource that nothing uses.
func (k *kind[T, Message]) deletable(ctx context.Context, name string) (T, error) {
	resource, err := k.find(ctx, "name", name)
	if err != nil {
		return resource, err
	}
	users, err := k.users(ctx, resource)
	if err != nil {
		return resource, err
	}
	if len(users) > 0 {
		return resource, &preconditionError{kind: "IN_USE", message: name + " is in use; change or delete first what uses it", in: users}
	}
	return resource, nil
}
