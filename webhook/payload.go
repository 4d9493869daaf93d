package webhook

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// change is one user's step, as a receiver is told of it: user id and names of segments, and nothing else of anybody.
type change struct {
	ID      string    `json:"id"` // the same whenever it is told
	User    string    `json:"user"`
	Entered []string  `json:"entered"`
	Left    []string  `json:"left"`
	Time    time.Time `json:"time"`    // to the millisecond, as the log has it: a change that is told again is the same
	Version string    `json:"version"` // rises with each step of a user; a number too large for some readers of JSON
	Cause   string    `json:"cause"`   // "event", "timer", "profile", "move", "runs", "start" or "erasure"
}

// payload is a request's body.
type payload struct {
	Webhook string            `json:"webhook"`
	Changes []json.RawMessage `json:"changes"`
}

// changeID tells changes apart, and does not tell whom they are of.
func changeID(user audience.UserID, version uint64) string {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, version), user...))
	return hex.EncodeToString(sum[:16])
}

// letter is what is to be told of a change, as it would be kept if nobody took it. wanted chooses the segments; not told is
// a change that is about no such segment.
func letterOf(c audience.WatchedChange, wanted map[audience.SegmentID]bool) (letter audience.DeadLetter, told bool) {
	chosen := func(ids []audience.SegmentID) []string {
		out := []string{}
		for _, id := range ids {
			if len(wanted) == 0 || wanted[id] {
				out = append(out, "segments/"+string(id))
			}
		}
		slices.Sort(out)
		return out
	}
	cause, _, _ := strings.Cut(c.Cause, "/")
	step := change{
		ID: changeID(c.User, c.Version), User: string(c.User), Entered: chosen(c.Entered), Left: chosen(c.Left),
		Time: c.Time.UTC().Truncate(time.Millisecond), Version: strconv.FormatUint(c.Version, 10), Cause: cause,
	}
	if len(step.Entered)+len(step.Left) == 0 {
		return audience.DeadLetter{}, false
	}
	text, err := json.Marshal(step)
	if err != nil {
		panic(err) // texts and a time of four digits' year always can be encoded
	}
	return audience.DeadLetter{ID: step.ID, User: c.User, Version: c.Version, Change: text}, true
}

// bodyOf is the body that tells of changes.
func bodyOf(webhook audience.WebhookID, letters []audience.DeadLetter) []byte {
	p := payload{Webhook: "webhooks/" + string(webhook), Changes: make([]json.RawMessage, len(letters))}
	for i, letter := range letters {
		p.Changes[i] = letter.Change
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // every change was encoded before
	}
	return body
}
