package meta

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// lookalikeSpec is the spec of a lookalike as it is read back (6). The API sends it as an object or as its JSON text.
type lookalikeSpec struct {
	Ratio    float64 `json:"ratio"`
	Starting float64 `json:"starting_ratio"`
	Country  string  `json:"country"`
	Location struct {
		Geo struct {
			Countries []string `json:"countries"`
		} `json:"geo_locations"`
	} `json:"location_spec"`
	Origin []struct {
		ID string `json:"id"`
	} `json:"origin"`
}

// UnmarshalJSON reads either form. One that it cannot read is empty, and equals no other: lists hold audiences of others.
func (s *lookalikeSpec) UnmarshalJSON(data []byte) error {
	type plain lookalikeSpec
	var text string
	if json.Unmarshal(data, &text) == nil {
		data = []byte(text)
	}
	if json.Unmarshal(data, (*plain)(s)) != nil {
		*s = lookalikeSpec{}
	}
	return nil
}

// countries are those it looks for people in, sorted.
func (s lookalikeSpec) countries() []string {
	if s.Country != "" {
		return []string{s.Country}
	}
	return slices.Sorted(slices.Values(s.Location.Geo.Countries))
}

// grows reports whether it is the lookalike of spec: of the same seed, places and ratios. Meta makes no two of these.
func (s lookalikeSpec) grows(spec destination.LookalikeSpec) bool {
	near := func(a, b float64) bool { return math.Abs(a-b) < 0.001 }
	return len(s.Origin) == 1 && s.Origin[0].ID == spec.Seed && near(s.Ratio, spec.Ratio) && near(s.Starting, spec.StartingRatio) &&
		slices.Equal(s.countries(), slices.Sorted(slices.Values(spec.Places)))
}

// EnsureLookalike finds the lookalike by its seed, places and ratios, or creates it.
func (c *Client) EnsureLookalike(ctx context.Context, spec destination.LookalikeSpec) (string, error) {
	if err := checkLookalike(spec); err != nil {
		return "", err
	}
	c.creating.Lock()
	defer c.creating.Unlock()
	same := func(a listed) bool { return a.Subtype == "LOOKALIKE" && a.Lookalike.grows(spec) }
	id, err := c.find(ctx, same)
	if err != nil || id != "" {
		return id, err
	}
	if err := c.checkSeed(ctx, spec.Seed); err != nil {
		return "", err
	}
	text, err := json.Marshal(specOf(spec))
	if err != nil {
		return "", err
	}
	id, err = c.create(ctx, map[string]any{"name": cmp.Or(spec.Name, string(spec.Key)), "description": mark(spec.Key),
		"subtype": "LOOKALIKE", "origin_audience_id": spec.Seed, "lookalike_spec": string(text)})
	var e *destination.Error
	if errors.As(err, &e) && e.Code == "2654/1713007" { // the same is there: made meanwhile, or listed late
		if found, listErr := c.find(ctx, same); listErr == nil && found != "" {
			return found, nil
		}
	}
	if errors.As(err, &e) && strings.HasPrefix(e.Code, "2654") { // about this lookalike, not about the account
		e.Scope = destination.OfAudience
	}
	return id, err
}

// specOf is the field lookalike_spec (6). With custom_ratio one form serves plain and value-based seeds.
func specOf(spec destination.LookalikeSpec) map[string]any {
	fields := map[string]any{"type": "custom_ratio", "ratio": spec.Ratio}
	if spec.StartingRatio > 0 {
		fields["starting_ratio"] = spec.StartingRatio
	}
	if len(spec.Places) == 1 {
		fields["country"] = spec.Places[0]
	} else {
		fields["location_spec"] = map[string]any{"geo_locations": map[string]any{"countries": spec.Places}}
	}
	return fields
}

// checkSeed reads the seed first: of a flagged or tiny one the API makes no lookalike, with an error that does not always
// say so (6).
func (c *Client) checkSeed(ctx context.Context, id string) error {
	const people = 100 // of one country, at least
	a, err := c.read(ctx, id)
	if err != nil {
		return err
	}
	refuse := func(remedy, words string) error {
		return &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfAudience, Remedy: remedy, Err: errors.New(words)}
	}
	switch high := sizeOf(a.High); {
	case a.Operation.Code == flagged:
		return refuse(unflag, "Meta makes no lookalike of a flagged audience")
	case a.Subtype == "LOOKALIKE":
		return refuse("start from an audience of people known", "a lookalike cannot be the seed of another")
	case high >= 0 && high < people:
		return refuse("add members first; a thousand and more are advised", "the seed needs 100 people of one country")
	}
	return nil
}

// Lookalike reads a lookalike back.
func (c *Client) Lookalike(ctx context.Context, id string) (destination.Lookalike, error) {
	a, err := c.read(ctx, id)
	if err != nil {
		return destination.Lookalike{}, err
	}
	if a.Subtype != "LOOKALIKE" || len(a.Lookalike.Origin) != 1 {
		return destination.Lookalike{}, &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfAudience, Err: errors.New("the audience is no lookalike")}
	}
	return destination.Lookalike{Status: statusOf(a), Spec: destination.LookalikeSpec{Name: a.Name, Seed: a.Lookalike.Origin[0].ID,
		Places: a.Lookalike.countries(), Ratio: a.Lookalike.Ratio, StartingRatio: a.Lookalike.Starting}}, nil
}

// DeleteLookalike deletes for good.
func (c *Client) DeleteLookalike(ctx context.Context, id string) error {
	return c.DeleteAudience(ctx, id)
}

var countryShape = regexp.MustCompile(`^[A-Z]{2}$`)

// checkLookalike says all that is wrong with a spec.
func checkLookalike(spec destination.LookalikeSpec) error {
	var v audience.Violations
	if !accountShape.MatchString(spec.Seed) {
		v.Add("seed", "is not the id of an audience at Meta; sync the seed first")
	}
	if len(spec.Places) == 0 || slices.ContainsFunc(spec.Places, func(p string) bool { return !countryShape.MatchString(p) }) {
		v.Add("places", "must be countries, such as DE")
	}
	if !hundredths(spec.Ratio) {
		v.Add("ratio", "is %g; use 0.01 to 0.20, in hundredths", spec.Ratio)
	}
	if spec.StartingRatio != 0 && (!hundredths(spec.StartingRatio) || spec.StartingRatio >= spec.Ratio) {
		v.Add("starting_ratio", "is %g; it must be below ratio, in hundredths", spec.StartingRatio)
	}
	for _, foreign := range []struct {
		field string
		set   bool
	}{{"size", spec.Size != ""}, {"mobile_os", spec.MobileOS != ""}, {"placements", len(spec.Placements) > 0}, {"include_seed", spec.IncludeSeed}} {
		if foreign.set {
			v.Add(foreign.field, "is not a setting of Meta's; its lookalikes have a ratio")
		}
	}
	if err := v.Err(); err != nil {
		return fmt.Errorf("lookalike: %w", err)
	}
	return nil
}

// hundredths reports whether a ratio is one of 0.01, 0.02 … 0.20.
func hundredths(r float64) bool {
	n := math.Round(r * 100)
	return n >= 1 && n <= 20 && math.Abs(r*100-n) < 1e-6
}
