package server

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// readAhead is how many times the allowed size grpc-go reads of a request before it cuts the call off with an answer of its
// own. Up to there, the answer is ours: with a reason and a remedy.
const readAhead = 4

// codec reads requests on behalf of callStream. When a codec fails, grpc-go answers the caller itself, with a status that
// has no details; so this one keeps the fault and reports none.
type codec struct {
	encoding.CodecV2
	maxBytes int
}

func newCodec(maxBytes int) codec { return codec{encoding.GetCodecV2(proto.Name), maxBytes} }

// request is a message to be read, and why it could not be.
type request struct {
	message any
	fault   error
}

func (c codec) Unmarshal(data mem.BufferSlice, into any) error {
	r, ours := into.(*request)
	if !ours {
		return c.CodecV2.Unmarshal(data, into)
	}
	if size := data.Len(); size > c.maxBytes {
		r.fault = &tooLargeError{size: size, most: c.maxBytes}
	} else if err := c.CodecV2.Unmarshal(data, r.message); err != nil {
		r.fault = &unreadableError{err}
	}
	return nil
}

// tooLargeError is a request with too many bytes.
type tooLargeError struct{ size, most int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the request has %d bytes, at most %d are read: split it into batches of at most %d rows", e.size, e.most, maxBatchRows)
}

// unreadableError is a request that is no message of its call.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string {
	return fmt.Sprintf("the request is not a message of this call; texts must be UTF-8 (%v)", e.err)
}
func (e *unreadableError) Unwrap() error { return e.err }
