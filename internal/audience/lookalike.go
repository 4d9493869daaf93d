package audience

// Lookalike is an audience that a platform makes of people who are like those of a source. It cannot be changed.
type Lookalike struct {
	Meta         `json:"-"`
	ID           LookalikeID
	Source       AudienceID
	PlatformName string   // "" is the id
	PlatformID   string   // as the platform has named it
	Places       []string // Meta: countries; TikTok: location ids

	Ratio         float64 // Meta: share of a country's people, 0.01 to 0.2 in hundredths
	StartingRatio float64 // Meta: without the most similar share; 0: with it

	Size          string   // TikTok: "narrow", "balanced" or "broad"
	MobileOS      string   // TikTok: "all", "android" or "ios"; "" is all
	Placements    []string // TikTok: none is TikTok itself
	IncludeSource bool     // TikTok: the source's people are in it, too
}

// LookalikeStatus is a platform's own view of a lookalike.
type LookalikeStatus struct {
	State  string // "ready", "processing", "too_small", "expiring", "blocked" or "expired"
	Reason string // why it is not ready, in the platform's words
	Remedy string // what a person can do
	Low    int64  // fewest people in it; -1 while the platform has no figure
	High   int64  // most
}
