package sandbox

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	platformMeta   = "meta"
	platformTikTok = "tiktok"
)

// maxBodyBytes is above the largest file either platform takes.
const maxBodyBytes = 260 << 20

// request is one call as a platform sees it.
type request struct {
	*http.Request
	body  []byte
	fault *Fault // nil when nothing was ordered
	rows  int    // rows it carries, set by the platform for the log
}

// reply is one answer before it is written.
type reply struct {
	status int
	header http.Header
	body   []byte
	code   int // the platform's own code, 0 for success
}

// applyFirst lets the request take effect before a fault hides that it did.
func (r *request) applyFirst(p platform) {
	if r.fault.After {
		p.answer(r)
	}
}

// platform answers requests. Both methods lock the server themselves.
type platform interface {
	// answer validates the request, applies it, and says what the platform would say.
	answer(*request) reply
	// refuse says in the platform's words what a fault ordered, without looking at the request.
	refuse(*request) reply
}

// exchange reads a request, lets a fault have its way, writes the reply and keeps the log.
func (s *Server) exchange(name string, p platform) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
		if err != nil {
			http.Error(w, "request entity too large or cut off", http.StatusRequestEntityTooLarge)
			return
		}
		req := &request{Request: r, body: body, fault: s.takeFault(name, r)}
		var rep reply
		kind := FaultKind("")
		if req.fault != nil {
			kind = req.fault.Kind
		}
		switch {
		case kind == FaultResetBefore:
			s.record(name, req, reply{})
			reset(w)
			return
		case kind.replaces():
			req.applyFirst(p)
			rep = brokenReply(name, kind)
		case kind.refuses():
			req.applyFirst(p)
			rep = p.refuse(req)
		default:
			rep = p.answer(req)
		}
		s.record(name, req, rep)
		switch kind {
		case FaultResetAfter:
			reset(w)
		case FaultTruncatedJSON:
			rep.body = rep.body[:len(rep.body)/2]
			rep.write(w)
		case FaultCodeAsString:
			rep.body = quoteCode(rep.body)
			rep.write(w)
		case FaultSlow:
			rep.writeSlowly(w, r, time.Duration(req.fault.Wait))
		default:
			rep.write(w)
		}
	})
}

func (rep reply) write(w http.ResponseWriter) {
	for k, v := range rep.header {
		w.Header()[k] = v
	}
	w.WriteHeader(rep.status)
	_, _ = w.Write(rep.body) // the client may have gone
}

// writeSlowly sends half the body, waits, and sends the rest.
func (rep reply) writeSlowly(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	half := len(rep.body) / 2
	rest := rep.body[half:]
	rep.body = rep.body[:half]
	rep.write(w)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-time.After(wait):
		_, _ = w.Write(rest)
	case <-r.Context().Done():
	}
}

// reset drops the connection the way a crashed peer does.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// jsonReply is a reply whose body is v. Meta and TikTok do not escape HTML in JSON.
func jsonReply(status int, v any) reply {
	return reply{status: status, header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}}, body: jsonText(v)}
}

func textReply(status int, contentType, text string) reply {
	return reply{status: status, header: http.Header{"Content-Type": {contentType}}, body: []byte(text)}
}

// jsonText panics on what cannot be encoded: only values of this package are passed.
func jsonText(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
