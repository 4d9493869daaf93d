package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/kohorta/kohorta/internal/audience"
)

// repeats answers a request that comes again with what it was answered first.
type repeats struct {
	answers Answers
	log     *slog.Logger

	mu    sync.Mutex
	under map[string]chan struct{} // by call and request id: closed when the request under way is answered
}

func newRepeats(answers Answers, log *slog.Logger) *repeats {
	return &repeats{answers: answers, log: log, under: map[string]chan struct{}{}}
}

// repeatable is a request that may carry an id.
type repeatable interface {
	proto.Message
	GetRequestId() string
}

// once does what a request asks, unless a request of the same id was answered within 24 hours: then that answer comes
// again. A repeat that arrives while the first is under way waits for it. Errors are not remembered. A crash between the
// work and the remembering leaves the work done and not remembered: the repeat then meets what the first has made.
func once[Answer any, Message interface {
	*Answer
	proto.Message
}](ctx context.Context, r *repeats, request repeatable, do func() (Message, error)) (Message, error) {
	id := request.GetRequestId()
	if id == "" {
		return onlyOK(do())
	}
	if parsed, err := uuid.Parse(id); err != nil || parsed.Version() != 4 || len(id) != len(uuid.Nil.String()) {
		return nil, audience.Invalid("request_id", "is not a UUID of version 4; make one for each request, or leave it out")
	}
	call := string(request.ProtoReflect().Descriptor().Name())
	release, err := r.enter(ctx, call+" "+id)
	if err != nil {
		return nil, err
	}
	defer release()

	mark, err := fingerprint(request)
	if err != nil {
		return nil, err
	}
	known, found, err := r.answers.Recall(ctx, call, id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for an earlier answer: %w", err)
	case found && !bytes.HasPrefix(known, mark):
		return nil, audience.Invalid("request_id", "was used for another request within 24 hours; make a new one for each request")
	case found:
		answer := Message(new(Answer))
		if err := proto.Unmarshal(known[len(mark):], answer); err != nil {
			return nil, fmt.Errorf("read the remembered answer: %w", err)
		}
		return answer, nil
	}
	answer, err := do()
	if err != nil {
		return nil, err
	}
	encoded, err := proto.MarshalOptions{}.MarshalAppend(mark, answer)
	if err == nil {
		err = r.answers.Remember(ctx, call, id, encoded)
	}
	if err != nil { // the work is done: its answer is worth more than the memory of it
		r.log.WarnContext(ctx, "answer not remembered", "call", call, "error", err)
	}
	return answer, nil
}

// onlyOK drops the answer that comes with an error.
func onlyOK[Message any](answer *Message, err error) (*Message, error) {
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// enter waits until no request of the key is under way, and takes its place until release.
func (r *repeats) enter(ctx context.Context, key string) (release func(), err error) {
	for {
		r.mu.Lock()
		before, busy := r.under[key]
		if !busy {
			mine := make(chan struct{})
			r.under[key] = mine
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.under, key)
				r.mu.Unlock()
				close(mine)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fingerprint tells requests apart; the random request id in it keeps it from telling anything about the rest.
func fingerprint(request proto.Message) ([]byte, error) {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return sum[:], nil
}
