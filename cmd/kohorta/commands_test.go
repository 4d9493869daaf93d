package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// commandResources refer to each other against the order they stand in.
const commandResources = `
segments:
  - {id: fans, title: Fans, expression: 'in_segment("buyers") && rfm.f >= 1'}
  - {id: buyers, title: Buyers, expression: 'did("purchase", "all")'}
models:
  - {id: rfm, rfm: {frequency: orders}}
  - {id: ways, k_means: {source: models/rfm, k: 2, seed: 1}}
destinations:
  - {id: shop, platform: meta, account: "1122334455", token_secret: meta-token, app_secret: meta-app-secret, base_url: %q}
audiences:
  - {id: fans, segment: segments/fans, destination: destinations/shop, max_removal_share: 1}
`

const orders = `customer,order,day,amount,country
ann,1,2026-01-01,10.50,DE
ann,2,2026-02-01,20,DE
bob,3,2026-03-01,5,FR
cid,4,not a day,5,FR
,5,2026-03-01,5,FR
dan,6,2026-04-01,500,DE
`

// TestCommands walks through every command that asks a service, one after the other: what it says to people, and as JSON.
func TestCommands(t *testing.T) {
	_, url := startPlatforms(t)
	address := startService(t).address()
	c, err := dial(address)
	require.NoError(t, err)
	defer c.conn.Close()
	ann := person{user: "ann", email: "ann@example.com", consents: true}
	_, err = c.ingest.UpsertProfiles(t.Context(), &audiencev1.UpsertProfilesRequest{Profiles: []*audiencev1.ProfileUpdate{ann.profile()}})
	require.NoError(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "orders.csv")
	require.NoError(t, os.WriteFile(file, []byte(orders), 0o600))
	report := filepath.Join(dir, "refused.csv")
	resources := write(t, "resources.yaml", fmt.Sprintf(commandResources, url))
	importing := []string{"import", file, "--set", "user=customer", "--set", "event_id=order", "--set", "time=day", "--set", "value=amount", "--set", "texts.country=country"}

	for _, step := range []struct {
		name string
		args []string
		want string // a regular expression over what is written; over the error when it begins with "error: "
	}{
		{"a dry run sends nothing", append(importing, "--dry-run"), `^6 rows: 4 would be sent, 0 duplicates, 2 refused, 0 left out`},
		{"an import", append(importing, "--report", report), `^6 rows: 4 accepted, 0 duplicates, 2 refused, 0 left out by the filter\n  1 × `},
		{"a second import adds nothing", append(importing, "-o", "json"), `"accepted": 0,\n  "duplicates": 4,\n  "skipped": 0,\n  "refused": 2`},
		{"a filtered import", append(importing, "--where", `row["country"] == "DE"`), `^6 rows: 0 accepted, 3 duplicates, 0 refused, 3 left out`},
		{"a mapping by an expression with quotes and commas", append(importing, "--set", `type==row["country"] == "DE" ? "purchase" : ["gift", "other"][0]`, "--dry-run"), `^6 rows: 4 would be sent`},
		{"a mapping of nothing", []string{"import", file, "--set", "user"}, `error: --set user: write FIELD=COLUMN`},
		{"presets are named", []string{"import", file, "--preset", "amazon"}, `error: .*online-retail, superstore`},
		{"a preset names the column that is missing", []string{"import", file, "--preset", "superstore"}, `error: .*Customer ID`},
		{"one mapping only", []string{"import", file, "--preset", "superstore", "--mapping", "m.yaml"}, `error: --preset and --mapping`},
		{"fields are named", []string{"import", file, "--set", "customer=customer"}, `error: --set: customer: .*use user, event_id`},

		{"an apply asks on a terminal only", []string{"apply", "-f", resources}, `error: .*add --yes`},
		{"and has done nothing then", []string{"segment", "list"}, `there are no segments yet: kohorta apply`},
		{"an apply, in whatever order files have", []string{"apply", "-f", resources, "--yes"}, `create +models/rfm\n[\s\S]*create +audiences/fans\n6 done`},
		{"again there is nothing to do", []string{"apply", "-f", resources}, `nothing to do`},
		{"a change names its fields", []string{"apply", "--yes", "-o", "json", "-f", write(t, "c.yaml", "segments: [{id: buyers, title: All buyers}]")}, `"action": "change",\s+"fields": \[\s+"title"\s+\],\s+"resource": "segments/buyers"`},
		{"pruning spares other kinds", []string{"apply", "--yes", "--prune", "-f", write(t, "p.yaml", "audiences: [{id: other, segment: segments/buyers, destination: destinations/shop}]")}, `create +audiences/other\ndelete +audiences/fans\n`},
		{"an empty list without pruning", []string{"apply", "--yes", "-f", write(t, "q.yaml", "audiences: []")}, `nothing to do`},
		{"no list at all", []string{"apply", "--yes", "--prune", "-f", write(t, "q.yaml", "audiences:\nmodels: # nothing")}, `nothing to do`},
		{"an empty list takes agreement, too", []string{"apply", "--prune", "-f", write(t, "q.yaml", "audiences: []")}, `error: this is no terminal`},
		{"an empty list", []string{"apply", "--yes", "--prune", "-f", write(t, "q.yaml", "audiences: []")}, `delete +audiences/other\n1 done`},
		{"back again", []string{"apply", "--yes", "--prune", "-f", resources}, `create +audiences/fans\n2 done`},
		{"an unknown list", []string{"apply", "-f", write(t, "l.yaml", "cohorts: []")}, `error: .*cohorts: no such list; there are models`},
		{"an unknown field", []string{"apply", "-f", write(t, "f.yaml", "segments: [{id: a, expresion: x}]")}, `error: .*segments\[0\]: a: .*"?expresion"?`},
		{"an entry without id", []string{"apply", "-f", write(t, "i.yaml", "segments: [{expression: x}]")}, `error: .*segments\[0\]: id: missing`},
		{"a word no enum has", []string{"apply", "-f", write(t, "e.yaml", "destinations: [{id: a, platform: myspace}]")}, `error: .*destinations\[0\]: a: .*myspace`},
		{"a rate above Meta's", []string{"apply", "--yes", "-f", write(t, "r.yaml", `destinations: [{id: a, platform: meta, account: "1", token_secret: t, requests_per_second: 101}]`)}, `error: create destinations/a: .*requests_per_second: is 101; use up to 100`},
		{"a rate above TikTok's", []string{"apply", "--yes", "-f", write(t, "s.yaml", `destinations: [{id: a, platform: tiktok, account: "1", token_secret: t, requests_per_second: 51}]`)}, `error: create destinations/a: .*requests_per_second: is 51; use up to 50`},
		{"tokens in the clear", []string{"apply", "--yes", "-f", write(t, "u.yaml", `destinations: [{id: a, platform: meta, account: "1", token_secret: t, base_url: "http://example.invalid"}]`)}, `error: create destinations/a: .*base_url: .*use https`},
		{"an expression that is none", []string{"apply", "--yes", "-f", write(t, "x.yaml", "segments: [{id: a, expression: 'did('}]")}, `error: create segments/a: [^:]*expression`},

		{"models", []string{"model", "list"}, `(?m)^name +title +version +update time +next train time\nrfm +0 `},
		{"a training", []string{"model", "train", "rfm"}, `^training of models/rfm: succeeded in [\d.]+ s\n  recency cut points[\s\S]*users 3, version 1\n`},
		{"a training that cannot be", []string{"model", "train", "none"}, `error: .*models/none`},
		{"clusters", []string{"model", "train", "ways", "-o", "json"}, `"state": "STATE_SUCCEEDED"`},
		{"one score", []string{"model", "score", "rfm", "dan"}, `"recency_days"`},
		{"no score", []string{"model", "score", "rfm", "eve"}, `error: .*not found`},
		{"all scores", []string{"model", "scores", "rfm"}, `^user_id,r,f,m,segment,recency_days,frequency,monetary,currency\nann,\d,\d,\d,\w+,\d+,2,30.5,USD\n(.*\n){2}$`},
		{"all scores as JSON", []string{"model", "scores", "ways", "-o", "json"}, `^\{.*"user_id": ?"ann".*\}\n\{`},
		{"scores in no such format", []string{"model", "scores", "rfm", "-o", "text"}, `error: --output: "text" is neither csv nor json`},

		{"segments nobody is in yet", []string{"segment", "list"}, `buyers +Buyers +not evaluated yet  did`},
		{"an evaluation", []string{"segment", "evaluate"}, `^evaluation of segments: succeeded`},
		{"of one user", []string{"segment", "evaluate", "--user", "ann", "--output", "json"}, `"kind": "KIND_EVALUATE"`},
		{"at a day", []string{"segment", "preview", "true", "--at", "yesterday"}, `error: .*neither a date \(2026-12-31\) nor RFC 3339`},
		{"segments", []string{"segment", "list"}, `buyers +Buyers +3  did\("purchase", "all"\)\nfans`},
		{"one segment", []string{"segment", "get", "buyers"}, `"name": "segments/buyers"`},
		{"its members", []string{"segment", "members", "buyers"}, `^ann\nbob\ndan\n$`},
		{"a preview", []string{"segment", "preview", `did("purchase", "all") && sum("purchase", "all") > 100.0`}, `1 of 3 users\n`},
		{"a comparison", []string{"segment", "compare", "buyers", `count("purchase", "all") >= 2`, "--sample", "1"}, `^segment +enter +leave +stay[^\n]*\nbuyers +0 +2 +1 +(bob|dan)\n`},
		{"of a new segment", []string{"segment", "compare", "all", "true", "-o", "json"}, `"entering_count": ?"3"`},
		{"of no segment", []string{"segment", "compare", "none"}, `error: .*segments/none`},
		{"a plan shows whom a change moves", []string{"apply", "--yes", "-f", write(t, "v.yaml", `segments: [{id: buyers, expression: 'count("purchase", "all") >= 2'}]`)}, `change +segments/buyers +expression +0 enter, 2 leave`},
		{"the change is awaited", []string{"segment", "evaluate"}, `^evaluation of segments: succeeded`},
		{"its members then", []string{"segment", "members", "buyers"}, `^ann\n$`},
		{"its versions", []string{"segment", "versions", "buyers"}, `(?m)^ +2 .* in force +count\("purchase", "all"\) >= 2\n +1 .*did\("purchase", "all"\)$`},
		{"versions as JSON", []string{"segment", "versions", "buyers", "-o", "json"}, `"in_force": ?true`},
		{"a rollback", []string{"segment", "rollback", "buyers", "1"}, `^evaluation of segments: succeeded`},
		{"its members again", []string{"segment", "members", "buyers"}, `^ann\nbob\ndan\n$`},
		{"back to the newest version", []string{"segment", "rollback", "buyers", "3"}, `error: .*version: 3 is the newest version`},
		{"back to no version", []string{"segment", "rollback", "buyers", "9"}, `error: .*version: there is no version 9`},
		{"back to a word", []string{"segment", "rollback", "buyers", "first"}, `error: "first" is not the number of a version`},
		{"a wrong expression", []string{"segment", "preview", `did("purchase"`}, `error: 1:15: missing '\)'`},

		{"a user's segments", []string{"user", "segments", "ann"}, `segments/buyers\nsegments/fans`},
		{"nobody's segments", []string{"user", "segments", "eve"}, `in no segment`},
		{"a check", []string{"user", "check", "ann", "buyers"}, `^true\n$`},
		{"a check as JSON", []string{"user", "check", "eve", "buyers", "-o", "json"}, `"member": false`},
		{"a consent", []string{"user", "consent", "ann"}, `recorded`},

		{"a plan", []string{"sync", "plan", "fans"}, `^add 1, remove 0, change 0, leave 0; 1 request, about .*\nby diff: 1 request, .*\nnot sent, no consent: 2\n$`},
		{"a sync", []string{"sync", "start", "fans"}, `^sync of audiences/fans: succeeded in [\d.]+ s\n  members 3, requests 1\n  additions: 1 planned, 1 confirmed\n  suppressed: 2 no consent\n  runs/`},
		{"nothing to approve", []string{"sync", "approve", "0193a0c2-0000-7000-8000-000000000000"}, `error: .*0193a0c2`},
		{"audiences", []string{"audience", "list"}, `fans +segments/fans +destinations/shop +\d+`},
		{"destinations", []string{"destination", "get", "shop"}, `"platform": "PLATFORM_META"`},
		{"runs", []string{"run", "list", "--limit", "1"}, `sync +audiences/fans +succeeded`},
		{"runs as JSON", []string{"run", "list", "-o", "json"}, `"kind": "KIND_TRAIN"`},
		{"no run", []string{"run", "get", "0193a0c2-0000-7000-8000-000000000000"}, `error: .*0193a0c2`},

		{"what is used stays", []string{"segment", "delete", "buyers"}, `error: .*segments/fans`},
		{"a deletion", []string{"audience", "delete", "fans"}, `audiences/fans deleted`},
		{"no such output", []string{"run", "list", "-o", "xml"}, `error: --output: "xml" is neither text nor json`},
	} {
		t.Run(step.name, func(t *testing.T) {
			out, err := kohorta(t, address, step.args...)
			if want, isError := strings.CutPrefix(step.want, "error: "); isError {
				require.Error(t, err, out)
				require.Regexp(t, "^error: "+want, explain(err))
				require.NotContains(t, explain(err), "rpc error")
				return
			}
			require.NoError(t, err, "%s", out)
			require.Regexp(t, step.want, out)
			if strings.Contains(strings.Join(step.args, " "), "json") && step.args[0] != "model" {
				require.True(t, json.Valid([]byte(out)), out)
			}
		})
	}
	refused, err := os.Open(report)
	require.NoError(t, err)
	defer refused.Close()
	rows, err := csv.NewReader(refused).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 3)
	require.Equal(t, []string{"line", "field", "reason"}, rows[0])
	require.Equal(t, []string{"5", "time"}, rows[1][:2])
	require.Equal(t, []string{"6", "user_id"}, rows[2][:2])
}

func TestNoServiceIsSaid(t *testing.T) {
	_, err := kohorta(t, "127.0.0.1:1", "segment", "list")
	require.EqualError(t, err, "no service answers at 127.0.0.1:1: start one with kohorta serve, or name another with --server")
}

// TestKindsAreInTheContract finds the five calls of each kind, with the fields that kinds.go sets.
func TestKindsAreInTheContract(t *testing.T) {
	services := map[string]grpc.ServiceDesc{}
	for _, service := range []grpc.ServiceDesc{audiencev1.ModelService_ServiceDesc, audiencev1.SegmentService_ServiceDesc, audiencev1.AudienceService_ServiceDesc, audiencev1.WebhookService_ServiceDesc} {
		services[service.ServiceName] = service
	}
	for _, k := range kinds {
		t.Run(k.plural, func(t *testing.T) {
			var calls []string
			for _, method := range services[k.service].Methods {
				calls = append(calls, method.MethodName)
			}
			require.Subset(t, calls, []string{"Create" + k.noun, "Get" + k.noun, "List" + k.noun + "s", "Update" + k.noun, "Delete" + k.noun})
			has := func(message string, fields ...string) {
				for _, field := range fields {
					require.NotNil(t, newMessage(message).Descriptor().Fields().ByTextName(field), "%s.%s", message, field)
				}
			}
			has("Create"+k.noun+"Request", k.singular+"_id", k.singular)
			has("Get"+k.noun+"Request", "name")
			has("Get"+k.noun+"Response", k.singular)
			has("List"+k.noun+"sRequest", "page_size", "page_token")
			has("List"+k.noun+"sResponse", k.plural, "next_page_token")
			has("Update"+k.noun+"Request", k.singular, "update_mask")
			has("Delete"+k.noun+"Request", "name")
			has(k.noun, "name")
			for _, column := range columns[k.singular].fields {
				field, _, _ := strings.Cut(column, ".")
				has(k.noun, field)
			}
		})
	}
}

// TestSecretsStayInTheirDirectory: whatever a destination calls its token, a file elsewhere does not open its account.
func TestSecretsStayInTheirDirectory(t *testing.T) {
	_, url := startPlatforms(t)
	secrets := secretsOfSandbox(t)
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte(sandbox.DemoMetaToken), 0o600))
	relative, err := filepath.Rel(secrets, outside)
	require.NoError(t, err)
	s := &service{config: Config{SecretsDir: secrets}, log: quiet()}
	check := func(name string) error {
		connected, err := s.connect(audience.Destination{
			ID: "d", Platform: audience.PlatformMeta, Account: sandbox.DemoMetaAccount, TokenSecret: name, AppSecret: "meta-app-secret", BaseURL: url,
		})
		if err != nil {
			return err
		}
		return connected.Check(t.Context())
	}
	require.NoError(t, check("meta-token"))
	for _, name := range []string{outside, relative, "a/../" + relative, "..", "/", "."} {
		require.Error(t, check(name), name)
	}
}
