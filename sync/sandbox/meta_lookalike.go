package sandbox

import (
	"encoding/json"
	"fmt"
	"math"
)

// lookalikeSeed is the fewest people of one country a seed needs.
const lookalikeSeed = 100

// lookalikeSpec is the field lookalike_spec.
type lookalikeSpec struct {
	Type               string          `json:"type,omitempty"` // similarity, reach or custom_ratio
	Ratio              float64         `json:"ratio,omitempty"`
	StartingRatio      float64         `json:"starting_ratio,omitempty"`
	Country            string          `json:"country,omitempty"`
	Location           json.RawMessage `json:"location_spec,omitempty"`
	InternationalSeeds bool            `json:"allow_international_seeds,omitempty"`
	FinancialService   bool            `json:"is_financial_service,omitempty"`
}

// readLookalike checks a lookalike's spec and seed.
func (m *Meta) readLookalike(c *metaCall, a *metaAudience) error {
	var spec lookalikeSpec
	if err := decodeStrict(c.params["lookalike_spec"], &spec); err != nil {
		return metaParameter("(#100) Invalid parameter lookalike_spec: "+err.Error(), "lookalike_spec")
	}
	a.origin = c.params["origin_audience_id"]
	seed := m.audiences[a.origin]
	if seed == nil || seed.account != c.account.id || seed.state == StateDeleted {
		return metaParameter("(#100) origin_audience_id names no audience of this ad account", "origin_audience_id")
	}
	switch spec.Type {
	case "similarity":
		spec.Ratio = 0.01
	case "reach":
		spec.Ratio = 0.05
	case "custom_ratio":
	default:
		return metaParameter(fmt.Sprintf("(#100) lookalike_spec.type %q is not one of similarity, reach, custom_ratio", spec.Type), "lookalike_spec")
	}
	switch {
	case !isRatio(spec.Ratio):
		return metaParameter("(#100) lookalike_spec.ratio must be 0.01 to 0.20 in steps of 0.01", "lookalike_spec")
	case spec.StartingRatio != 0 && !isRatio(spec.StartingRatio) || spec.StartingRatio >= spec.Ratio:
		return metaParameter("(#100) lookalike_spec.starting_ratio must be below ratio", "lookalike_spec")
	case (spec.Country == "") == (len(spec.Location) == 0):
		return metaParameter("(#100) lookalike_spec needs either country or location_spec", "lookalike_spec")
	case seed.valueBased && spec.Type != "custom_ratio":
		return metaParameter("(#100) lookalike_spec.type must be custom_ratio for a value-based seed", "lookalike_spec")
	case seed.state == StateFlagged:
		return &metaError{Code: 100, Subcode: 1713232, Message: "(#100) The seed audience is restricted"}
	case seed.lookalike != nil:
		return metaCreate(0, "A lookalike cannot be the seed of a lookalike")
	case len(seed.members.rows) < lookalikeSeed:
		return metaCreate(0, fmt.Sprintf("The seed audience needs at least %d people", lookalikeSeed))
	}
	for _, other := range m.live(a.account) {
		if other.origin == a.origin && other.lookalike.Country == spec.Country && other.lookalike.Ratio == spec.Ratio &&
			string(other.lookalike.Location) == string(spec.Location) {
			return metaCreate(1713007, "The same lookalike exists")
		}
	}
	a.lookalike = &spec
	return nil
}

// isRatio tells whether r is one of 0.01, 0.02 … 0.20.
func isRatio(r float64) bool {
	hundredths := r * 100
	return hundredths > 0.5 && hundredths < 20.5 && math.Abs(hundredths-math.Round(hundredths)) < 1e-9
}

func (a *metaAudience) readSpec() any {
	if a.lookalike == nil {
		return nil
	}
	return struct {
		lookalikeSpec
		Origin []map[string]string `json:"origin"`
	}{*a.lookalike, []map[string]string{{"id": a.origin, "type": "custom_audience"}}}
}

// lookalikesOf are the ids of the lookalikes grown from a seed.
func (m *Meta) lookalikesOf(seed *metaAudience) any {
	ids := []string{}
	for _, a := range m.live(seed.account) {
		if a.origin == seed.id {
			ids = append(ids, a.id)
		}
	}
	return ids
}
