package kmeans

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// far is how many standard deviations from everybody's mean log make a cluster's feature worth a word.
const far = 0.5

// nameClusters names each cluster by what sets it apart from everybody, such as "recent frequent big spenders" or "lapsed one-time
// buyers". Clusters that would be called the same are told apart by the number in which they differ most, such as "lapsed one-time
// buyers, about 290 days ago".
func nameClusters(m Model) {
	sharing := map[string][]*Cluster{}
	for i := range m.Clusters {
		c := &m.Clusters[i]
		c.Name = describe(m.Features, *c)
		sharing[c.Name] = append(sharing[c.Name], c)
	}
	for _, same := range sharing {
		if len(same) > 1 {
			tellApart(m.Features, same)
		}
	}
}

// describe says what is far from everybody: when, how often, how much.
func describe(features []string, c Cluster) string {
	value := func(feature string) (scaled, typical float64) {
		if j := slices.Index(features, feature); j >= 0 {
			return c.Centroid[j], c.Typical[j]
		}
		return 0, math.NaN()
	}
	var words []string
	say := func(z float64, low, high string) {
		switch {
		case z <= -far:
			words = append(words, low)
		case z >= far:
			words = append(words, high)
		}
	}
	recency, _ := value(Recency)
	say(recency, "recent", "lapsed")
	frequency, purchases := value(Frequency)
	if purchases < 1.25 { // most bought once
		words = append(words, "one-time")
	} else {
		say(frequency, "occasional", "frequent")
	}
	monetary, spent := value(Monetary)
	said := len(words)
	if spent < 0 {
		words = append(words, "returners") // refunds exceed purchases
	} else {
		say(monetary, "small spenders", "big spenders")
	}
	if len(words) == said {
		if said == 0 {
			words = append(words, "average")
		}
		words = append(words, "buyers")
	}
	return strings.Join(words, " ")
}

// tellApart adds to each name the typical value of the feature in which the clusters are farthest apart; and the label, should these
// look the same.
func tellApart(features []string, same []*Cluster) {
	widest, most := 0, -1.0
	for j := range features {
		low, high := math.Inf(1), math.Inf(-1)
		for _, c := range same {
			low, high = min(low, c.Centroid[j]), max(high, c.Centroid[j])
		}
		if high-low > most {
			widest, most = j, high-low
		}
	}
	seen := map[string]int{}
	for _, c := range same {
		c.Name += ", about " + quantity(features[widest], c.Typical[widest])
		seen[c.Name]++
	}
	for _, c := range same {
		if seen[c.Name] > 1 {
			c.Name += fmt.Sprintf(" (%d)", c.Label)
		}
	}
}

// quantity is a value as people say it, to three digits.
func quantity(feature string, value float64) string {
	digits := strconv.FormatFloat(value, 'g', 3, 64)
	if rounded, err := strconv.ParseFloat(digits, 64); err == nil {
		digits = strconv.FormatFloat(rounded, 'f', -1, 64)
	}
	switch feature {
	case Recency:
		return digits + " days ago"
	case Frequency:
		return digits + " purchases"
	case Monetary:
		return digits + " spent"
	}
	return digits + " " + feature
}
