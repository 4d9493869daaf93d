package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

const valuedResources = `
segments:
  - {id: buyers, expression: 'did("purchase", "all")'}
destinations:
  - {id: meta, platform: meta, account: "1122334455", token_secret: meta-token, app_secret: meta-app-secret, base_url: %q}
  - {id: tiktok, platform: tiktok, account: "7000000000000000001", token_secret: tiktok-token, base_url: %q}
audiences:
  - {id: worth, segment: segments/buyers, destination: destinations/%s, value: %q}
`

// TestValuesReachTheAudience: what members are worth is computed from their events, sent, and sent again once it has moved.
func TestValuesReachTheAudience(t *testing.T) {
	platforms, url := startPlatforms(t)
	address := startService(t).address()
	c, err := dial(address)
	require.NoError(t, err)
	defer c.conn.Close()
	var people []*audiencev1.ProfileUpdate
	for _, name := range []audience.UserID{"ann", "bob", "cid", "dan"} {
		people = append(people, person{user: name, email: string(name) + "@example.com", consents: true}.profile())
	}
	_, err = c.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: people})
	require.NoError(t, err)
	do := func(args ...string) string {
		t.Helper()
		out, err := kohorta(t, address, args...)
		require.NoError(t, err, out)
		return out
	}
	buy := func(rows string) {
		t.Helper()
		do("import", write(t, "rows.csv", "user,id,day,amount\n"+rows), "--set", "user=user", "--set", "event_id=id", "--set", "time=day", "--set", "value=amount")
	}
	resources := func(destination, value string) string {
		return write(t, "r.yaml", fmt.Sprintf(valuedResources, url, url, destination, value))
	}
	held := func() (values []string) {
		for _, a := range platforms.Meta().Audiences() {
			for _, row := range platforms.Meta().Members(a.ID) {
				values = append(values, row.LookalikeValue)
			}
		}
		slices.Sort(values)
		return values
	}
	buy("ann,1,2026-01-01,100\nann,2,2026-01-02,20.5\nbob,1,2026-01-01,7\ncid,1,2026-01-01,0\ndan,1,2026-01-01,5\ndan,2,2026-01-01,-9\n")

	_, err = kohorta(t, address, "apply", "--yes", "-f", resources("meta", `did("purchase")`))
	require.ErrorContains(t, err, "audience.value")
	require.ErrorContains(t, err, "a true/false stands where a number is needed")
	_, err = kohorta(t, address, "apply", "--yes", "-f", resources("tiktok", `sum("purchase")`))
	require.ErrorContains(t, err, "TikTok takes no values")
	do("apply", "--yes", "-f", resources("meta", `sum("purchase")`))
	require.Contains(t, do("audience", "get", "worth"), `sum(\"purchase\")`)
	do("segment", "evaluate")
	require.Contains(t, do("sync", "plan", "worth"), "not sent, no value: 1", "who is worth less than nothing")
	do("sync", "start", "worth")
	require.Equal(t, []string{"0", "120.5", "7"}, held())

	buy("ann,3,2026-01-03,1\nbob,2,2026-01-03,3\n")
	require.Contains(t, do("sync", "plan", "worth"), "send 1 again, whose value has moved")
	require.Contains(t, do("sync", "start", "worth"), "revalued")
	require.Equal(t, []string{"0", "10", "120.5"}, held(), "ann's has hardly moved")

	do("apply", "--yes", "-f", resources("meta", `count("purchase") * 2.5`))
	do("sync", "start", "worth")
	require.Equal(t, []string{"2.5", "5", "5", "7.5"}, held())
	_, err = kohorta(t, address, "apply", "--yes", "-f", resources("meta", ""))
	require.ErrorContains(t, err, "create another audience without")
}
