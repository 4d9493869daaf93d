package identity

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/kohorta/kohorta/internal/audience"
)

// maxInputBytes bounds a value: an e-mail has at most 254, no name or city comes near.
const maxInputBytes = 512

// Hasher turns what is known about people into identifiers. It reuses its buffers: one serves many people, one after the
// other, and not several goroutines.
type Hasher struct {
	country  string // of national phone numbers when the person's own is unknown; alpha-2, upper case
	sums     summer
	form     []byte // normal form at hand
	previous []byte // the one before it, whose digest is at hand
	digests  strings.Builder
}

// NewHasher makes a Hasher. Country is the ISO 3166-1 alpha-2 code by which national phone numbers of people without a
// country are completed; "" drops such numbers.
func NewHasher(country string) (*Hasher, error) {
	country = strings.ToUpper(country)
	if country != "" && phonenumbers.GetCountryCodeForRegion(country) == 0 {
		return nil, audience.Invalid("country", "%.8q is not an ISO 3166-1 alpha-2 code such as \"DE\"", country)
	}
	return &Hasher{country: country, sums: *newSummer()}, nil
}

// Identify gives the identifiers of one person for all platforms, sorted by scheme, then value, without repeats, and what
// was left out of the inputs.
func (h *Hasher) Identify(inputs []Input) ([]audience.Identifier, []Dropped) {
	ids := make([]audience.Identifier, 0, 4*len(inputs))
	var dropped []Dropped
	country := h.countryOf(inputs)
	for i, in := range inputs {
		first := len(dropped)
		drop := func(reason string, s ...audience.Scheme) {
			if last := len(dropped) - 1; last >= first && dropped[last].Reason == reason {
				dropped[last].Schemes = append(dropped[last].Schemes, s...)
				return
			}
			dropped = append(dropped, Dropped{Input: i, Schemes: s, Reason: reason})
		}
		value := strings.TrimSpace(string(in.Value))
		switch {
		case value == "":
			// Nothing was told.
		case in.Hashed:
			ids = h.takeHashed(ids, in, value, drop)
		case isDigest(value):
			ids = h.takeUnmarked(ids, in.Field, value, drop)
		default:
			ids = h.takeClear(ids, in, country, drop)
		}
	}
	slices.SortFunc(ids, func(a, b audience.Identifier) int {
		if a.Scheme != b.Scheme {
			return cmp.Compare(a.Scheme, b.Scheme)
		}
		return cmp.Compare(a.Value, b.Value)
	})
	return slices.Compact(ids), dropped
}

// Hash gives the identifier of one value in the clear under one scheme. Country is that of the person, as of Identify; a
// reason comes back when the value has no normal form.
func (h *Hasher) Hash(s audience.Scheme, v Raw, country string) (id audience.Identifier, reason string) {
	if country == "" {
		country = h.country
	}
	if h.form, reason = appendForm(h.form[:0], s, string(v), country); reason != "" {
		return audience.Identifier{}, reason
	}
	if inClear(s) {
		return audience.Identifier{Scheme: s, Value: string(h.form)}, ""
	}
	return audience.Identifier{Scheme: s, Value: h.digest()}, ""
}

// AppendIdentifier appends the identifier of one value in the clear as requests carry it, a digest in lower-case hex: what
// Hash and AppendHex give, in one pass and without an allocation. Beside a reason dst comes back as it was.
func (h *Hasher) AppendIdentifier(dst []byte, s audience.Scheme, v Raw, country string) (_ []byte, reason string) {
	if country == "" {
		country = h.country
	}
	if h.form, reason = appendForm(h.form[:0], s, string(v), country); reason != "" {
		return dst, reason
	}
	if inClear(s) {
		return append(dst, h.form...), ""
	}
	return appendHex(dst, h.sums.sum(h.form)[:]), ""
}

// dropFunc notes why an input is of no use for some schemes.
type dropFunc func(reason string, schemes ...audience.Scheme)

// takeClear adds the identifiers of a value in the clear. Schemes often share the normal form; it is hashed once.
func (h *Hasher) takeClear(ids []audience.Identifier, in Input, country string, drop dropFunc) []audience.Identifier {
	schemes := schemesOf(in.Field)
	if schemes == nil {
		drop("no platform matches by this field")
		return ids
	}
	value := string(in.Value)
	if in.Field == Phone && !isE164(value) {
		// Completing a number by its country's rules costs far more than all else: it is done once, and every platform's form
		// is read from what it gives, which is TikTok's.
		var reason string
		if h.form, reason = appendForm(h.form[:0], TikTokPhone, value, country); reason == "" {
			value = string(h.form)
		}
	}
	digest := "" // of h.previous
	for _, s := range schemes {
		var reason string
		h.form, reason = appendForm(h.form[:0], s, value, country)
		switch {
		case reason != "":
			drop(reason, s)
			continue
		case inClear(s):
			ids = append(ids, audience.Identifier{Scheme: s, Value: string(h.form)})
			continue
		case digest == "" || !bytes.Equal(h.form, h.previous):
			digest = h.digest()
			h.form, h.previous = h.previous, h.form
		}
		ids = append(ids, audience.Identifier{Scheme: s, Value: digest})
	}
	return ids
}

// digest is the SHA-256 of the normal form at hand: 32 bytes, cut from a shared block so that a batch of people costs few
// allocations.
func (h *Hasher) digest() string {
	const block = 4096
	sum := h.sums.sum(h.form)
	if h.digests.Cap()-h.digests.Len() < len(sum) {
		h.digests = strings.Builder{}
		h.digests.Grow(block)
	}
	h.digests.Write(sum[:])
	all := h.digests.String()
	return all[len(all)-len(sum):]
}

// countryOf is the person's country where the inputs tell it, else the default.
func (h *Hasher) countryOf(inputs []Input) string {
	for _, in := range inputs {
		if in.Field == Country && !in.Hashed {
			if code, reason := appendCountry(nil, string(in.Value)); reason == "" {
				return strings.ToUpper(string(code))
			}
		}
	}
	return h.country
}
