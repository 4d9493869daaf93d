package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
)

// tikTokError is a code other than 0, told in the envelope with HTTP status 200.
type tikTokError struct {
	code    int
	message string
	data    any
}

func (e *tikTokError) Error() string { return e.message }

func refusal(code int, format string, args ...any) error {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	return &tikTokError{code: code, message: format}
}

// empty is the data of an answer that has none.
type empty struct{}

// envelope wraps data or the refusal err. The request id is the header X-TT-LOGID as well.
func (t *TikTok) envelope(data any, err error) reply {
	t.server.mu.Lock()
	t.requests++
	id := t.server.now().Format("20060102150405") + fmt.Sprintf("%014X", t.requests)
	t.server.mu.Unlock()
	body := struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Request string `json:"request_id"`
		Data    any    `json:"data,omitempty"`
	}{0, "OK", id, data}
	if refused := (*tikTokError)(nil); errors.As(err, &refused) {
		body.Code, body.Message, body.Data = refused.code, refused.message, refused.data
		if body.Data == nil {
			body.Data = empty{}
		}
	}
	rep := jsonReply(http.StatusOK, body)
	rep.header["X-Tt-Logid"] = []string{id}
	rep.code = body.Code
	return rep
}

// refuse answers a fault with the code it stands for.
func (t *TikTok) refuse(req *request) reply {
	f := req.fault
	code, message := cmp.Or(f.Code, 40002), cmp.Or(f.Message, "Refused on demand")
	switch f.Kind {
	default: // FaultCode, FaultErrorDataString
	case FaultLocalizedMessage:
		message = cmp.Or(f.Message, "请求参数错误")
	case FaultRateLimited:
		code, message = cmp.Or(f.Code, 40100), cmp.Or(f.Message, "Requests made too frequently. The app is temporarily restricted.")
	case FaultTokenRevoked:
		code, message = 40105, "Access token is incorrect or has been revoked."
	case FaultAudienceDeleted:
		code, message = 40007, "The audience does not exist."
	case FaultAudienceLocked:
		code, message = 40002, "The audience is not editable."
	}
	return t.envelope(nil, refusal(code, message))
}
