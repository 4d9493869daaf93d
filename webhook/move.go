package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kohorta/kohorta/internal/audience"
)

// maxRequestID leaves room for the name of the source before it.
const maxRequestID = 192

// moveBody is the body of a move.
type moveBody struct {
	user, reason, requestID string
	into, outOf, release    []string
	expires                 time.Time
}

// readMove reads a body strictly: a field that is not known, stands twice, or has another type is refused by name. What is
// wrong with the move itself is the segmenter's to say.
func readMove(body []byte) (moveBody, error) {
	var m moveBody
	const text, list = "text in quotes", `a list of segments such as ["champions"]`
	fields := map[string]struct {
		into  any
		words string
	}{
		"user": {&m.user, text}, "reason": {&m.reason, text}, "request_id": {&m.requestID, text},
		"into": {&m.into, list}, "out_of": {&m.outOf, list}, "release": {&m.release, list},
		"expires": {&m.expires, `a time such as "2026-12-31T00:00:00Z"`},
	}
	members, err := membersOf(body)
	if err != nil {
		return m, &problem{Title: "The body is not readable", Status: http.StatusBadRequest, Detail: err.Error()}
	}
	var v audience.Violations
	seen := map[string]bool{}
	for _, member := range members {
		field, known := fields[member.name]
		switch {
		case !known:
			v.Add(member.name, "is not known; the fields are %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		case seen[member.name]:
			v.Add(member.name, "stands there twice; write it once")
		case json.Unmarshal(member.value, field.into) != nil:
			v.Add(member.name, "is not %s", field.words)
		}
		seen[member.name] = true
	}
	if len(v) > 0 {
		return m, faulty(http.StatusBadRequest, "The body is not a move", v)
	}
	if len(m.requestID) > maxRequestID {
		return m, audience.Invalid("request_id", "has %d bytes; at most %d are allowed", len(m.requestID), maxRequestID)
	}
	return m, nil
}

// move is the noun. The source is the actor, and part of the request's id: two systems may count alike. A body without an
// id is a move by its signature.
func (m moveBody) move(source, signed string) audience.Move {
	id := m.requestID
	if id == "" {
		id = signed
	}
	return audience.Move{
		User: audience.UserID(m.user), Into: segmentIDs(m.into), OutOf: segmentIDs(m.outOf), Release: segmentIDs(m.release),
		Reason: m.reason, Actor: source, Expires: m.expires, RequestID: source + "/" + id,
	}
}

// segmentIDs takes ids, and names as gRPC has them.
func segmentIDs(names []string) []audience.SegmentID {
	var ids []audience.SegmentID
	for _, name := range names {
		ids = append(ids, audience.SegmentID(strings.TrimPrefix(name, "segments/")))
	}
	return ids
}

// member is a member of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

var errNoObject = errors.New(`the body is not one JSON object such as {"user": "u1", "into": ["champions"]}`)

// membersOf are the members of the one object a body is, in their order.
func membersOf(body []byte) ([]member, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not valid UTF-8; re-encode it")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if begin, err := decoder.Token(); err != nil || begin != json.Delim('{') {
		return nil, errNoObject
	}
	var members []member
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, errNoObject
		}
		m := member{name: name.(string)} // a member's name is text, or Token had failed
		if err := decoder.Decode(&m.value); err != nil {
			return nil, errNoObject
		}
		members = append(members, m)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, errNoObject
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errNoObject
	}
	return members, nil
}
