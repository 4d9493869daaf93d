package main

import (
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/server"
	"github.com/kohorta/kohorta/sync/identity"
)

// newIdentify is sync/identity as the server asks for it. A hasher serves one caller at a time, so each has its own.
func newIdentify(phoneCountry string) (server.Identify, error) {
	if _, err := identity.NewHasher(phoneCountry); err != nil {
		return nil, err
	}
	hashers := sync.Pool{New: func() any {
		hasher, err := identity.NewHasher(phoneCountry)
		if err != nil {
			panic(err) // the same call has just succeeded
		}
		return hasher
	}}
	return func(facts []server.Fact) ([]audience.Identifier, []server.DroppedFact) {
		hasher := hashers.Get().(*identity.Hasher)
		defer hashers.Put(hasher)
		inputs := make([]identity.Input, len(facts))
		for i, fact := range facts {
			inputs[i] = identity.Input{Field: identity.Field(fact.Field), Value: identity.Raw(fact.Value), Hashed: fact.Hashed, Scheme: fact.Scheme}
		}
		identifiers, left := hasher.Identify(inputs)
		dropped := make([]server.DroppedFact, len(left))
		for i, d := range left {
			dropped[i] = server.DroppedFact{Fact: d.Input, Schemes: d.Schemes, Reason: d.Reason}
		}
		return identifiers, dropped
	}, nil
}
