package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func digestOf(form string) string {
	sum := sha256.Sum256([]byte(form))
	return string(sum[:])
}

func hexOf(form string) string { return hex.EncodeToString([]byte(digestOf(form))) }

func TestIdentify(t *testing.T) {
	const idfa = "6d92078a-8246-4ba4-ae5b-76104861e7dc"
	for name, c := range map[string]struct {
		country string
		inputs  []Input
		want    map[audience.Scheme]string // normal form, or the value itself for clear schemes
		dropped []Dropped
	}{
		"nothing told": {inputs: []Input{{Field: Email, Value: "  "}}},
		"an e-mail serves every mode of both platforms": {
			inputs: []Input{{Field: Email, Value: " A.B+c@Example.com"}},
			want: map[audience.Scheme]string{MetaEmail: "a.b+c@example.com", TikTokEmailBasic: "a.b+c@example.com",
				TikTokEmailStripPlus: "a.b@example.com", TikTokEmailLegacy: "ab@example.com"},
		},
		"inner white space: TikTok removes it, Meta cannot": {
			inputs: []Input{{Field: Email, Value: "kim lee@example.com"}},
			want: map[audience.Scheme]string{TikTokEmailBasic: "kimlee@example.com", TikTokEmailStripPlus: "kimlee@example.com",
				TikTokEmailLegacy: "kimlee@example.com"},
			dropped: []Dropped{{0, []audience.Scheme{MetaEmail}, "is not an e-mail address Meta can match: ASCII, one @, a domain with a dot"}},
		},
		"a tag alone is no address without it": {
			inputs: []Input{{Field: Email, Value: "+tag@example.com"}},
			want:   map[audience.Scheme]string{MetaEmail: "+tag@example.com", TikTokEmailBasic: "+tag@example.com"},
			dropped: []Dropped{{0, []audience.Scheme{TikTokEmailStripPlus, TikTokEmailLegacy},
				"has nothing left before the @ without its tag and dots"}},
		},
		"phone with the person's country before the default": {
			country: "US",
			inputs:  []Input{{Field: Phone, Value: "601 100 200"}, {Field: Country, Value: "Poland"}},
			want:    map[audience.Scheme]string{MetaPhone: "48601100200", TikTokPhone: "+48601100200", MetaCountry: "pl"},
		},
		"phone without any country": {
			inputs:  []Input{{Field: Phone, Value: "601 100 200"}},
			dropped: []Dropped{{0, []audience.Scheme{MetaPhone, TikTokPhone}, "has no country code, and the person's country is unknown"}},
		},
		"of two phones, the one left out is named by its place": {
			inputs:  []Input{{Field: Phone, Value: "+48 601 100 200"}, {Field: Phone, Value: "601 100 201"}},
			want:    map[audience.Scheme]string{MetaPhone: "48601100200", TikTokPhone: "+48601100200"},
			dropped: []Dropped{{1, []audience.Scheme{MetaPhone, TikTokPhone}, "has no country code, and the person's country is unknown"}},
		},
		"phone of full-width digits": {
			country: "PL",
			inputs:  []Input{{Field: Phone, Value: "６０１ １００ ２００"}},
			want:    map[audience.Scheme]string{MetaPhone: "48601100200", TikTokPhone: "+48601100200"},
		},
		"device ids": {
			inputs: []Input{{Field: IDFA, Value: "6D92078A-8246-4BA4-AE5B-76104861E7DC"}},
			want:   map[audience.Scheme]string{MetaMADID: idfa, TikTokIDFA: idfa},
		},
		"the all-zero device id": {
			inputs: []Input{{Field: GAID, Value: "00000000-0000-0000-0000-000000000000"}},
			dropped: []Dropped{{0, []audience.Scheme{MetaMADID, TikTokAAID},
				"is the all-zero id of people who limit ad tracking"}},
		},
		"a person of Łódź": {
			inputs: []Input{{Field: FirstName, Value: "Świętosława"}, {Field: LastName, Value: "Groß-Żak"}, {Field: City, Value: "Kraków"},
				{Field: BirthDate, Value: "1990-05-09"}},
			want: map[audience.Scheme]string{MetaFirstName: "świętosława", MetaInitial: "ś", MetaLastName: "großżak", MetaCity: "krakw",
				MetaBirthYear: "1990", MetaBirthMonth: "05", MetaBirthDay: "09"},
		},
		"a hashed e-mail serves the two that trim and lower-case": {
			inputs: []Input{{Field: Email, Value: Raw(strings.ToUpper(hexOf("ann@example.com"))), Hashed: true}},
			want:   map[audience.Scheme]string{MetaEmail: "ann@example.com", TikTokEmailBasic: "ann@example.com"},
		},
		"a hashed phone must name its scheme": {
			inputs: []Input{{Field: Phone, Value: Raw(hexOf("48601100200")), Hashed: true}},
			dropped: []Dropped{{0, nil,
				"a hashed phone must name its scheme: meta:PHONE is the digits without +, tiktok:PHONE_SHA256 with it"}},
		},
		"a hashed phone with its scheme": {
			inputs: []Input{{Field: Phone, Value: Raw(hexOf("+48601100200")), Hashed: true, Scheme: TikTokPhone}},
			want:   map[audience.Scheme]string{TikTokPhone: "+48601100200"},
		},
		"a scheme of another field": {
			inputs:  []Input{{Field: Email, Value: Raw(hexOf("x")), Hashed: true, Scheme: MetaPhone}},
			dropped: []Dropped{{0, []audience.Scheme{MetaPhone}, "the scheme named is not one of this field"}},
		},
		"marked as hashed, but in the clear": {
			inputs:  []Input{{Field: Email, Value: "ann@example.com", Hashed: true}},
			dropped: []Dropped{{0, []audience.Scheme{MetaEmail, TikTokEmailBasic}, "is not a SHA-256 of 64 hexadecimal digits"}},
		},
		"MD5": {
			inputs:  []Input{{Field: Email, Value: "0c2074fb86930fc4a2a7bb791240a7d3", Hashed: true}},
			dropped: []Dropped{{0, []audience.Scheme{MetaEmail, TikTokEmailBasic}, "is an MD5 or SHA-1; platforms match by SHA-256"}},
		},
		"the digest of nothing": {
			inputs:  []Input{{Field: Email, Value: Raw(hexOf("")), Hashed: true}},
			dropped: []Dropped{{0, []audience.Scheme{MetaEmail, TikTokEmailBasic}, "is the SHA-256 of nothing"}},
		},
		"the digest of the all-zero device": {
			inputs: []Input{{Field: IDFA, Value: Raw(hexOf("00000000-0000-0000-0000-000000000000")), Hashed: true}},
			dropped: []Dropped{{0, []audience.Scheme{TikTokIDFA},
				"is the SHA-256 of the device id of people who limit ad tracking"}},
		},
		"a hashed device id is of no use to Meta": {
			inputs:  []Input{{Field: MADID, Value: Raw(hexOf(idfa)), Hashed: true}},
			dropped: []Dropped{{0, nil, "Meta takes device ids in the clear; send it unhashed"}},
		},
		"looks hashed: Meta takes it, TikTok does not (sheet Meta 3.4, last vector; TikTok 6)": {
			inputs: []Input{{Field: Email, Value: "F1904CF1A9D73A55FA5DE0AC823C4403DED71AFD4C3248D00BDCD0866552BB79"}},
			want:   map[audience.Scheme]string{MetaEmail: "mary@example.com"},
			dropped: []Dropped{{0, []audience.Scheme{TikTokEmailBasic, TikTokEmailStripPlus, TikTokEmailLegacy},
				"looks hashed but is not marked as hashed"}},
		},
		"looks hashed: a phone nobody can take": {
			inputs:  []Input{{Field: Phone, Value: Raw(hexOf("48601100200"))}},
			dropped: []Dropped{{0, []audience.Scheme{MetaPhone, TikTokPhone}, "looks hashed but is not marked as hashed"}},
		},
		"a field nobody knows": {
			inputs:  []Input{{Field: "shoe_size", Value: "43"}},
			dropped: []Dropped{{0, nil, "no platform matches by this field"}},
		},
		"a field nobody knows, with a digest": {
			inputs:  []Input{{Field: "shoe_size", Value: Raw(hexOf("43"))}},
			dropped: []Dropped{{0, nil, "looks hashed but is not marked as hashed"}},
		},
		"too long": {
			inputs:  []Input{{Field: City, Value: Raw(strings.Repeat("a", 513))}},
			dropped: []Dropped{{0, []audience.Scheme{MetaCity}, "is longer than 512 bytes"}},
		},
		"no UTF-8": {
			inputs:  []Input{{Field: City, Value: "Krak\xf3w"}},
			dropped: []Dropped{{0, []audience.Scheme{MetaCity}, "is not valid UTF-8"}},
		},
		"told twice": {
			inputs: []Input{{Field: Gender, Value: "female"}, {Field: Gender, Value: "F"}},
			want:   map[audience.Scheme]string{MetaGender: "f"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := NewHasher(c.country)
			require.NoError(t, err)
			ids, dropped := h.Identify(c.inputs)
			got := map[audience.Scheme]string{}
			for i, id := range ids {
				require.True(t, i == 0 || ids[i-1].Scheme < id.Scheme, "sorted, one each")
				got[id.Scheme] = id.Value
			}
			want := map[audience.Scheme]string{}
			for s, form := range c.want {
				if want[s] = digestOf(form); s == MetaMADID {
					want[s] = form
				}
			}
			require.Empty(t, cmp.Diff(want, got))
			require.Empty(t, cmp.Diff(c.dropped, dropped))
		})
	}
}

func TestIdentifyKeepsTwoEmails(t *testing.T) {
	h, err := NewHasher("")
	require.NoError(t, err)
	ids, dropped := h.Identify([]Input{{Field: Email, Value: "b@example.com"}, {Field: Email, Value: "a@example.com"}})
	require.Empty(t, dropped)
	require.Len(t, ids, 8)
	require.True(t, ids[0].Scheme == MetaEmail && ids[1].Scheme == MetaEmail && ids[0].Value < ids[1].Value)
}

func TestNewHasherRefusesNoCountry(t *testing.T) {
	_, err := NewHasher("Germany")
	require.ErrorIs(t, err, audience.ErrInvalid)
	require.ErrorContains(t, err, "alpha-2")
}

// A digest handed out must not change when the hasher goes on: they are cut from shared blocks.
func TestDigestsStand(t *testing.T) {
	h, err := NewHasher("")
	require.NoError(t, err)
	var ids []audience.Identifier
	for i := range 1000 {
		id, reason := h.Hash(MetaEmail, Raw(fmt.Sprintf("user%d@example.com", i)), "")
		require.Empty(t, reason)
		ids = append(ids, id)
	}
	for i, id := range ids {
		require.Equal(t, digestOf(fmt.Sprintf("user%d@example.com", i)), id.Value)
	}
}

func TestRawShowsNothing(t *testing.T) {
	const canary = "canary@example.com"
	in := Input{Field: Email, Value: canary}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "raw", in.Value, "input", in)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "raw", in.Value, "input", in)
	encoded, err := json.Marshal(in)
	require.NoError(t, err)
	shown := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3s"} {
		shown += fmt.Sprintf(verb+verb, in.Value, in)
	}
	require.NotContains(t, shown, "canary")
	require.NotContains(t, shown, hex.EncodeToString([]byte("canary")))
	require.Contains(t, shown, "[redacted]")
	for _, field := range Fields {
		_, dropped := new(Hasher).Identify([]Input{{Field: field, Value: "canary<>@"}, {Field: field, Value: canary, Hashed: true}})
		require.NotContains(t, fmt.Sprintf("%+v", dropped), "canary")
	}
}
