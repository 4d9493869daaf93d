package delivery

import (
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// stage is how far a user has come in a rebuild.
type stage string

const (
	waiting stage = "not sent yet"
	asked   stage = "sent, not confirmed"
	taken   stage = "taken"
	leaving stage = "left out"
)

// mark is what the ledger's reason says of a user in a rebuild.
type mark struct {
	stage
	kind
	refusals string // what the platform refused of him
}

const marked = "in a rebuild: "

func (m mark) String() string {
	text := marked + string(m.stage) + ": " + kindNames[m.kind]
	if m.refusals != "" {
		text += "; " + m.refusals
	}
	return text
}

func markOf(row audience.Delivery) (m mark, ok bool) {
	rest, ok := strings.CutPrefix(row.Reason, marked)
	if !ok {
		return mark{}, false
	}
	rest, m.refusals, _ = strings.Cut(rest, "; ")
	step, name, _ := strings.Cut(rest, ": ")
	m.stage, m.kind = stage(step), kind(slices.Index(kindNames[:], name))
	return m, m.kind >= 0
}
