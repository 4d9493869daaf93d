package server

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/kohorta/kohorta/internal/audience"
)

// The collections resource names begin with.
const (
	segmentsCollection     = "segments"
	modelsCollection       = "models"
	destinationsCollection = "destinations"
	audiencesCollection    = "audiences"
	lookalikesCollection   = "lookalikes"
	runsCollection         = "runs"
	webhooksCollection     = "webhooks"
)

// idOf is the id within a resource name, e.g. "vip" of "segments/vip".
func idOf(field, collection, name string) (string, error) {
	id, ok := strings.CutPrefix(name, collection+"/")
	if !ok {
		return "", audience.Invalid(field, "%.80q is not a name of the form %s/{id}", name, collection)
	}
	if err := audience.ValidSlug(field, id); err != nil {
		return "", err
	}
	return id, nil
}

// runIDOf is the id within the name of a run.
func runIDOf(field, name string) (audience.RunID, error) {
	id, ok := strings.CutPrefix(name, runsCollection+"/")
	if _, err := uuid.Parse(id); !ok || err != nil {
		return "", audience.Invalid(field, "%.80q is not a name of the form runs/{uuid}", name)
	}
	return audience.RunID(id), nil
}

// nameOf is a resource name, e.g. "segments/vip"; "" for no id.
func nameOf[ID ~string](collection string, id ID) string {
	if id == "" {
		return ""
	}
	return collection + "/" + string(id)
}

// renamed gives the field of an InvalidError the path by which the caller knows it; other errors stay as they are.
func renamed(field string, err error) error {
	var invalid *audience.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	var out audience.Violations
	for _, v := range invalid.Violations {
		out = append(out, audience.Violation{Field: field, Reason: v.Reason})
	}
	return out.Err()
}

// withField gives the faults of one field of an InvalidError another name.
func withField(field, name string, err error) error {
	var invalid *audience.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	out := audience.Violations(slices.Clone(invalid.Violations))
	for i := range out {
		if out[i].Field == field {
			out[i].Field = name
		}
	}
	return out.Err()
}

// checkText records a text for people that is too long.
func checkText(v *audience.Violations, field, text string, maxBytes int) {
	if len(text) > maxBytes {
		v.Add(field, "has %d bytes; at most %d are allowed", len(text), maxBytes)
	} else if !utf8.ValidString(text) {
		v.Add(field, "is not valid UTF-8; re-encode the input")
	}
}

// Bounds of texts for people.
const (
	maxTitleBytes       = 200
	maxDescriptionBytes = 4000
)
