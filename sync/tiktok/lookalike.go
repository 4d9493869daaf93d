package tiktok

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// lookalikeSpec is lookalike_spec (4). All six keys are required: include_source has to stand there when it is false, too.
type lookalikeSpec struct {
	Source    string   `json:"source_audience_id"`
	Include   bool     `json:"include_source"`
	OS        string   `json:"mobile_os"`
	Placement []string `json:"placements"`
	Locations []string `json:"location_ids"`
	Size      string   `json:"audience_size"`
}

// EnsureLookalike finds the lookalike by its name, or creates it.
func (c *Client) EnsureLookalike(ctx context.Context, spec destination.LookalikeSpec) (string, error) {
	wire := lookalikeSpec{Source: spec.Seed, Include: spec.IncludeSeed, OS: spec.MobileOS, Placement: spec.Placements,
		Locations: spec.Places, Size: spec.Size}
	if wire.OS == "" {
		wire.OS = "ALL"
	}
	if len(wire.Placement) == 0 {
		wire.Placement = []string{"TikTok"}
	}
	if err := checkLookalike(spec, wire); err != nil {
		return "", err
	}
	c.creating.Lock()
	defer c.creating.Unlock()
	name := title(destination.AudienceSpec{Key: spec.Key, Name: spec.Name})
	id, err := c.find(ctx, name, typeLookalike)
	if err != nil || id != "" {
		return id, err
	}
	id, err = c.create(ctx, "dmp/custom_audience/lookalike/create/",
		map[string]any{"advertiser_id": c.account, "custom_audience_name": name, "lookalike_spec": wire})
	return id, c.tellApart(ctx, spec.Seed, err, "the seed itself is well; check the locations, and that it is no lookalike")
}

// Lookalike reads a lookalike back.
func (c *Client) Lookalike(ctx context.Context, id string) (destination.Lookalike, error) {
	d, err := c.read(ctx, id)
	if err != nil {
		return destination.Lookalike{}, err
	}
	if d.Lookalike == nil {
		return destination.Lookalike{}, &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfAudience, Err: errors.New("the audience is no lookalike")}
	}
	l := d.Lookalike
	return destination.Lookalike{Status: statusOf(d, c.now()), Spec: destination.LookalikeSpec{Name: d.Name, Seed: l.Source, Places: l.Locations,
		Size: l.Size, MobileOS: l.OS, Placements: l.Placement, IncludeSeed: l.Include}}, nil
}

// DeleteLookalike deletes for good, by the call for all audiences that are no segments (4).
func (c *Client) DeleteLookalike(ctx context.Context, id string) error {
	return c.DeleteFileAudience(ctx, id)
}

// checkLookalike says all that is wrong with a spec; wire is what would be sent of it.
func checkLookalike(spec destination.LookalikeSpec, wire lookalikeSpec) error {
	var v audience.Violations
	if !idShape.MatchString(spec.Seed) {
		v.Add("seed", "is not the id of an audience at TikTok; sync the seed first")
	}
	if len(spec.Places) == 0 || slices.Contains(spec.Places, "") {
		v.Add("places", "must be location ids of TikTok's")
	}
	if sizes := []string{"NARROW", "BALANCED", "BROAD"}; !slices.Contains(sizes, wire.Size) {
		v.Add("size", "%.20q is not one of %s, %s, %s", wire.Size, sizes[0], sizes[1], sizes[2])
	}
	if systems := []string{"ALL", "ANDROID", "IOS"}; !slices.Contains(systems, wire.OS) {
		v.Add("mobile_os", "%.20q is not one of %s, %s, %s", wire.OS, systems[0], systems[1], systems[2])
	}
	known := []string{"TikTok", "TopBuzz & BuzzVideo", "Pangle"}
	if slices.ContainsFunc(wire.Placement, func(p string) bool { return !slices.Contains(known, p) }) {
		v.Add("placements", "must be of %s, %s, %s", known[0], known[1], known[2])
	}
	if spec.Ratio != 0 {
		v.Add("ratio", "is not a setting of TikTok's; its lookalikes have a size")
	}
	if spec.StartingRatio != 0 {
		v.Add("starting_ratio", "is not a setting of TikTok's; its lookalikes have a size")
	}
	if err := v.Err(); err != nil {
		return fmt.Errorf("lookalike: %w", err)
	}
	return nil
}
