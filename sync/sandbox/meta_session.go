package sandbox

import (
	"encoding/json"
	"hash/fnv"
	"strconv"
)

// session is the client's numbering of batches.
type session struct {
	ID       json.Number `json:"session_id"`
	Batch    int         `json:"batch_seq"`
	Last     bool        `json:"last_batch_flag"`
	Expected int         `json:"estimated_num_total"`
	id       int64
}

// usersSession is what a session of /users has brought so far.
type usersSession struct {
	received int
	closed   bool
}

// session is what a session of the account has brought so far.
func (account *metaAccount) session(id int64) *usersSession {
	s := account.sessions[id]
	if s == nil {
		s = &usersSession{}
		account.sessions[id] = s
	}
	return s
}

// readSession reads the field session; nil when it was left out.
func (c *metaCall) readSession() (*session, error) {
	text, sent := c.params["session"]
	if !sent {
		return nil, nil
	}
	var s session
	if err := decodeStrict(text, &s); err != nil {
		return nil, metaParameter("(#100) Invalid parameter session: "+err.Error(), "session")
	}
	id, err := strconv.ParseInt(s.ID.String(), 10, 64)
	switch {
	case err != nil || id <= 0:
		return nil, metaParameter("(#100) session_id must be a positive 64-bit integer", "session")
	case s.Batch < 1:
		return nil, metaParameter("(#100) batch_seq must start at 1", "session")
	}
	s.id = id
	return &s, nil
}

// defaultSession is the id of a call without session: the same for the same method and schema, on every audience.
func defaultSession(verb, schema string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(verb + schema))
	return strconv.FormatUint(h.Sum64()>>1, 10)
}
