package sandbox

import (
	"fmt"
	"maps"
	"slices"
)

// tikTokMaxFiles is the most file_paths of one call.
const tikTokMaxFiles = 500

type fileCreateBody struct {
	Advertiser  string   `json:"advertiser_id"`
	Name        string   `json:"custom_audience_name"`
	Type        string   `json:"calculate_type"`
	Paths       []string `json:"file_paths"`
	SubType     string   `json:"audience_sub_type"`
	Retention   *int     `json:"retention_in_days"`
	Enhancement bool     `json:"audience_enhancement"`
}

// readFileCreate is POST /dmp/custom_audience/create/.
func readFileCreate(c *tikTokCall) (tikTokAct, error) {
	var b fileCreateBody
	if err := c.decodeBody(&b); err != nil {
		return nil, err
	}
	if err := required(requiredField{"advertiser_id", b.Advertiser != ""}, requiredField{"custom_audience_name", b.Name != ""},
		requiredField{"calculate_type", b.Type != ""}, requiredField{"file_paths", len(b.Paths) > 0}); err != nil {
		return nil, err
	}
	_, known := fileTypes[b.Type]
	switch {
	case !known || slices.Contains(uploadOnly, b.Type):
		return nil, refusal(40909, "calculate_type: %s is not supported.", b.Type)
	case len([]rune(b.Name)) > 128:
		return nil, refusal(40002, "custom_audience_name: Length must be 1 to 128.")
	case len(b.Paths) > tikTokMaxFiles:
		return nil, refusal(40011, "file_paths: At most %d.", tikTokMaxFiles)
	case !slices.Contains([]string{"", "NORMAL", "REACH_FREQUENCY"}, b.SubType):
		return nil, refusal(40002, "audience_sub_type: Must be one of NORMAL, REACH_FREQUENCY.")
	case b.Retention != nil && (*b.Retention < 1 || *b.Retention > 365):
		return nil, refusal(40002, "retention_in_days: Must be 1 to 365.")
	}
	return func(t *TikTok) (any, error) {
		if err := t.own(c, b.Advertiser); err != nil {
			return nil, err
		}
		members, mixed, err := t.takeFiles(c, b.Advertiser, b.Type, b.Paths)
		if err != nil {
			return nil, err
		}
		a, err := t.newAudience(c, b.Advertiser, b.Name, typeFile)
		if err != nil {
			return nil, err
		}
		a.calculateType, a.subType, a.enhancement = b.Type, b.SubType, b.Enhancement
		if b.Retention != nil {
			a.expires = c.now.AddDate(0, 0, *b.Retention)
		}
		t.process(c, a, members)
		if mixed {
			a.pendingError = "The calculate_type differs from that of a file."
		}
		return map[string]string{"custom_audience_id": a.id}, nil
	}, nil
}

// takeFiles reads files of the advertiser. mixed tells that one is of another type than kind.
func (t *TikTok) takeFiles(c *tikTokCall, advertiser, kind string, paths []string) (members memberSet, mixed bool, err error) {
	members = memberSet{}
	for _, path := range paths {
		f := t.files[path]
		switch {
		case f == nil || f.owner != advertiser:
			return nil, false, refusal(40905, "The file %s does not exist.", path)
		case c.now.After(f.expires):
			return nil, false, refusal(40910, "The file %s has expired.", path)
		}
		mixed = mixed || f.calculateType != kind
		maps.Copy(members, f.members)
	}
	return members, mixed, nil
}

// process lets the audience hold the members after the platform's processing, unless they are too few.
func (t *TikTok) process(c *tikTokCall, a *tikTokAudience, members memberSet) {
	a.pending, a.pendingError = members, ""
	a.ready = c.now.Add(c.cfg.ProcessingFor)
	if t.matched(len(members)) < tikTokMinMatched {
		a.pendingError = fmt.Sprintf("The audience size is below %d.", tikTokMinMatched)
	}
}

type fileUpdateBody struct {
	Advertiser  string   `json:"advertiser_id"`
	ID          string   `json:"custom_audience_id"`
	Name        string   `json:"custom_audience_name"`
	Paths       []string `json:"file_paths"`
	Action      string   `json:"action"`
	SubType     string   `json:"audience_sub_type"`
	Enhancement *bool    `json:"audience_enhancement"`
}

// readFileUpdate is POST /dmp/custom_audience/update/. Without an action it replaces.
func readFileUpdate(c *tikTokCall) (tikTokAct, error) {
	var b fileUpdateBody
	if err := c.decodeBody(&b); err != nil {
		return nil, err
	}
	if err := required(requiredField{"advertiser_id", b.Advertiser != ""}, requiredField{"custom_audience_id", b.ID != ""},
		requiredField{"custom_audience_name or file_paths", b.Name != "" || len(b.Paths) > 0 || b.SubType != ""}); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains([]string{"", "APPEND", "REMOVE", "REPLACE"}, b.Action):
		return nil, refusal(40002, "action: Must be one of APPEND, REMOVE, REPLACE.")
	case !slices.Contains([]string{"", "REACH_FREQUENCY"}, b.SubType):
		return nil, refusal(40002, "audience_sub_type: Can only be changed to REACH_FREQUENCY.")
	case len(b.Paths) > tikTokMaxFiles:
		return nil, refusal(40011, "file_paths: At most %d.", tikTokMaxFiles)
	}
	return func(t *TikTok) (any, error) {
		if err := t.own(c, b.Advertiser); err != nil {
			return nil, err
		}
		a := t.find(b.ID, b.Advertiser)
		if a == nil {
			return nil, refusal(40007, "The audience %s does not exist.", b.ID)
		}
		a.settle(c.now)
		if a.kind != typeFile || a.pending != nil || len(a.members) == 0 {
			return nil, refusal(40002, "The audience %s is not editable.", b.ID)
		}
		if b.SubType != "" { // all other changes are ignored then
			a.subType = b.SubType
			return empty{}, nil
		}
		if len(b.Paths) > 0 {
			if err := t.editFile(c, a, b); err != nil {
				return nil, err
			}
		}
		if b.Name != "" {
			a.name = b.Name
		}
		return empty{}, nil
	}, nil
}

// editFile computes the members after APPEND, REMOVE or REPLACE and starts processing.
func (t *TikTok) editFile(c *tikTokCall, a *tikTokAudience, b fileUpdateBody) error {
	given, mixed, err := t.takeFiles(c, b.Advertiser, a.calculateType, b.Paths)
	if err != nil {
		return err
	}
	if mixed {
		return refusal(40909, "The files must have the calculate_type of the audience.")
	}
	members := maps.Clone(a.members)
	switch b.Action {
	case "APPEND":
		maps.Copy(members, given)
	case "REMOVE":
		maps.DeleteFunc(members, func(m Member, _ struct{}) bool { _, gone := given[m]; return gone })
	default:
		members = given
	}
	if c.cfg.SmallFloorSync && t.matched(len(members)) < tikTokMinMatched {
		return refusal(40002, "The audience would be below %d users.", tikTokMinMatched)
	}
	a.note(c.now, "UPDATE", b.Action)
	t.process(c, a, members)
	return nil
}
