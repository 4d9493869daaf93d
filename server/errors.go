package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// errorDomain is the domain of every ErrorInfo.
const errorDomain = "kohorta.dev"

// A status travels in HTTP/2 headers, of which many clients and proxies take few KB; so it names some faults of very many.
const (
	maxViolations   = 50
	maxMessageBytes = 2000
)

// defaultRetry is when to come back where nobody knows better.
const defaultRetry = time.Second

// errStopping ends streams when the server stops.
var errStopping = &audience.UnavailableError{What: "this server, which is stopping,", RetryAfter: defaultRetry}

// preconditionError is an ErrPrecondition that names each thing in the way.
type preconditionError struct {
	kind    string   // "IN_USE", "NOT_TRAINED" …
	message string   // what cannot be done and what to do first
	in      []string // resource names in the way
}

func (e *preconditionError) Error() string {
	if len(e.in) == 0 {
		return e.message
	}
	return e.message + ": " + strings.Join(e.in, ", ")
}
func (e *preconditionError) Unwrap() error { return audience.ErrPrecondition }

// statusOf is the status a caller gets for an error. Only here do kinds of error become codes. When ctx has ended, that is
// what the caller hears, whatever the rooms made of it.
func statusOf(ctx context.Context, err error) *status.Status {
	var (
		invalid      *audience.InvalidError
		resource     *audience.ResourceError
		precondition *preconditionError
		unavailable  *audience.UnavailableError
		unreadable   *unreadableError
		tooLarge     *tooLargeError
	)
	switch {
	case err == nil:
		return status.New(codes.OK, "")
	case errors.Is(context.Cause(ctx), errStopping):
		return failure(codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE, errStopping.Error(), retryAfter(errStopping.RetryAfter))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failure(codes.DeadlineExceeded, audiencev1.ErrorReason_ERROR_REASON_DEADLINE_EXCEEDED, "the deadline has passed; set a longer one")
	case ctx.Err() != nil:
		return failure(codes.Canceled, audiencev1.ErrorReason_ERROR_REASON_CANCELLED, "the caller gave up")
	case errors.As(err, &unreadable):
		return failure(codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_UNREADABLE_REQUEST, unreadable.Error())
	case errors.As(err, &tooLarge):
		return failure(codes.ResourceExhausted, audiencev1.ErrorReason_ERROR_REASON_MESSAGE_TOO_LARGE, tooLarge.Error(),
			&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "request", Description: tooLarge.Error()}}})
	case errors.As(err, &invalid):
		return failure(codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_INVALID_FIELD, err.Error(), badRequest(invalid))
	case errors.Is(err, audience.ErrInvalid):
		return failure(codes.InvalidArgument, audiencev1.ErrorReason_ERROR_REASON_INVALID_FIELD, err.Error())
	case errors.Is(err, audience.ErrNotFound):
		errors.As(err, &resource)
		return failure(codes.NotFound, audiencev1.ErrorReason_ERROR_REASON_NOT_FOUND, err.Error(), resourceInfo(resource))
	case errors.Is(err, audience.ErrExists):
		errors.As(err, &resource)
		return failure(codes.AlreadyExists, audiencev1.ErrorReason_ERROR_REASON_ALREADY_EXISTS, err.Error(), resourceInfo(resource))
	case errors.Is(err, audience.ErrConflict):
		return failure(codes.Aborted, audiencev1.ErrorReason_ERROR_REASON_CONFLICT, err.Error())
	case errors.Is(err, audience.ErrPrecondition):
		if !errors.As(err, &precondition) {
			precondition = &preconditionError{kind: "STATE", message: err.Error()}
		}
		return failure(codes.FailedPrecondition, audiencev1.ErrorReason_ERROR_REASON_PRECONDITION, err.Error(), precondition.detail())
	case errors.Is(err, audience.ErrExhausted):
		return failure(codes.ResourceExhausted, audiencev1.ErrorReason_ERROR_REASON_EXHAUSTED, err.Error(),
			&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "service", Description: err.Error()}}},
			retryAfter(defaultRetry))
	case errors.As(err, &unavailable):
		return failure(codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE, unavailable.What+" is unavailable", retryAfter(unavailable.RetryAfter))
	case errors.Is(err, audience.ErrUnavailable):
		return failure(codes.Unavailable, audiencev1.ErrorReason_ERROR_REASON_UNAVAILABLE, "a store is unavailable", retryAfter(defaultRetry))
	}
	return failure(codes.Internal, audiencev1.ErrorReason_ERROR_REASON_INTERNAL, "a fault of the service; its log has the cause",
		&errdetails.RequestInfo{RequestId: uuid.NewString()})
}

// failure is a status with its reason and details.
func failure(code codes.Code, reason audiencev1.ErrorReason, message string, details ...protoadapt.MessageV1) *status.Status {
	details = append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason.String(), Domain: errorDomain}}, details...)
	if len(message) > maxMessageBytes {
		message = message[:maxMessageBytes] + " …"
	}
	plain := status.New(code, strings.ToValidUTF8(message, "\uFFFD"))
	detailed, err := plain.WithDetails(details...)
	if err != nil { // only a detail that cannot be encoded; the code still tells
		return plain
	}
	return detailed
}

func badRequest(e *audience.InvalidError) *errdetails.BadRequest {
	detail := &errdetails.BadRequest{}
	add := func(v audience.Violation) {
		detail.FieldViolations = append(detail.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: strings.ToValidUTF8(v.Field, "\uFFFD"), Description: strings.ToValidUTF8(v.Reason, "\uFFFD"),
		})
	}
	for i, v := range e.Violations {
		if i == maxViolations {
			add(audience.Violation{Field: v.Field, Reason: fmt.Sprintf("and %d more fields are at fault", len(e.Violations)-i)})
			break
		}
		add(v)
	}
	return detail
}

func resourceInfo(e *audience.ResourceError) *errdetails.ResourceInfo {
	if e == nil {
		return &errdetails.ResourceInfo{}
	}
	collection, _, _ := strings.Cut(e.Name, "/")
	return &errdetails.ResourceInfo{ResourceType: collection, ResourceName: e.Name, Description: e.Kind.Error()}
}

func (e *preconditionError) detail() *errdetails.PreconditionFailure {
	detail := &errdetails.PreconditionFailure{}
	for _, name := range e.in {
		detail.Violations = append(detail.Violations, &errdetails.PreconditionFailure_Violation{Type: e.kind, Subject: name, Description: e.message})
	}
	if len(e.in) == 0 {
		detail.Violations = []*errdetails.PreconditionFailure_Violation{{Type: e.kind, Description: e.message}}
	}
	return detail
}

func retryAfter(wait time.Duration) *errdetails.RetryInfo {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}
}
