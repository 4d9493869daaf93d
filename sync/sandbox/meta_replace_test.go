package sandbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// replaceStep is one event of a replace and what must come of it.
type replaceStep struct {
	later   time.Duration
	edge    string // usersreplace unless named
	session int
	batch   int
	last    bool
	hash    string
	want    string // code/subcode
	status  int    // operation_status afterwards
	rows    int    // members afterwards
}

// TestMetaReplace walks the state machine of §2.5 of the contract sheet, an audience of two rows at the beginning.
func TestMetaReplace(t *testing.T) {
	a, b, c := strings.Repeat("aa", 32), strings.Repeat("bb", 32), strings.Repeat("cc", 32)
	for name, steps := range map[string][]replaceStep{
		"three batches": {
			{session: 1, batch: 1, hash: a, want: "0/0", status: 414, rows: 1},
			{session: 1, batch: 2, hash: b, want: "0/0", status: 414, rows: 2},
			{session: 1, batch: 2, hash: b, want: "0/0", status: 414, rows: 2},
			{session: 1, batch: 3, hash: c, last: true, want: "0/0", status: 414, rows: 3},
			{session: 1, batch: 4, hash: c, want: "2650/1870159", status: 414, rows: 3},
			{later: time.Minute, session: 1, batch: 4, hash: c, want: "2650/1870159", status: 200, rows: 3},
			{session: 2, batch: 1, last: true, hash: c, want: "0/0", status: 414, rows: 1},
		},
		"first batch missing": {{session: 1, batch: 2, hash: a, want: "2650/1870147", status: 200, rows: 2}},
		"others wait": {
			{session: 1, batch: 1, hash: a, want: "0/0", status: 414, rows: 1},
			{session: 2, batch: 1, hash: b, want: "2650/1870145", status: 414, rows: 1},
			{edge: "users", hash: b, want: "2650/1870145", status: 414, rows: 1},
			{session: 1, batch: 2, last: true, hash: c, want: "0/0", status: 414, rows: 2},
			{edge: "users", hash: b, want: "2650/1870148", status: 414, rows: 2},
			{session: 2, batch: 1, hash: b, want: "2650/1870148", status: 414, rows: 2},
			{later: time.Minute, edge: "users", hash: b, want: "0/0", status: 200, rows: 3},
		},
		"ninety minutes": {
			{session: 1, batch: 1, hash: a, want: "0/0", status: 414, rows: 1},
			{later: 89 * time.Minute, session: 1, batch: 2, hash: b, want: "0/0", status: 414, rows: 2},
			{later: time.Minute, session: 1, batch: 3, hash: c, want: "2650/1870158", status: 200, rows: 2},
			{edge: "users", hash: c, want: "0/0", status: 200, rows: 3},
		},
		"the first batch again starts over": {
			{session: 1, batch: 1, hash: a, want: "0/0", status: 414, rows: 1},
			{session: 1, batch: 2, hash: b, want: "0/0", status: 414, rows: 2},
			{session: 1, batch: 1, hash: a, want: "0/0", status: 414, rows: 1},
		},
		"no session": {{session: 0, batch: 1, hash: a, want: "100/0", status: 200, rows: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s, meta := startMeta(t, Config{})
			id := meta.audience("a")
			meta.call("POST", "/"+id+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + annHash + `"],["` + beaHash + `"]]}`})
			for i, step := range steps {
				s.Advance(step.later)
				fields := map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + step.hash + `"]]}`}
				edge := "usersreplace"
				if step.edge != "" {
					edge = step.edge
				}
				if step.session != 0 {
					fields["session"] = fmt.Sprintf(`{"session_id":%d,"batch_seq":%d,"last_batch_flag":%t}`, step.session, step.batch, step.last)
				}
				got := meta.call("POST", "/"+id+"/"+edge, fields)
				require.Equal(t, step.want, got.metaCode(), "step %d: %s", i, got.text)
				require.EqualValues(t, step.status, meta.call("GET", "/"+id, map[string]any{"fields": "operation_status"}).at("operation_status", "code"), "step %d", i)
				require.Len(t, s.Meta().Members(id), step.rows, "step %d", i)
			}
		})
	}
}

// TestMetaReplaceSessions reads the sessions edge: strings throughout, a stage that lingers.
func TestMetaReplaceSessions(t *testing.T) {
	s, meta := startMeta(t, Config{})
	id := meta.audience("a")
	require.JSONEq(t, `{"data":[]}`, meta.call("GET", "/"+id+"/sessions", nil).text)
	a := meta.call("POST", "/"+id+"/usersreplace", map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + annHash + `"],["bad"]]}`,
		"session": `{"session_id":653573199724136401,"batch_seq":1,"last_batch_flag":true}`})
	require.Equal(t, "653573199724136401", a.json["session_id"], a.text)
	s.Advance(time.Hour)
	require.JSONEq(t, fmt.Sprintf(`{"data":[{"session_id":"653573199724136401","start_time":"%d","end_time":"%d","num_received":"2","num_matched":"-1",
		"num_invalid_entries":"1","progress":"0","stage":"uploading"}]}`, noon.Unix(), noon.Add(time.Minute).Unix()),
		meta.call("GET", "/"+id+"/sessions", map[string]any{"session_id": "653573199724136401"}).text)
	require.JSONEq(t, `{"data":[]}`, meta.call("GET", "/"+id+"/sessions", map[string]any{"session_id": "7"}).text)
}

// TestMetaReplaceFails lets a replace fail, and refuses one of an audience that is too large.
func TestMetaReplaceFails(t *testing.T) {
	s, meta := startMeta(t, Config{Meta: MetaConfig{ReplaceLimit: 3}})
	id := meta.audience("a")
	status := func() any {
		return meta.call("GET", "/"+id, map[string]any{"fields": "operation_status"}).at("operation_status", "code")
	}
	send := func(session int, hashes ...string) answered {
		return meta.call("POST", "/"+id+"/usersreplace", map[string]any{"session": fmt.Sprintf(`{"session_id":%d,"batch_seq":1}`, session),
			"payload": `{"schema":["EMAIL"],"data":[["` + strings.Join(hashes, `"],["`) + `"]]}`})
	}
	require.Error(t, s.Meta().FailReplace(id))
	require.Equal(t, "0/0", send(1, annHash, beaHash).metaCode())
	require.NoError(t, s.Meta().FailReplace(id))
	require.EqualValues(t, 415, status())
	require.Len(t, s.Meta().Members(id), 2, "half an audience")
	require.Equal(t, "0/0", send(2, annHash, beaHash, phoneHash).metaCode())
	require.EqualValues(t, 414, status())
	require.Equal(t, "2650/1870144", send(3, annHash).metaCode())
}

// TestMetaLookalike creates a lookalike and goes through its refusals.
func TestMetaLookalike(t *testing.T) {
	s, meta := startMeta(t, Config{})
	seed, small := meta.audience("seed"), meta.audience("small")
	rows := []string{}
	for i := range 100 {
		rows = append(rows, fmt.Sprintf(`["%064x"]`, i))
	}
	meta.call("POST", "/"+seed+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[` + strings.Join(rows, ",") + `]}`})
	meta.call("POST", "/"+small+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[` + strings.Join(rows[:99], ",") + `]}`})
	create := func(origin, spec string) answered {
		return meta.call("POST", "/act_"+DemoMetaAccount+"/customaudiences", map[string]any{"name": "lal", "subtype": "LOOKALIKE",
			"origin_audience_id": origin, "lookalike_spec": spec})
	}
	const worked = `{"type":"custom_ratio","starting_ratio":0.01,"ratio":0.03,"country":"DE"}`
	for _, c := range []struct{ name, origin, spec, want string }{
		{"worked example", seed, worked, "0/0"},
		{"the same again", seed, worked, "2654/1713007"},
		{"another country", seed, strings.Replace(worked, "DE", "AT", 1), "0/0"},
		{"ratio 0.21", seed, `{"type":"custom_ratio","ratio":0.21,"country":"DE"}`, "100/0"},
		{"ratio 0.015", seed, `{"type":"custom_ratio","ratio":0.015,"country":"DE"}`, "100/0"},
		{"start above ratio", seed, `{"type":"custom_ratio","starting_ratio":0.05,"ratio":0.03,"country":"DE"}`, "100/0"},
		{"no country", seed, `{"type":"similarity"}`, "100/0"},
		{"unknown type", seed, `{"type":"close","country":"DE"}`, "100/0"},
		{"no spec", seed, ``, "100/0"},
		{"seed of 99", small, worked, "2654/0"},
		{"unknown seed", "1", worked, "100/0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := create(c.origin, c.spec)
			require.Equal(t, c.want, a.metaCode(), a.text)
		})
	}
	a := meta.call("GET", "/"+seed, map[string]any{"fields": "lookalike_audience_ids"})
	require.Len(t, a.json["lookalike_audience_ids"], 2)
	require.Equal(t, "2656/0", meta.call("DELETE", "/"+seed, nil).metaCode())
	require.NoError(t, s.Meta().SetState(seed, StateFlagged))
	require.Equal(t, "100/1713232", create(seed, strings.Replace(worked, "DE", "FR", 1)).metaCode())
}
