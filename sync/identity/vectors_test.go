package identity

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// The worked vectors of both contract sheets (Meta 3.4, TikTok 6), all of them, in their order.
func TestVectors(t *testing.T) {
	for _, v := range []struct {
		scheme  audience.Scheme
		input   string
		country string
		form    string // "" means that there must be none
		sha256  string
	}{
		{MetaEmail, "mary@example.com", "", "mary@example.com", "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79"},
		{MetaEmail, "John_Smith@gmail.com", "", "john_smith@gmail.com", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"},
		{MetaEmail, " \tUser1@Example.com\r\n", "", "user1@example.com", "b36a83701f1c3191e19722d6f90274bc1b5501fe69ebf33313e440fe4b0fe210"},
		{MetaEmail, "no-at-sign.example", "", "", ""},
		{MetaPhone, "15559876543", "", "15559876543", "1ef970831d7963307784fa8688e8fce101a15685d62aa765fed23f3a2c576a4e"},
		{MetaPhone, "(650)555-1212", "US", "16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"},
		{MetaPhone, "+1-555-123-4567", "", "15551234567", "d6736136ea896c1bfdc553e0e86e702c70d060d805696ca3e4e9e0961353860a"},
		{MetaPhone, "1-234-567-8910", "", "12345678910", "63640264849a87c90356129d99ea165e37aa5fabc1fea46906df1a7ca50db492"},
		{MetaPhone, "+44 844 412 4653", "", "448444124653", "dc008fda46e2e64002cf2f82a4906236282d431c4f75e5b60bfe79fc48546383"},
		{MetaPhone, "0000", "", "", ""},
		{MetaGender, "male", "", "m", "62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a"},
		{MetaGender, "f", "", "f", "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"},
		{MetaGender, "prefer not to say", "", "", ""},
		{MetaBirthYear, "1990", "", "1990", "a7be8e1fe282a37cd666e0632b17d933fa13f21addf4798fc0455bc166e2488c"},
		{MetaBirthMonth, "january", "", "01", "938db8c9f82c8cb58d3f3ef4fd250036a48d26a712753d2fde5abd03a85cabf4"},
		{MetaBirthMonth, "5", "", "05", "c97550ce8213ef5cf6ed4ba48790c137df3ef6a5da20b48961001a634b6cead2"},
		{MetaBirthDay, "15", "", "15", "e629fa6598d732768f7c726b4b621285f9c3b85303900aa912017db7617d8bdb"},
		{MetaBirthDay, "9", "", "09", "3514acf61732f662da19625f7fe781c3e483f2dce8506012f3bb393f5003e105"},
		{MetaFirstName, "Mary", "", "mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"},
		{MetaFirstName, "Valéry", "", "valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"},
		{MetaFirstName, "Vale\u0301ry", "", "valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"},
		{MetaFirstName, "정", "", "정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"},
		{MetaFirstName, "John", "", "john", "96d9632f363564cc3032521409cf22a852f2032eec099ed5967c0d000cec607a"},
		{MetaFirstName, "Mary-Jane", "", "maryjane", "f08f448a5e7a9dc3619bb7c129f6a7d5fc6af002cea17ad71dfdc1c68f4d4e0e"},
		{MetaLastName, "O'Brien", "", "obrien", "b4cb6cb33fe4b865868de825023a1e2790dc12ac01ecc8d7c5afe8254071c8ba"},
		{MetaLastName, "Doe", "", "doe", "799ef92a11af918e3fb741df42934f3b568ed2d93ac1df74f1b8d41a27932a6f"},
		{MetaInitial, "J", "", "j", "189f40034be7a199f1fa9891668ee3ab6049f82d38c68be70f596eab2e1857b7"},
		{MetaCity, "San Francisco", "", "sanfrancisco", "1a6bd4d9d79dc0a79b53795c70d3349fa9e38968a3fbefbfe8783efb1d2b6aac"},
		{MetaCity, "New York", "", "newyork", "350c754ba4d38897693aa077ef43072a859d23f613443133fecbbd90a3512ca5"},
		{MetaCity, "Menlo Park", "", "menlopark", "0007a3d64c01e23d5075203c5977c14e4f7e01a3fc570686fcc50b5e1dd42685"},
		{MetaState, "California", "US", "ca", "6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"},
		{MetaState, "AZ", "US", "az", "9c0ada37bf74aeefae949fdfc90db0cf6eaf90192eff67d65887771f0585e055"},
		{MetaZip, "94035-1234", "US", "94035", "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e"},
		{MetaZip, "98121-4892", "US", "98121", "a77c0363c8e376696caa1c871266c54476d5ac554bfd6eeb4f42f6a8d607e8fe"},
		{MetaZip, "M1 1AE", "GB", "m11ae", "1dc694c2070e697769fb959b50671d76cafd430d8ca191fbdd0affcaea344ac5"},
		{MetaZip, "75018", "FR", "75018", "8dc3075ea745609c169d1c120d3fcd1c42673d16f18b423f4374e894d34a098a"},
		{MetaCountry, "US", "", "us", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"},
		{MetaCountry, "United States", "", "us", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"},
		{MetaCountry, "in", "", "in", "582967534d0f909d196b97f9e6921342777aea87b46fa52df165389db1fb8ccf"},

		{TikTokEmailBasic, "  Priya.Natarajan+spring@Example.ORG ", "", "priya.natarajan+spring@example.org", "eb7540925a9943708c5b93fba67838a7b9530473048619eb39ca5584865451cf"},
		{TikTokEmailStripPlus, "  Priya.Natarajan+spring@Example.ORG ", "", "priya.natarajan@example.org", "dcdc156c78aa4fa8d4e3993e2bdae1c1ec7e6e88351c2bcc9ad90286d25f1ce1"},
		{TikTokEmailLegacy, "  Priya.Natarajan+spring@Example.ORG ", "", "priyanatarajan@example.org", "09f100a215d28d44cd48fb7aae383be7f28324bed5bf9f350ede99acb3d6277e"},
		{TikTokEmailBasic, "Kim Lee@example.com", "", "kimlee@example.com", "5226e22ea28ebc49208b4367539dd47506295d8300dab3aaae412d0e6b187579"},
		{TikTokEmailBasic, "O.Brien@Mail.Example.co.uk", "", "o.brien@mail.example.co.uk", "bb935b572743ac9b28648da7900e1875540b81727f43a1b9576114393ae0c308"},
		{TikTokEmailLegacy, "O.Brien@Mail.Example.co.uk", "", "obrien@mail.example.co.uk", "c3600bd844612433c266899179d50e2ea80e51d7f0a19f143b314a4faa3b458b"},
		{TikTokPhone, "+61 2 9374 4000", "", "+61293744000", "02d004954a894e38098d70a1204432ae8e2b2e7cc12b93e2bb0eb6b6ed2f3fe0"},
		{TikTokPhone, "(415) 555-0132", "US", "+14155550132", "9e1919ad78a34fd67a84bfbcf2fea14074065517bea32e92924771c3f92e5462"},
		{TikTokPhone, "0049 30 901820", "", "+4930901820", "4db5829924ee5c466cbd9ac69b2a6af527f758614fa3b3aec8c89b16a709a678"},
		{TikTokPhone, "+44 (0)20 7946 0958", "", "+442079460958", "f0bf0228144d9fe2bdf1da2d8ca698f17bf1410ee688b075c27062e47b6f0b6d"},
		{TikTokIDFA, "6D92078A-8246-4BA4-AE5B-76104861E7DC", "", "6d92078a-8246-4ba4-ae5b-76104861e7dc", "31b806b4deec8c4cb1ffb18b9ab4ee1fa82a2b30e1f47902f04d03f5db023376"},
		{TikTokAAID, " 38400000-8cf0-11bd-b23e-10b96e40000d ", "", "38400000-8cf0-11bd-b23e-10b96e40000d", "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d"},
	} {
		t.Run(string(v.scheme)+" "+v.input, func(t *testing.T) {
			form, reason := appendForm(nil, v.scheme, v.input, v.country)
			if v.form == "" {
				require.NotEmpty(t, reason)
				return
			}
			require.Empty(t, reason)
			require.Equal(t, v.form, string(form))
			h, err := NewHasher("")
			require.NoError(t, err)
			id, reason := h.Hash(v.scheme, Raw(v.input), v.country)
			require.Empty(t, reason)
			require.Equal(t, v.scheme, id.Scheme)
			require.Equal(t, v.sha256, hex.EncodeToString([]byte(id.Value)))
		})
	}
}

// The MD5 of the sheet's device id proves its normal form once more; the digest itself is not sent, because TikTok warns of
// mixing MD5 and SHA-256 in one audience.
func TestDeviceFormByMD5(t *testing.T) {
	form, reason := appendForm(nil, TikTokIDFA, "6D92078A-8246-4BA4-AE5B-76104861E7DC", "")
	require.Empty(t, reason)
	sum := md5.Sum(form)
	require.Equal(t, "0c2074fb86930fc4a2a7bb791240a7d3", hex.EncodeToString(sum[:]))
}

// Digests that betray a bug (TikTok 6): no input may lead to them.
func TestDigestsNeverMade(t *testing.T) {
	forbidden := map[string]string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "",
		"12b9377cbe7e5c94e8a70d9d23929523d14afa954793130f8a3959c7b849aca8": "00000000-0000-0000-0000-000000000000",
		"2afcf919a0c1953d177fcb412ea65138b44b4a42dda7d322225811767c0c530c": "6D92078A-8246-4BA4-AE5B-76104861E7DC",
		"43d0491be012ebb5f029305364cbbe1960664cece27c305a2b9e3c527e727833": "61293744000",
	}
	h, err := NewHasher("AU")
	require.NoError(t, err)
	for digest, of := range forbidden {
		sum := sha256.Sum256([]byte(of))
		require.Equal(t, digest, hex.EncodeToString(sum[:]), "the sheet's digest of %q", of)
		for _, f := range Fields {
			ids, _ := h.Identify([]Input{{Field: f, Value: Raw(of)}})
			for _, id := range ids {
				if of != "61293744000" || strings.HasPrefix(string(id.Scheme), "tiktok:") { // to Meta they are right
					require.NotEqual(t, digest, hex.EncodeToString([]byte(id.Value)), "%s as %s", of, f)
				}
			}
		}
	}
}
