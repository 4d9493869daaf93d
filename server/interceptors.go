package server

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// calls stands around every call: it bounds its time, survives its panics, turns its error into a status, and writes the
// access log and the audit.
type calls struct {
	log      *slog.Logger
	audit    Audit
	deadline time.Duration
	draining context.Context
	reads    map[string]bool // full names of methods without side effects
}

// serve is the interceptor of streams, and of unary calls as register makes them.
func (c *calls) serve(service any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	began := time.Now()
	ctx, cancel := c.bound(stream.Context(), call)
	defer cancel()
	err := rescue(func() error { return handler(service, &callStream{ServerStream: stream, ctx: ctx}) })
	answer := statusOf(ctx, err)
	c.report(ctx, call.FullMethod, time.Since(began), answer, err)
	return answer.Err()
}

// bound gives unary calls a deadline where the caller set none, and ends streams when the server stops.
func (c *calls) bound(ctx context.Context, call *grpc.StreamServerInfo) (context.Context, context.CancelFunc) {
	if call.IsClientStream || call.IsServerStream {
		ctx, cancel := context.WithCancelCause(ctx)
		unhook := context.AfterFunc(c.draining, func() { cancel(errStopping) })
		return ctx, func() { unhook(); cancel(nil) }
	}
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.deadline)
}

// rescue turns a panic into an error: one call must not take the service down.
func rescue(handle func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return handle()
}

// report writes one line: which call, how it ended, how long it took; never whom it was about. A read that succeeds is
// logged at Debug. The cause of a status is logged where the service is at fault; elsewhere it may repeat the caller's words.
func (c *calls) report(ctx context.Context, call string, took time.Duration, answer *status.Status, err error) {
	level := slog.LevelInfo
	var cause []slog.Attr
	switch code := answer.Code(); {
	case code == codes.OK && c.reads[call]:
		level = slog.LevelDebug
	case code == codes.Internal:
		level, cause = slog.LevelError, []slog.Attr{slog.String("request", requestID(answer)), slog.Any("error", err)}
	case code == codes.Unavailable:
		level, cause = slog.LevelWarn, []slog.Attr{slog.Any("error", err)}
	}
	if !c.log.Enabled(ctx, level) {
		return // before anything is built: a lookup is worth less than its line
	}
	facts := []slog.Attr{slog.String("call", call), slog.String("code", answer.Code().String()), slog.Duration("took", took)}
	c.log.LogAttrs(ctx, level, "call answered", append(facts, cause...)...)
}

// requestID is the id by which the caller of an INTERNAL status and the log can find each other.
func requestID(answer *status.Status) string {
	for _, detail := range answer.Details() {
		if info, ok := detail.(*errdetails.RequestInfo); ok {
			return info.GetRequestId()
		}
	}
	return ""
}

// callStream is a stream with a context of ours, whose requests are read by our codec.
type callStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *callStream) Context() context.Context { return s.ctx }

func (s *callStream) RecvMsg(message any) error {
	r := request{message: message}
	if err := s.ServerStream.RecvMsg(&r); err != nil {
		return err
	}
	return r.fault
}

// register adds a service, its unary calls as streams of one message: only so are their requests read through callStream.
// Within, grpc-go serves them the same way, so that this costs nothing.
func (c *calls) register(server *grpc.Server, desc *grpc.ServiceDesc, service any) {
	served := *desc
	served.Methods, served.Streams = nil, append([]grpc.StreamDesc(nil), desc.Streams...)
	for _, method := range desc.Methods {
		served.Streams = append(served.Streams, grpc.StreamDesc{StreamName: method.MethodName, Handler: c.unary(desc.ServiceName, method)})
	}
	for _, stream := range served.Streams {
		c.reads["/"+desc.ServiceName+"/"+stream.StreamName] = isRead(desc.ServiceName, stream.StreamName)
	}
	server.RegisterService(&served, service)
}

// unary is a method as a stream: reads one request, sends one answer.
func (c *calls) unary(service string, method grpc.MethodDesc) grpc.StreamHandler {
	call := &grpc.StreamServerInfo{FullMethod: "/" + service + "/" + method.MethodName}
	answer := func(service any, stream grpc.ServerStream) error {
		var request any
		message, err := method.Handler(service, stream.Context(), func(m any) error {
			request = m
			return stream.RecvMsg(m)
		}, nil)
		if err != nil {
			return err
		}
		c.keep(stream.Context(), call.FullMethod, request, message)
		return stream.SendMsg(message)
	}
	return func(service any, stream grpc.ServerStream) error { return c.serve(service, stream, call, answer) }
}

// isRead reports whether the contract says that a method has no side effects.
func isRead(service, method string) bool {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + method))
	if err != nil {
		return false
	}
	options, _ := found.Options().(*descriptorpb.MethodOptions)
	return options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}
