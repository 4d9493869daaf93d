package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// person is a customer of the orders with what the demo invents about her. The same customer id gives the same person.
type person struct {
	user         audience.UserID
	email, phone string // "" for some: not everybody leaves both
	consents     bool
}

// invent makes a person of a customer id: nine in ten have an e-mail, six in ten a phone, 19 in 20 consent. The domain is
// reserved for examples (RFC 2606), and so are the numbers (+1 … 555 01xx).
func invent(user audience.UserID) person {
	h := fnv.New64a()
	_, _ = h.Write([]byte(user)) // never fails
	n := h.Sum64()
	p := person{user: user, consents: n%20 != 0}
	if n/20%10 != 0 {
		local := strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				return unicode.ToLower(r)
			}
			return '.'
		}, string(user))
		p.email = fmt.Sprintf("%s.%x@example.com", strings.Trim(local, "."), n>>48)
	}
	if n/200%10 < 6 {
		p.phone = fmt.Sprintf("+1%03d55501%02d", 201+n/2000%700, n/1_400_000%100)
	}
	return p
}

// profile is what the service is told of the person.
func (p person) profile() *audiencev1.ProfileUpdate {
	update := &audiencev1.ProfileUpdate{
		UserId:      string(p.user),
		Identifiers: &audiencev1.IdentifierList{},
		Consents:    []*audiencev1.Consent{{Purpose: audience.DefaultPurpose, Granted: p.consents}},
	}
	add := func(field audiencev1.Identifier_Field, value string) {
		if value != "" {
			update.Identifiers.Identifiers = append(update.Identifiers.Identifiers, &audiencev1.Identifier{Field: field, Value: value})
		}
	}
	add(audiencev1.Identifier_FIELD_EMAIL, p.email)
	add(audiencev1.Identifier_FIELD_PHONE, p.phone)
	return update
}

// sendable reports whether a platform may and can be told of the person.
func (p person) sendable() bool { return p.consents && (p.email != "" || p.phone != "") }

// The invented values are in normal form already, so these hashes owe nothing to the service's own code.

// metaRow is the person as Meta should hold her: "EMAIL=… PHONE=…", the phone as digits only.
func (p person) metaRow() string {
	return row("EMAIL", p.email, "PHONE", strings.TrimPrefix(p.phone, "+"))
}

// tiktokIDs are the person's identifiers as TikTok should hold them, the phone with its +.
func (p person) tiktokIDs() []string {
	var ids []string
	for _, id := range []string{row("EMAIL_SHA256", p.email), row("PHONE_SHA256", p.phone)} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// row writes pairs of a kind and a value as "KIND=hash …", leaving out empty values.
func row(pairs ...string) string {
	var parts []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			sum := sha256.Sum256([]byte(pairs[i+1]))
			parts = append(parts, pairs[i]+"="+hex.EncodeToString(sum[:]))
		}
	}
	return strings.Join(parts, " ")
}
