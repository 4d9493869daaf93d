package warehouse

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

func TestProfilesAreMerged(t *testing.T) {
	de, unknown := "DE", ""
	start := audience.ProfileUpdate{
		User: "a", Country: &de, Texts: map[string]string{"plan": "pro", "city": "Łódź"}, Numbers: map[string]float64{"age": 41},
		Identifiers: []audience.Identifier{phone, email, email},
	}
	store := open(t)
	for _, c := range []struct {
		name    string
		updates []audience.ProfileUpdate
		want    audience.Profile
	}{
		{"as given, identifiers in order and once", []audience.ProfileUpdate{start},
			audience.Profile{Country: "DE", Texts: start.Texts, Numbers: start.Numbers, Identifiers: []audience.Identifier{email, phone}}},
		{"what is not named stays", []audience.ProfileUpdate{start, {Texts: map[string]string{"plan": "free"}}},
			audience.Profile{Country: "DE", Texts: map[string]string{"plan": "free", "city": "Łódź"}, Numbers: start.Numbers, Identifiers: []audience.Identifier{email, phone}}},
		{"attributes are removed before others are set", []audience.ProfileUpdate{start, {RemovedAttributes: []string{"plan", "age", "never"}, Numbers: map[string]float64{"age": 42}}},
			audience.Profile{Country: "DE", Texts: map[string]string{"city": "Łódź"}, Numbers: map[string]float64{"age": 42}, Identifiers: []audience.Identifier{email, phone}}},
		{"an attribute is a text or a number", []audience.ProfileUpdate{start, {Texts: map[string]string{"age": "old"}, Numbers: map[string]float64{"plan": 1}}},
			audience.Profile{Country: "DE", Texts: map[string]string{"city": "Łódź", "age": "old"}, Numbers: map[string]float64{"plan": 1}, Identifiers: []audience.Identifier{email, phone}}},
		{"the country can become unknown", []audience.ProfileUpdate{start, {Country: &unknown}},
			audience.Profile{Texts: start.Texts, Numbers: start.Numbers, Identifiers: []audience.Identifier{email, phone}}},
		{"identifiers replace those of their scheme", []audience.ProfileUpdate{start, {Identifiers: []audience.Identifier{other}}},
			audience.Profile{Country: "DE", Texts: start.Texts, Numbers: start.Numbers, Identifiers: []audience.Identifier{other, phone}}},
		{"or all", []audience.ProfileUpdate{start, {Identifiers: []audience.Identifier{other}, ReplaceIdentifiers: true}},
			audience.Profile{Country: "DE", Texts: start.Texts, Numbers: start.Numbers, Identifiers: []audience.Identifier{other}}},
		{"none are left", []audience.ProfileUpdate{start, {ReplaceIdentifiers: true}},
			audience.Profile{Country: "DE", Texts: start.Texts, Numbers: start.Numbers}},
	} {
		for _, together := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, together %t", c.name, together), func(t *testing.T) {
				user := audience.UserID(t.Name())
				for i := range c.updates {
					c.updates[i].User = user
				}
				if together {
					require.NoError(t, store.UpsertProfiles(t.Context(), c.updates))
				} else {
					for _, update := range c.updates {
						require.NoError(t, store.UpsertProfiles(t.Context(), []audience.ProfileUpdate{update, {User: "b"}}))
					}
				}
				c.want.User = user
				got, err := store.GetProfile(t.Context(), user)
				require.NoError(t, err)
				require.Equal(t, c.want, got)
			})
		}
	}
}

func TestProfilesMakeUsers(t *testing.T) {
	store := open(t)
	require.NoError(t, store.UpsertProfiles(t.Context(), []audience.ProfileUpdate{{User: "a"}, {User: "b"}}))
	require.Equal(t, 2, count(t, store, "users FINAL"))
	_, err := store.GetProfile(t.Context(), "c")
	require.EqualError(t, err, "users/c: not found")
}

func TestConsentsThatStand(t *testing.T) {
	store, ctx := open(t), t.Context()
	later := audience.Consent{User: "a", Purpose: "advertising", Destination: "meta-main", Granted: false, Time: noon.AddDate(0, 0, 1)}
	require.NoError(t, store.SetConsents(ctx, []audience.Consent{later}))
	require.NoError(t, store.SetConsents(ctx, []audience.Consent{
		{User: "a", Purpose: "advertising", Destination: "meta-main", Granted: true, Time: noon},
		{User: "a", Purpose: "advertising", Granted: true, Time: noon},
	}))
	got, err := store.Consents(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, []audience.Consent{{User: "a", Purpose: "advertising", Granted: true, Time: noon}, later}, got)
}

func TestTheLedgerKeepsTheNewestOfEachUser(t *testing.T) {
	store, ctx := open(t), t.Context()
	sending := audience.Delivery{User: "b", State: audience.DeliverySending, Identifiers: []audience.Identifier{email}, Run: "r1", Time: noon}
	rejected := audience.Delivery{User: "a", State: audience.DeliveryRejected, Identifiers: []audience.Identifier{email, phone}, Reason: "bad hash", Run: "r1", Time: noon}
	require.NoError(t, store.RecordDeliveries(ctx, 1, []audience.Delivery{sending, rejected}))
	delivered := sending
	delivered.State = audience.DeliveryDelivered
	require.NoError(t, store.RecordDeliveries(ctx, 1, []audience.Delivery{delivered}))
	require.NoError(t, store.RecordDeliveries(ctx, 2, []audience.Delivery{sending}))
	got, err := all(store.Deliveries(ctx, 1))
	require.NoError(t, err)
	require.Equal(t, []audience.Delivery{rejected, delivered}, got)
}
