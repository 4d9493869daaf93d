package sandbox

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	annHash   = "c9556853d9f4efa243a062fed91566563d0c1d1385a4ef117671a3ac1bfbab40" // ann.lee@example.org
	phoneHash = "8efb96404be52f6109b9db0f687274a81e9e3cc23fabd6f0da5d38baa3d2facd" // 4915112345678
	beaHash   = "27b745b2e92331579b40194e9d232d1fb3fba7a39a7303a63b064ea73917000f" // bea@example.org
)

// TestMetaWorkedProof checks the proofs that the contract sheet prints.
func TestMetaWorkedProof(t *testing.T) {
	const token, secret = "EAATESTTOKEN123", "0123456789abcdef0123456789abcdef"
	const plain, timed = "02810c917b3e327d0bc6ccf57ac73ac327c135ce03a538f1a157997bb973e258", "cd1e7cd4ec1182df21c4e4a5c6de64f979f764e1ed37a0c744722f7b10dd5616"
	at := time.Unix(1790000000, 0)
	s, base := start(t, Config{Now: func() time.Time { return at },
		Meta: MetaConfig{AppSecret: secret, Tokens: map[string][]string{token: {DemoMetaAccount}, "EAAOTHER": nil}}})
	for _, c := range []struct {
		name  string
		query url.Values
		want  string // code/subcode, 0/0 for success
		text  string
	}{
		{"plain", url.Values{"appsecret_proof": {plain}}, "0/0", ""},
		{"timed", url.Values{"appsecret_proof": {timed}, "appsecret_time": {"1790000000"}}, "0/0", ""},
		{"missing", url.Values{}, "100/0", "appsecret_proof argument"},
		{"of another token", url.Values{"appsecret_proof": {timed}}, "100/0", "Invalid appsecret_proof provided in the API argument"},
		{"time changed", url.Values{"appsecret_proof": {timed}, "appsecret_time": {"1790000001"}}, "100/0", "Invalid appsecret_proof"},
		{"token unknown", url.Values{"access_token": {"EAANO"}}, "190/0", ""},
		{"token missing", url.Values{"access_token": {""}}, "190/0", ""},
		{"token without role", url.Values{"access_token": {"EAAOTHER"}, "appsecret_proof": {appSecretProof(secret, "EAAOTHER")}}, "200/0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.query.Has("access_token") {
				c.query.Set("access_token", token)
			}
			a := do(t, newRequest(t, "GET", base+"/v26.0/act_"+DemoMetaAccount+"?"+c.query.Encode(), "", nil))
			require.Equal(t, c.want, a.metaCode(), a.text)
			require.Contains(t, a.text, c.text)
		})
	}
	t.Run("timed proof after five minutes", func(t *testing.T) {
		s.Advance(301 * time.Second)
		q := url.Values{"access_token": {token}, "appsecret_proof": {timed}, "appsecret_time": {"1790000000"}}
		a := do(t, newRequest(t, "GET", base+"/v26.0/act_"+DemoMetaAccount+"?"+q.Encode(), "", nil))
		require.Equal(t, "100/0", a.metaCode())
		require.Equal(t, "GraphMethodException", a.at("error", "type"))
	})
	t.Run("bearer header", func(t *testing.T) {
		req := newRequest(t, "GET", base+"/v26.0/act_"+DemoMetaAccount+"?appsecret_proof="+plain, "", nil)
		req.Header.Set("Authorization", "Bearer "+token)
		require.Equal(t, 200, do(t, req).status)
	})
}

// TestMetaWorkedUsers is the request and answer of §2.4 of the contract sheet, then the recorded reject of an empty EXTERN_ID.
func TestMetaWorkedUsers(t *testing.T) {
	s, meta := startMeta(t, Config{})
	id := meta.audience("VIP 90d")
	require.Equal(t, "120210000000000001", id)
	a := meta.call("POST", "/"+id+"/users", map[string]any{
		"session": rawJSON(`{"session_id":7421187300012345678,"batch_seq":1,"last_batch_flag":true,"estimated_num_total":2}`),
		"payload": rawJSON(`{"schema":["EXTERN_ID","EMAIL","PHONE"],"is_raw":true,"data":[["u-1001","` + annHash + `",""],["u-1002","","` + phoneHash + `"]]}`)})
	require.JSONEq(t, `{"audience_id":"120210000000000001","session_id":"7421187300012345678","num_received":2,"num_invalid_entries":0,"invalid_entry_samples":{}}`, a.text)
	require.Equal(t, "v26.0", a.header.Get("facebook-api-version"))
	require.Equal(t, []Row{
		{ExternID: "u-1001", Keys: map[string]string{"EMAIL": annHash}},
		{ExternID: "u-1002", Keys: map[string]string{"PHONE": phoneHash}},
	}, s.Meta().Members(id))

	a = meta.call("POST", "/"+id+"/users", map[string]any{
		"payload": rawJSON(`{"schema":["EXTERN_ID","EMAIL"],"is_raw":true,"data":[["","` + beaHash + `"],["u-1001","` + annHash + `"]]}`)})
	require.EqualValues(t, 2, a.json["num_received"])
	require.EqualValues(t, 1, a.json["num_invalid_entries"])
	require.Equal(t, map[string]any{`["","` + beaHash + `"]`: "empty external ID"}, a.json["invalid_entry_samples"])
	require.Len(t, s.Meta().Members(id), 2, "the good row was there before, the bad one is not taken")
}

// TestMetaEncodings sends the same rows in every form that production connectors use.
func TestMetaEncodings(t *testing.T) {
	payload := `{"schema":["EMAIL"],"is_raw":true,"data":[["` + annHash + `"]]}`
	form := url.Values{"payload": {payload}, "access_token": {DemoMetaToken}, "appsecret_proof": {appSecretProof(DemoMetaAppSecret, DemoMetaToken)}}
	override := url.Values{"method": {"DELETE"}}
	for k, v := range form {
		override[k] = v
	}
	var parts bytes.Buffer
	w := multipart.NewWriter(&parts)
	for k, v := range form {
		require.NoError(t, w.WriteField(k, v[0]))
	}
	require.NoError(t, w.Close())
	asJSON := string(jsonText(map[string]any{"payload": rawJSON(payload), "access_token": form.Get("access_token"), "appsecret_proof": form.Get("appsecret_proof")}))
	asText := string(jsonText(map[string]any{"payload": payload, "access_token": form.Get("access_token"), "appsecret_proof": form.Get("appsecret_proof")}))
	const urlencoded = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, method, query, contentType, body string
		held                                   int // members afterwards, one before a removal
	}{
		{"form", "POST", "", urlencoded, form.Encode(), 1},
		{"multipart", "POST", "", w.FormDataContentType(), parts.String(), 1},
		{"JSON", "POST", "", "application/json", asJSON, 1},
		{"JSON with payload as text", "POST", "", "application/json", asText, 1},
		{"DELETE with JSON body", "DELETE", "", "application/json", asJSON, 0},
		{"DELETE in the query", "DELETE", "?" + form.Encode(), "", "", 0},
		{"POST as DELETE", "POST", "", urlencoded, override.Encode(), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, meta := startMeta(t, Config{})
			id := meta.audience("a")
			if c.held == 0 {
				require.Equal(t, 200, meta.call("POST", "/"+id+"/users", map[string]any{"payload": rawJSON(payload)}).status)
				require.Len(t, s.Meta().Members(id), 1)
			}
			a := do(t, newRequest(t, c.method, meta.base+"/"+id+"/users"+c.query, c.contentType, []byte(c.body)))
			require.Equal(t, 200, a.status, a.text)
			require.Len(t, s.Meta().Members(id), c.held)
		})
	}
	t.Run("a query over 64 KB breaks", func(t *testing.T) {
		_, meta := startMeta(t, Config{})
		form.Set("payload", strings.Repeat("x", 65<<10))
		a := do(t, newRequest(t, "DELETE", meta.base+"/1/users?"+form.Encode(), "", nil))
		require.Equal(t, 413, a.status)
		require.Contains(t, a.header.Get("Content-Type"), "html")
	})
}

// TestMetaRefusals are requests that fail as a whole: nothing of them may be applied.
func TestMetaRefusals(t *testing.T) {
	rows := func(n int) string {
		one := `["` + annHash + `"]`
		return `{"schema":["EMAIL"],"data":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
	}
	for _, c := range []struct {
		name    string
		payload string
		more    map[string]any
		want    string
		text    string
	}{
		{"unknown parameter", rows(1), map[string]any{"payloads": "x"}, "100/0", "payloads"},
		{"unknown member of payload", `{"schema":["EMAIL"],"rows":[]}`, nil, "100/0", "rows"},
		{"no JSON", `{"schema":`, nil, "100/0", "payload"},
		{"two values", rows(1) + `{}`, nil, "100/0", "payload"},
		{"empty data", `{"schema":["EMAIL"],"data":[]}`, nil, "100/0", "Data is missing"},
		{"data missing", `{"schema":["EMAIL"]}`, nil, "100/0", "Data is missing"},
		{"schema missing", `{"data":[["x"]]}`, nil, "100/0", "schema"},
		{"empty schema", `{"schema":[],"data":[[]]}`, nil, "100/0", "schema"},
		{"unknown key", `{"schema":["MAIL"],"data":[["x"]]}`, nil, "100/0", "MAIL"},
		{"duplicate key", `{"schema":["EMAIL","EMAIL"],"data":[["",""]]}`, nil, "100/0", "Duplicate"},
		{"ragged row", `{"schema":["EMAIL","PHONE"],"data":[["` + annHash + `",""],["` + annHash + `"]]}`, nil, "100/0", "row 1"},
		{"row is no list", `{"schema":["EMAIL"],"data":["` + annHash + `"]}`, nil, "100/0", "row 0"},
		{"10,001 rows", rows(10_001), nil, "1/99", ""},
		{"PAGEUID without page", `{"schema":["PAGEUID"],"data":[["12"]]}`, nil, "100/0", "page_ids"},
		{"UID without app", `{"schema":["UID"],"data":[["12"]]}`, nil, "100/0", "app_ids"},
		{"string schema on an array audience", `{"schema":"EMAIL_SHA256","data":["` + annHash + `"]}`, nil, "2650/0", "FILE_IMPORTED.MULTI_HASHES"},
		{"session without id", rows(1), map[string]any{"session": rawJSON(`{"batch_seq":1}`)}, "100/0", "session_id"},
		{"batch 0", rows(1), map[string]any{"session": rawJSON(`{"session_id":1,"batch_seq":0}`)}, "100/0", "batch_seq"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, meta := startMeta(t, Config{})
			id := meta.audience("a")
			first := `{"schema":["EMAIL"],"data":[["` + beaHash + `"]]}`
			require.Equal(t, 200, meta.call("POST", "/"+id+"/users", map[string]any{"payload": rawJSON(first)}).status)
			fields := map[string]any{"payload": c.payload}
			for k, v := range c.more {
				fields[k] = v
			}
			a := meta.call("POST", "/"+id+"/users", fields)
			require.Equal(t, c.want, a.metaCode(), a.text)
			require.Equal(t, 400, a.status)
			require.Contains(t, a.text, c.text)
			require.Len(t, s.Meta().Members(id), 1)
		})
	}
}

// TestMetaBadRows are single rows that are counted invalid while the rest is taken.
func TestMetaBadRows(t *testing.T) {
	for _, c := range []struct{ name, key, bad, good string }{
		{"clear e-mail", "EMAIL", `"ann.lee@example.org"`, `"` + annHash + `"`},
		{"upper-case hash", "EMAIL", `"` + strings.ToUpper(annHash) + `"`, `"` + annHash + `"`},
		{"hash of nothing", "EMAIL", `"` + emptyHash + `"`, `"` + annHash + `"`},
		{"number for a hash", "PHONE", `4915112345678`, `"` + phoneHash + `"`},
		{"null", "EMAIL", `null`, `"` + annHash + `"`},
		{"all blank", "EMAIL", `""`, `"` + annHash + `"`},
		{"hashed device id", "MADID", `"` + annHash + `"`, `"38400000-8cf0-11bd-b23e-10b96e40000d"`},
		{"upper-case device id", "MADID", `"38400000-8CF0-11BD-B23E-10B96E40000D"`, `"38400000-8cf0-11bd-b23e-10b96e40000d"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, meta := startMeta(t, Config{})
			id := meta.audience("a")
			a := meta.call("POST", "/"+id+"/users", map[string]any{"payload": fmt.Sprintf(`{"schema":[%q],"data":[[%s],[%s]]}`, c.key, c.bad, c.good)})
			require.EqualValues(t, 1, a.json["num_invalid_entries"], a.text)
			require.Contains(t, a.json["invalid_entry_samples"], "["+c.bad+"]")
			require.Len(t, s.Meta().Members(id), 1)
		})
	}
}

// TestMetaValueBased covers the column that value-based audiences insist on, limited data use beside it.
func TestMetaValueBased(t *testing.T) {
	s, meta := startMeta(t, Config{})
	a := meta.call("POST", "/act_"+DemoMetaAccount+"/customaudiences", map[string]any{"name": "v", "subtype": "CUSTOM",
		"customer_file_source": "USER_PROVIDED_ONLY", "is_value_based": true})
	id := a.json["id"].(string)
	a = meta.call("POST", "/"+id+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + annHash + `"]]}`})
	require.Equal(t, "100/0", a.metaCode())
	require.Contains(t, a.text, "Value-Based Custom Audience requires LOOKALIKE_VALUE attribute")
	a = meta.call("POST", "/"+id+"/users", map[string]any{"payload": `{"schema":["EMAIL","LOOKALIKE_VALUE","DATA_PROCESSING_OPTIONS",
		"DATA_PROCESSING_OPTIONS_COUNTRY","DATA_PROCESSING_OPTIONS_STATE"],"is_raw":true,
		"data":[["` + annHash + `",44.5,["LDU"],1,1000],["` + beaHash + `",0,[],0,0],["` + phoneHash + `","7",[],0,0],["` + phoneHash + `",-1,[],0,0]]}`})
	require.EqualValues(t, 2, a.json["num_invalid_entries"], a.text)
	require.Equal(t, []Row{
		{Keys: map[string]string{"EMAIL": beaHash}, LookalikeValue: "0"},
		{Keys: map[string]string{"EMAIL": annHash}, LookalikeValue: "44.5"},
	}, s.Meta().Members(id))

	a = meta.call("POST", "/act_"+DemoMetaAccount+"/customaudiences", map[string]any{"name": "like v", "subtype": "LOOKALIKE",
		"origin_audience_id": id, "lookalike_spec": `{"type":"similarity","country":"DE"}`})
	require.Contains(t, a.text, "must be custom_ratio for a value-based seed")
	require.NoError(t, s.Meta().SetValueTerms(DemoMetaAccount, false))
	require.Error(t, s.Meta().SetValueTerms("nobody", false))
	a = meta.call("POST", "/act_"+DemoMetaAccount+"/customaudiences", map[string]any{"name": "w", "subtype": "CUSTOM",
		"customer_file_source": "USER_PROVIDED_ONLY", "is_value_based": true})
	require.Equal(t, "2663/0", a.metaCode())
}

// TestMetaRemovalMatchesAnyKey removes people by one of their keys, and by EXTERN_ID while its mapping lives.
func TestMetaRemovalMatchesAnyKey(t *testing.T) {
	for _, c := range []struct {
		name   string
		later  time.Duration
		schema string
		row    string
		left   int
	}{
		{"by the other key", 0, `["PHONE"]`, `["` + phoneHash + `"]`, 1},
		{"keys win over EXTERN_ID", 0, `["EXTERN_ID","EMAIL"]`, `["u-1","` + beaHash + `"]`, 1},
		{"keys of nobody", 0, `["EXTERN_ID","EMAIL"]`, `["u-1","` + strings.Repeat("ab", 32) + `"]`, 2},
		{"by EXTERN_ID alone", 89 * 24 * time.Hour, `["EXTERN_ID"]`, `["u-1"]`, 1},
		{"by EXTERN_ID after 90 days", 91 * 24 * time.Hour, `["EXTERN_ID"]`, `["u-1"]`, 2},
		{"a first name finds nobody else", 0, `["FN"]`, `["` + annHash + `"]`, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, meta := startMeta(t, Config{})
			id := meta.audience("a")
			a := meta.call("POST", "/"+id+"/users", map[string]any{"payload": `{"schema":["EXTERN_ID","EMAIL","PHONE"],
				"data":[["u-1","` + annHash + `","` + phoneHash + `"],["u-2","` + beaHash + `",""]]}`})
			require.Equal(t, 200, a.status, a.text)
			s.Advance(c.later)
			a = meta.call("DELETE", "/"+id+"/users", map[string]any{"payload": `{"schema":` + c.schema + `,"data":[` + c.row + `]}`})
			require.Equal(t, 200, a.status, a.text)
			require.Len(t, s.Meta().Members(id), c.left)
		})
	}
	t.Run("EXTERN_ID alone adds to another audience", func(t *testing.T) {
		s, meta := startMeta(t, Config{})
		one, two := meta.audience("one"), meta.audience("two")
		meta.call("POST", "/"+one+"/users", map[string]any{"payload": `{"schema":["EXTERN_ID","EMAIL"],"data":[["u-1","` + annHash + `"]]}`})
		a := meta.call("POST", "/"+two+"/users", map[string]any{"payload": `{"schema":["EXTERN_ID"],"data":[["u-1"],["u-unknown"]]}`})
		require.EqualValues(t, 0, a.json["num_invalid_entries"])
		require.Equal(t, s.Meta().Members(one), s.Meta().Members(two))
	})
	t.Run("usersofanyaudience", func(t *testing.T) {
		s, meta := startMeta(t, Config{})
		one, two := meta.audience("one"), meta.audience("two")
		for _, id := range []string{one, two} {
			meta.call("POST", "/"+id+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + annHash + `"],["` + beaHash + `"]]}`})
		}
		a := meta.call("DELETE", "/act_"+DemoMetaAccount+"/usersofanyaudience", map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + annHash + `"]]}`})
		require.Equal(t, 200, a.status, a.text)
		for _, id := range []string{one, two} {
			require.Equal(t, []Row{{Keys: map[string]string{"EMAIL": beaHash}}}, s.Meta().Members(id))
		}
	})
}

// TestMetaSessions checks what is known of session ids on /users.
func TestMetaSessions(t *testing.T) {
	s, meta := startMeta(t, Config{})
	one, two := meta.audience("one"), meta.audience("two")
	payload := `{"schema":["EMAIL"],"data":[["` + annHash + `"]]}`
	first := meta.call("POST", "/"+one+"/users", map[string]any{"payload": payload}).json["session_id"]
	require.IsType(t, "", first)
	require.Equal(t, first, meta.call("POST", "/"+two+"/users", map[string]any{"payload": payload}).json["session_id"], "same method and schema")
	require.NotEqual(t, first, meta.call("DELETE", "/"+two+"/users", map[string]any{"payload": payload}).json["session_id"])

	send := func(batch int, last bool, hash string) answered {
		return meta.call("POST", "/"+one+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + hash + `"]]}`,
			"session": fmt.Sprintf(`{"session_id":9,"batch_seq":%d,"last_batch_flag":%t}`, batch, last)})
	}
	require.EqualValues(t, 1, send(1, false, beaHash).json["num_received"])
	require.EqualValues(t, 2, send(2, true, phoneHash).json["num_received"], "a session adds up")
	require.EqualValues(t, 2, send(3, false, strings.Repeat("ab", 32)).json["num_received"])
	require.Len(t, s.Meta().Members(one), 3, "what comes after the last batch is ignored")
}

// TestMetaCountsLag checks that counts follow a day late, in hundreds.
func TestMetaCountsLag(t *testing.T) {
	s, meta := startMeta(t, Config{Meta: MetaConfig{MatchRate: 0.5}})
	id := meta.audience("a")
	counts := func() string {
		a := meta.call("GET", "/"+id, map[string]any{"fields": "approximate_count_lower_bound,approximate_count_upper_bound,operation_status"})
		return fmt.Sprint(a.json["approximate_count_lower_bound"], a.json["approximate_count_upper_bound"], a.at("operation_status", "code"))
	}
	require.Equal(t, "-1 -1 410", counts())
	cells := make([]string, 500)
	for i := range cells {
		cells[i] = fmt.Sprintf(`["%064x"]`, i)
	}
	meta.call("POST", "/"+id+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[` + strings.Join(cells, ",") + `]}`})
	require.Equal(t, "-1 -1 200", counts())
	s.Advance(24 * time.Hour)
	require.Equal(t, "200 300 200", counts())
	meta.call("DELETE", "/"+id+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[` + strings.Join(cells[:400], ",") + `]}`})
	require.Equal(t, "200 300 200", counts())
	require.Len(t, s.Meta().Members(id), 100)
	s.Advance(24 * time.Hour)
	require.Equal(t, "0 100 200", counts())
}

// TestMetaAudienceLife creates, lists by pages, reads, renames and deletes.
func TestMetaAudienceLife(t *testing.T) {
	s, meta := startMeta(t, Config{})
	act := "/act_" + DemoMetaAccount + "/customaudiences"
	ids := []string{}
	for i := range 5 {
		ids = append(ids, meta.audience("a"+strconv.Itoa(i)))
	}
	listed := []string{}
	for a, pages := meta.call("GET", act, map[string]any{"fields": "name", "limit": 2}), 1; ; pages++ {
		for _, item := range a.json["data"].([]any) {
			listed = append(listed, item.(map[string]any)["id"].(string))
		}
		next, more := a.at("paging", "next").(string)
		if !more {
			require.Equal(t, 3, pages)
			break
		}
		a = do(t, newRequest(t, "GET", next, "", nil))
		require.Equal(t, 200, a.status, a.text)
	}
	require.Equal(t, ids, listed)

	require.Equal(t, `{"id":"`+ids[0]+`"}`, meta.call("GET", "/"+ids[0], nil).text, "only the id unless fields names more")
	require.Equal(t, map[string]any{"success": true}, meta.call("POST", "/"+ids[0], map[string]any{"name": "renamed"}).json)
	require.Equal(t, "renamed", meta.call("GET", "/"+ids[0], map[string]any{"fields": "name"}).json["name"])
	require.Equal(t, map[string]any{"success": true}, meta.call("DELETE", "/"+ids[0], nil).json)
	require.Equal(t, "100/33", meta.call("GET", "/"+ids[0], nil).metaCode())
	payload := map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + annHash + `"]]}`}
	require.Equal(t, "1487366/0", meta.call("POST", "/"+ids[0]+"/users", payload).metaCode())

	require.NoError(t, s.Meta().SetState(ids[1], StateFlagged))
	require.Equal(t, "100/1713228", meta.call("POST", "/"+ids[1]+"/users", payload).metaCode())
	require.EqualValues(t, 471, meta.call("GET", "/"+ids[1], map[string]any{"fields": "operation_status"}).at("operation_status", "code"))
	require.NoError(t, s.Meta().SetState(ids[2], StateUnshared))
	require.Equal(t, "1487301/0", meta.call("POST", "/"+ids[2]+"/users", payload).metaCode())
	require.NoError(t, s.Meta().SetTerms(DemoMetaAccount, false))
	require.Equal(t, "200/1870034", meta.call("POST", "/"+ids[3]+"/users", payload).metaCode())
	require.Equal(t, map[string]any{}, meta.call("GET", "/act_"+DemoMetaAccount, map[string]any{"fields": "tos_accepted"}).json["tos_accepted"])
}

// TestMetaCreateRefusals are creations that must not make an audience.
func TestMetaCreateRefusals(t *testing.T) {
	s, meta := startMeta(t, Config{QuotasOff: true})
	for name, fields := range map[string]map[string]any{
		"no name":          {"subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"},
		"no subtype":       {"name": "x", "customer_file_source": "USER_PROVIDED_ONLY"},
		"no source":        {"name": "x", "subtype": "CUSTOM"},
		"wrong source":     {"name": "x", "subtype": "CUSTOM", "customer_file_source": "MINE"},
		"181 days":         {"name": "x", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY", "retention_days": 181},
		"unknown field":    {"name": "x", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY", "colour": "red"},
		"spec on a custom": {"name": "x", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY", "origin_audience_id": "1"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, "100/0", meta.call("POST", "/act_"+DemoMetaAccount+"/customaudiences", fields).metaCode())
		})
	}
	require.Empty(t, s.Meta().Audiences())
	for i := range metaMaxAudiences {
		meta.audience("a" + strconv.Itoa(i))
	}
	a := meta.call("POST", "/act_"+DemoMetaAccount+"/customaudiences", map[string]any{"name": "x", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"})
	require.Equal(t, "2654/0", a.metaCode(), "the 501st")
}

// TestMetaVersions checks the version table against the clock.
func TestMetaVersions(t *testing.T) {
	for _, c := range []struct {
		version, day, want string
	}{
		{"v26.0", "2026-11-20", "0/0"},
		{"v25.0", "2026-11-20", "0/0"},
		{"v24.0", "2026-11-20", "2635/0"},
		{"v24.0", "2026-10-05", "0/0"},
		{"v19.0", "2026-11-20", "2635/0"},
		{"v26.0", "2026-07-28", "2500/0"},
		{"v27.0", "2026-11-20", "2500/0"},
	} {
		t.Run(c.version+" on "+c.day, func(t *testing.T) {
			day, err := time.Parse(time.DateOnly, c.day)
			require.NoError(t, err)
			_, base := start(t, Config{Now: func() time.Time { return day }})
			a := metaCalls{t, base + "/" + c.version}.call("GET", "/act_"+DemoMetaAccount, nil)
			require.Equal(t, c.want, a.metaCode(), a.text)
		})
	}
}

// TestMetaFresh checks the switches that make creation and removal harder.
func TestMetaFresh(t *testing.T) {
	s, meta := startMeta(t, Config{Meta: MetaConfig{FreshMiss: true, RemovalFloor: 2, SamplesAsArray: true, SessionRequired: true}})
	id := meta.audience("a")
	fields := map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + annHash + `"],["` + beaHash + `"],["bad"]]}`, "session": `{"session_id":"5","batch_seq":1}`}
	require.Equal(t, "803/0", meta.call("POST", "/"+id+"/users", fields).metaCode())
	a := meta.call("POST", "/"+id+"/users", fields)
	require.IsType(t, []any{}, a.json["invalid_entry_samples"], a.text)
	require.Equal(t, "200/1870047", meta.call("DELETE", "/"+id+"/users", fields).metaCode())
	require.Len(t, s.Meta().Members(id), 2)
	delete(fields, "session")
	require.Equal(t, "100/0", meta.call("POST", "/"+id+"/users", fields).metaCode())
}
