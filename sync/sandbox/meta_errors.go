package sandbox

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

// metaError is Meta's error envelope.
type metaError struct {
	status    int           // HTTP; 0 means 400, which Meta answers for nearly everything
	wait      time.Duration // of a throttle, for the usage header
	Message   string        `json:"message"`
	Type      string        `json:"type"` // empty means OAuthException
	Code      int           `json:"code"`
	Subcode   int           `json:"error_subcode,omitempty"`
	Transient *bool         `json:"is_transient,omitempty"`
	Title     string        `json:"error_user_title,omitempty"`
	UserMsg   string        `json:"error_user_msg,omitempty"`
	Data      any           `json:"error_data,omitempty"`
	Trace     string        `json:"fbtrace_id"`
}

func (e *metaError) Error() string { return e.Message }

func (e *metaError) reply(trace string) reply {
	out := *e
	out.Type = cmp.Or(out.Type, "OAuthException")
	out.Trace = trace
	rep := jsonReply(cmp.Or(out.status, http.StatusBadRequest), map[string]any{"error": out})
	rep.code = out.Code
	return rep
}

type blame struct {
	Fields [][]string `json:"blame_field_specs"`
}

// metaParameter is code 100: a parameter is wrong.
func metaParameter(message, field string) *metaError {
	return &metaError{Code: 100, Message: message, Data: blame{[][]string{{field}}}}
}

// metaMissing is 100/33: no such object for this caller.
func metaMissing(id string) *metaError {
	return &metaError{Code: 100, Subcode: 33, Type: "GraphMethodException",
		Message: fmt.Sprintf("Unsupported request. Object with ID '%s' does not exist, cannot be loaded due to missing permissions, or does not support this operation", id)}
}

// metaSyntax is 2500: the path makes no sense.
func metaSyntax(message string) *metaError { return &metaError{Code: 2500, Message: message} }

// metaUpdate is code 2650: the audience cannot be changed so, or not now.
func metaUpdate(subcode int, message string) *metaError {
	return &metaError{Code: 2650, Subcode: subcode, Message: "(#2650) " + message,
		Title: "Failed to update the custom audience", UserMsg: message}
}

// metaCreate is code 2654: the audience cannot be created.
func metaCreate(subcode int, message string) *metaError {
	return &metaError{Code: 2654, Subcode: subcode, Message: "(#2654) " + message,
		Title: "Failed to create the custom audience", UserMsg: message}
}

// refuse answers a fault with the code it stands for.
func (m *Meta) refuse(req *request) reply {
	f := req.fault
	code := cmp.Or(f.Code, 100)
	e := &metaError{Code: code, Subcode: f.Subcode, Message: cmp.Or(f.Message, fmt.Sprintf("(#%d) Refused on demand", code))}
	switch f.Kind {
	default: // FaultCode
	case FaultLocalizedMessage:
		e.Message = cmp.Or(f.Message, fmt.Sprintf("(#%d) Nieprawidłowy parametr żądania", code))
		e.UserMsg = "Spróbuj ponownie później."
	case FaultErrorDataString:
		e.Data = string(jsonText(blame{[][]string{{"payload"}}}))
	case FaultRateLimited:
		e.Code, e.Subcode = cmp.Or(f.Code, 80003), cmp.Or(f.Subcode, 2446079)
		e.Message = cmp.Or(f.Message, fmt.Sprintf("(#%d) There have been too many calls to this ad-account. Wait a bit and try again.", e.Code))
		e.wait = time.Duration(f.Wait)
	case FaultTokenRevoked:
		e = revokedToken()
	case FaultAudienceDeleted:
		e = &metaError{Code: 1487366, Message: "The audience has been deleted"}
	case FaultAudienceLocked:
		e = metaUpdate(1870145, "A replace or another update of this audience is in progress")
	}
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	rep := e.reply(m.trace())
	version, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	rep.header["Facebook-Api-Version"] = []string{version}
	if e.wait > 0 {
		m.throttleHeader(req.URL.Path, minutes(e.wait), rep.header)
	}
	return rep
}

// minutes rounds up, as estimated_time_to_regain_access does.
func minutes(d time.Duration) int { return int(math.Ceil(d.Minutes())) }
