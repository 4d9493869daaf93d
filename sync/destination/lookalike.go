package destination

import (
	"context"

	"github.com/kohorta/kohorta/internal/audience"
)

// Lookalikes is a Destination whose platform finds people who are like those of an audience.
type Lookalikes interface {
	// EnsureLookalike gives the id of the lookalike that spec describes and creates it when a listing does not show it. An
	// error that is audience.ErrInvalid names the settings the platform does not have.
	EnsureLookalike(ctx context.Context, spec LookalikeSpec) (id string, err error)
	// Lookalike is what the platform has made of it.
	Lookalike(ctx context.Context, id string) (Lookalike, error)
	// DeleteLookalike deletes for good. One that is gone already is no error.
	DeleteLookalike(ctx context.Context, id string) error
}

// LookalikeSpec says whom a lookalike is to hold. Platforms measure its size each in its own way.
type LookalikeSpec struct {
	Key    audience.AudienceID // by which it is found again where the platform knows no equal ones; stable for its life
	Name   string              // shown on the platform; "" means Key
	Seed   string              // the platform's id of the audience to start from
	Places []string            // Meta: ISO 3166-1 alpha-2 codes of countries; TikTok: location ids

	Ratio         float64 // Meta: share of a country's people, 0.01 to 0.20 in hundredths
	StartingRatio float64 // Meta: without the most similar share; 0 leaves out nobody

	Size        string   // TikTok: NARROW, BALANCED or BROAD
	MobileOS    string   // TikTok: ALL, ANDROID or IOS; "" means ALL
	Placements  []string // TikTok: TikTok, Pangle …; none means TikTok
	IncludeSeed bool     // TikTok: the seed's people are in it too
}

// Lookalike is one as the platform has it: the spec without Key, and its state.
type Lookalike struct {
	Spec   LookalikeSpec
	Status Status
}
