package sandbox

import "slices"

// tikTokSeed is the fewest users of a lookalike's seed.
const tikTokSeed = 100

// tikTokLookalike is lookalike_spec; all six keys are required, include_source also when false.
type tikTokLookalike struct {
	Source    string   `json:"source_audience_id"`
	Include   *bool    `json:"include_source"`
	OS        string   `json:"mobile_os"`
	Placement []string `json:"placements"`
	Locations []string `json:"location_ids"`
	Size      string   `json:"audience_size"`
}

type lookalikeBody struct {
	Advertiser string           `json:"advertiser_id"`
	Name       string           `json:"custom_audience_name"`
	SubType    string           `json:"audience_sub_type"`
	Spec       *tikTokLookalike `json:"lookalike_spec"`
}

// readLookalikeCreate is POST /dmp/custom_audience/lookalike/create/.
func readLookalikeCreate(c *tikTokCall) (tikTokAct, error) {
	var b lookalikeBody
	if err := c.decodeBody(&b); err != nil {
		return nil, err
	}
	spec := b.Spec
	if spec == nil {
		spec = &tikTokLookalike{}
	}
	if err := required(requiredField{"advertiser_id", b.Advertiser != ""}, requiredField{"custom_audience_name", b.Name != ""},
		requiredField{"lookalike_spec", b.Spec != nil},
		requiredField{"lookalike_spec.source_audience_id", spec.Source != ""}, requiredField{"lookalike_spec.include_source", spec.Include != nil},
		requiredField{"lookalike_spec.mobile_os", spec.OS != ""}, requiredField{"lookalike_spec.placements", len(spec.Placement) > 0},
		requiredField{"lookalike_spec.location_ids", len(spec.Locations) > 0}, requiredField{"lookalike_spec.audience_size", spec.Size != ""}); err != nil {
		return nil, err
	}
	known := func(place string) bool {
		return slices.Contains([]string{"TikTok", "TopBuzz & BuzzVideo", "Pangle"}, place)
	}
	switch {
	case len([]rune(b.Name)) > 128:
		return nil, refusal(40002, "custom_audience_name: Length must be 1 to 128.")
	case !slices.Contains([]string{"ALL", "ANDROID", "IOS"}, spec.OS):
		return nil, refusal(40002, "mobile_os: Must be one of ALL, ANDROID, IOS.")
	case !slices.Contains([]string{"NARROW", "BALANCED", "BROAD"}, spec.Size):
		return nil, refusal(40002, "audience_size: Must be one of NARROW, BALANCED, BROAD.")
	case slices.ContainsFunc(spec.Placement, func(place string) bool { return !known(place) }):
		return nil, refusal(40002, "placements: Must be of TikTok, TopBuzz & BuzzVideo, Pangle.")
	}
	return func(t *TikTok) (any, error) {
		if err := t.own(c, b.Advertiser); err != nil {
			return nil, err
		}
		seed := t.find(spec.Source, b.Advertiser)
		if seed == nil {
			return nil, refusal(40002, "source_audience_id: The audience %s does not exist.", spec.Source)
		}
		seed.settle(c.now)
		switch {
		case seed.kind == typeLookalike:
			return nil, refusal(40002, "source_audience_id: A lookalike cannot be the seed.")
		case len(seed.members) < tikTokSeed:
			return nil, refusal(40002, "source_audience_id: The seed needs at least %d users.", tikTokSeed)
		case !t.valid(seed, c.now):
			return nil, refusal(40002, "source_audience_id: The seed is not valid and cannot be operated on.")
		}
		a, err := t.newAudience(c, b.Advertiser, b.Name, typeLookalike)
		if err != nil {
			return nil, err
		}
		a.lookalike, a.subType = spec, b.SubType
		a.ready = c.now.Add(c.cfg.ProcessingFor)
		return map[string]string{"custom_audience_id": a.id}, nil
	}, nil
}
