package sandbox

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	priyaHash = "eb7540925a9943708c5b93fba67838a7b9530473048619eb39ca5584865451cf" // e-mail
	kimHash   = "5226e22ea28ebc49208b4367539dd47506295d8300dab3aaae412d0e6b187579" // e-mail
	obrien    = "bb935b572743ac9b28648da7900e1875540b81727f43a1b9576114393ae0c308" // e-mail
	auHash    = "02d004954a894e38098d70a1204432ae8e2b2e7cc12b93e2bb0eb6b6ed2f3fe0" // phone
	usHash    = "9e1919ad78a34fd67a84bfbcf2fea14074065517bea32e92924771c3f92e5462" // phone
)

// segment creates a segment and returns its id.
func segment(t *testing.T, base, name string) string {
	t.Helper()
	a := tiktok(t, base, "segment/audience/", `{"advertiser_id":"`+DemoTikTokAdvertiser+`","action":"create","custom_audience_name":"`+name+`"}`)
	require.Equal(t, 0, a.code(), a.text)
	return a.at("data", "audience_id").(string)
}

// TestTikTokWorkedMapping is the example of §2.2 of the contract sheet.
func TestTikTokWorkedMapping(t *testing.T) {
	s, base := start(t, Config{})
	one, two := segment(t, base, "churn-risk-90d"), segment(t, base, "churn-risk-90d")
	require.NotEqual(t, one, two, "names are not unique")
	request := strings.NewReplacer("170000001", one, "170000002", two).Replace(`{
	  "advertiser_ids": ["7000000000000000001"], "action": "add", "id_schema": ["EMAIL_SHA256", "PHONE_SHA256"],
	  "batch_data": [
	    [ {"id":"` + priyaHash + `","audience_ids":["170000001","170000002"]}, {"id":"` + auHash + `","audience_ids":["170000001","170000002"]} ],
	    [ {}, {"id":"` + usHash + `","audience_ids":["170000001"]} ]]}`)
	a := tiktok(t, base, "segment/mapping/", request)
	require.Equal(t, 0, a.code(), a.text)
	require.Equal(t, "OK", a.json["message"])
	require.NotEmpty(t, a.json["request_id"])
	require.Equal(t, a.json["request_id"], a.header.Get("X-TT-LOGID"))
	require.NotContains(t, a.json, "data")
	require.Equal(t, []Member{{"EMAIL_SHA256", priyaHash}, {"PHONE_SHA256", auHash}, {"PHONE_SHA256", usHash}}, s.TikTok().Members(one))
	require.Equal(t, []Member{{"EMAIL_SHA256", priyaHash}, {"PHONE_SHA256", auHash}}, s.TikTok().Members(two))

	remove := `{"advertiser_ids":["7000000000000000001"],"action":"delete","id_schema":["phone_sha256"],"batch_data":[[{"id":"` + auHash + `","audience_ids":["` + one + `"]}]]}`
	for range 2 { // a repeat is harmless
		require.Equal(t, 0, tiktok(t, base, "segment/mapping/", remove).code())
		require.Equal(t, []Member{{"EMAIL_SHA256", priyaHash}, {"PHONE_SHA256", usHash}}, s.TikTok().Members(one))
	}
}

// TestTikTokAccess covers path, version, method and token.
func TestTikTokAccess(t *testing.T) {
	_, base := start(t, Config{TikTok: TikTokConfig{Tokens: map[string][]string{DemoTikTokToken: {DemoTikTokAdvertiser}, "tok-none": {}}}})
	for _, c := range []struct {
		name, method, path, token, body string
		status, code                    int
		text                            string
	}{
		{"good token", "GET", "v1.3/user/info/", DemoTikTokToken, "", 200, 0, "OK"},
		{"no final slash", "GET", "v1.3/user/info", DemoTikTokToken, "", 404, -1, "404 page not found"},
		{"unknown path", "GET", "v1.3/user/name/", DemoTikTokToken, "", 404, -1, "404 page not found"},
		{"wrong method", "POST", "v1.3/user/info/", DemoTikTokToken, "", 405, -1, ""},
		{"old version", "GET", "v1.2/user/info/", DemoTikTokToken, "", 200, 40006, ""},
		{"no token", "GET", "v1.3/user/info/", "", "", 200, 40104, "Access token is null, you should set it in http header with key Access-Token."},
		{"unknown token", "GET", "v1.3/user/info/", "tok-x", "", 200, 40105, ""},
		{"advertiser did not grant", "POST", "v1.3/segment/audience/", "tok-none", `{"advertiser_id":"7000000000000000001","custom_audience_name":"x"}`, 200, 40001, "/segment/audience/:POST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := newRequest(t, c.method, base+"/open_api/"+c.path, "application/json", []byte(c.body))
			if c.token != "" {
				req.Header.Set("Access-Token", c.token)
			}
			a := do(t, req)
			require.Equal(t, c.status, a.status)
			require.Equal(t, c.code, a.code(), a.text)
			require.Contains(t, a.text, c.text)
		})
	}
	a := tiktok(t, base, "oauth2/advertiser/get/?"+url.Values{"app_id": {DemoTikTokAppID}, "secret": {DemoTikTokAppSecret}}.Encode(), "")
	require.Equal(t, DemoTikTokAdvertiser, a.at("data", "list").([]any)[0].(map[string]any)["advertiser_id"])
	require.Equal(t, 40101, tiktok(t, base, "oauth2/advertiser/get/?app_id=1&secret=x", "").code())
}

// TestTikTokMappingRefusals are batches that fail as a whole: nothing of them may be applied.
func TestTikTokMappingRefusals(t *testing.T) {
	const md5Hash = "0c2074fb86930fc4a2a7bb791240a7d3"
	good := `[{"id":"` + priyaHash + `","audience_ids":["AUD"]}]`
	for _, c := range []struct {
		name, schema, rows, rest string
		code                     int
		text                     string
	}{
		{"nothing", "", "", `{}`, 40002, "Missing required field(s): advertiser_ids, id_schema, batch_data."},
		{"no JSON", "", "", `{"a`, 40002, "Invalid JSON"},
		{"unknown field", `["EMAIL_SHA256"]`, good, `,"batch":1`, 40002, "batch"},
		{"advertiser as number", "", "", `{"advertiser_ids":[7000000000000000001],"id_schema":["EMAIL_SHA256"],"batch_data":[[{}]]}`, 40002, "Not a valid string"},
		{"advertiser is no number", "", "", `{"advertiser_ids":["x1"],"id_schema":["EMAIL_SHA256"],"batch_data":[[{}]]}`, 40002, "advertiser_ids"},
		{"empty batch", `["EMAIL_SHA256"]`, ``, "", 40002, "batch_data"},
		{"unknown schema", `["EMAIL_MD5"]`, good, "", 40002, "EMAIL_MD5"},
		{"file API's schema", `["GAID_SHA256"]`, good, "", 40002, "GAID_SHA256"},
		{"duplicate schema", `["EMAIL_SHA256","email_sha256"]`, good, "", 40002, "twice"},
		{"short row", `["EMAIL_SHA256","PHONE_SHA256"]`, good, "", 40002, "1 cells"},
		{"all blank", `["EMAIL_SHA256"]`, good + `,[{}]`, "", 40002, "batch_data[1]"},
		{"empty id", `["EMAIL_SHA256"]`, `[{"id":""}]`, "", 40002, "batch_data[0][0]"},
		{"id without audience", `["EMAIL_SHA256"]`, `[{"id":"` + priyaHash + `"}]`, "", 40002, "audience_ids"},
		{"audience without id", `["EMAIL_SHA256"]`, `[{"audience_ids":["AUD"]}]`, "", 40002, "id and"},
		{"clear value", `["EMAIL_SHA256"]`, good + `,[{"id":"ann@example.org","audience_ids":["AUD"]}]`, "", 40002, "batch_data[1][0]"},
		{"upper-case hash", `["EMAIL_SHA256"]`, strings.Replace(good, priyaHash, strings.ToUpper(priyaHash), 1), "", 40002, "not a EMAIL_SHA256"},
		{"MD5 in a SHA-256 slot", `["IDFA_SHA256"]`, strings.Replace(good, priyaHash, md5Hash, 1), "", 40002, "IDFA_SHA256"},
		{"hash of nothing", `["EMAIL_SHA256"]`, strings.Replace(good, priyaHash, emptyHash, 1), "", 40002, ""},
		{"e-mail in a phone slot", `["PHONE_SHA256"]`, good, "", 40002, "hash of EMAIL in the slot of PHONE_SHA256"},
		{"foreign audience", `["EMAIL_SHA256"]`, strings.Replace(good, "AUD", "999", 1), "", 40002, "999"},
		{"wrong action", `["EMAIL_SHA256"]`, good, `,"action":"append"`, 40002, "action"},
		{"10,001 rows", `["EMAIL_SHA256"]`, strings.TrimSuffix(strings.Repeat(good+",", 10_001), ","), "", 40061, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, base := start(t, Config{TikTok: TikTokConfig{Universe: map[string]string{priyaHash: "EMAIL", usHash: "PHONE"}}})
			id := segment(t, base, "a")
			body := c.rest
			if c.schema != "" {
				body = `{"advertiser_ids":["` + DemoTikTokAdvertiser + `"],"id_schema":` + c.schema + `,"batch_data":[` + c.rows + `]` + c.rest + `}`
			}
			a := tiktok(t, base, "segment/mapping/", strings.ReplaceAll(body, "AUD", id))
			require.Equal(t, 200, a.status)
			require.Equal(t, c.code, a.code(), a.text)
			require.Contains(t, a.text, c.text)
			require.Equal(t, map[string]any{}, a.json["data"])
			require.Empty(t, s.TikTok().Members(id))
		})
	}
}

// TestTikTokSegmentLife covers names, listing, deletion and the cap.
func TestTikTokSegmentLife(t *testing.T) {
	s, base := start(t, Config{QuotasOff: true})
	id := segment(t, base, strings.Repeat("é", 71))
	a := tiktok(t, base, "dmp/custom_audience/list/?advertiser_id="+DemoTikTokAdvertiser, "")
	require.Equal(t, 0, a.code(), a.text)
	record := a.at("data", "list").([]any)[0].(map[string]any)
	require.Equal(t, strings.Repeat("é", 67)+"...", record["name"])
	require.Equal(t, id, record["audience_id"])
	require.Equal(t, "Partner", record["audience_type"])
	require.Equal(t, "MULTIPLE_TYPES", record["calculate_type"])
	require.Equal(t, false, record["is_valid"])
	require.EqualValues(t, 0, record["cover_num"])
	require.Equal(t, map[string]any{"page": 1., "page_size": 10., "total_number": 1., "total_page": 1.}, a.at("data", "page_info"))

	remove := `{"advertiser_id":"` + DemoTikTokAdvertiser + `","action":"delete","delete_audience_id":"` + id + `"}`
	require.Equal(t, 0, tiktok(t, base, "segment/audience/", remove).code())
	require.Equal(t, 40007, tiktok(t, base, "segment/audience/", remove).code())
	require.True(t, s.TikTok().Audiences()[0].Deleted)
	for i := range tikTokMaxAudiences {
		segment(t, base, fmt.Sprint("a", i))
	}
	a = tiktok(t, base, "segment/audience/", `{"advertiser_id":"`+DemoTikTokAdvertiser+`","custom_audience_name":"one more"}`)
	require.Equal(t, 40002, a.code())
	for _, query := range []string{"page_size=101", "page=0", "custom_audience_ids=1,2", "custom_audience_ids=%5B1%5D", "custom_audience_ids=%5B%5D", "limit=1"} {
		a = tiktok(t, base, "dmp/custom_audience/list/?advertiser_id="+DemoTikTokAdvertiser+"&"+query, "")
		require.Equal(t, 40002, a.code(), query)
	}
	a = tiktok(t, base, "dmp/custom_audience/list/?advertiser_id="+DemoTikTokAdvertiser+"&page=4&page_size=100", "")
	require.Len(t, a.at("data", "list"), 100)
}

// TestTikTokCoverLags checks that a segment becomes valid ten hours after it has 1,000 matched members.
func TestTikTokCoverLags(t *testing.T) {
	s, base := start(t, Config{TikTok: TikTokConfig{MatchRate: 0.5}})
	id := segment(t, base, "a")
	details := func() string {
		q := url.Values{"advertiser_id": {DemoTikTokAdvertiser}, "custom_audience_ids": {`["` + id + `"]`}}
		a := tiktok(t, base, "dmp/custom_audience/get/?"+q.Encode(), "")
		d := a.at("data", "list").([]any)[0].(map[string]any)["audience_details"].(map[string]any)
		return fmt.Sprint(d["type"], " ", d["cover_num"], " ", d["is_valid"])
	}
	addRange := func(from, to int) {
		rows := []string{}
		for i := from; i < to; i++ {
			rows = append(rows, fmt.Sprintf(`[{"id":"%064x","audience_ids":["%s"]}]`, i, id))
		}
		a := tiktok(t, base, "segment/mapping/", `{"advertiser_ids":["`+DemoTikTokAdvertiser+`"],"id_schema":["EMAIL_SHA256"],"batch_data":[`+strings.Join(rows, ",")+`]}`)
		require.Equal(t, 0, a.code(), a.text)
	}
	addRange(0, 1999)
	s.Advance(10 * time.Hour)
	require.Equal(t, "Partner 0 false", details(), "999 matched are too few to show")
	addRange(1999, 2002)
	require.Equal(t, "Partner 0 false", details())
	s.Advance(10 * time.Hour)
	require.Equal(t, "Partner 1001 true", details())
}

// uploadFile sends a file and returns the answer.
func uploadFile(t *testing.T, base, name, kind, signature, content string) answered {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for k, v := range map[string]string{"advertiser_id": DemoTikTokAdvertiser, "calculate_type": kind, "file_signature": signature} {
		require.NoError(t, w.WriteField(k, v))
	}
	part, err := w.CreateFormFile("file", name)
	require.NoError(t, err)
	_, err = part.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	req := newRequest(t, "POST", base+"/open_api/v1.3/dmp/custom_audience/file/upload/", w.FormDataContentType(), body.Bytes())
	req.Header.Set("Access-Token", DemoTikTokToken)
	return do(t, req)
}

func signature(content string) string { return fmt.Sprintf("%x", md5.Sum([]byte(content))) }

// TestTikTokUpload uses the worked file of §3.1 of the contract sheet and its faults.
func TestTikTokUpload(t *testing.T) {
	_, base := start(t, Config{QuotasOff: true, TikTok: TikTokConfig{MaxFileBytes: 10_000}})
	content := priyaHash + "\n" + kimHash + "\n" + obrien + "\n"
	require.Len(t, content, 195)
	require.Equal(t, "25c2060beb0c97d1605a37599e63c8c8", signature(content))
	table := "email_SHA256,PHONE_sha256\n" + priyaHash + "," + auHash + "\n," + usHash + "\n"
	for _, c := range []struct {
		name, file, kind, signature, content string
		code                                 int
	}{
		{"worked file", "a.csv", "EMAIL_SHA256", "25c2060beb0c97d1605a37599e63c8c8", content, 0},
		{"upper-case hashes", "a.txt", "EMAIL_SHA256", signature(strings.ToUpper(content)), strings.ToUpper(content), 0},
		{"table", "a.csv", "MULTIPLE_TYPES", signature(table), table, 0},
		{"wrong signature", "a.csv", "EMAIL_SHA256", signature("x"), content, 40900},
		{"no suffix", "file", "EMAIL_SHA256", signature(content), content, 40908},
		{"zip", "a.zip", "EMAIL_SHA256", signature(content), content, 40908},
		{"empty", "a.csv", "EMAIL_SHA256", signature(""), "", 40906},
		{"wrong type", "a.csv", "FIRST_NORMAL", signature(content), content, 40909},
		{"too large", "a.csv", "EMAIL_SHA256", signature(strings.Repeat(content, 60)), strings.Repeat(content, 60), 40907},
		{"clear values", "a.csv", "EMAIL_SHA256", signature("ann@example.org\n"), "ann@example.org\n", 40915},
		{"unknown column", "a.csv", "MULTIPLE_TYPES", signature("mail\n"), "mail\n", 40915},
		{"ragged table", "a.csv", "MULTIPLE_TYPES", signature("MAID,MAID_MD5\nx\n"), "MAID,MAID_MD5\nx\n", 40915},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := uploadFile(t, base, c.file, c.kind, c.signature, c.content)
			require.Equal(t, c.code, a.code(), a.text)
			if c.code == 0 {
				require.Regexp(t, `^[0-9a-f]{16}$`, a.at("data", "file_path"))
			}
		})
	}
}

// hashes makes a file of n e-mail hashes, from the given number on.
func hashes(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%064x\n", from+i)
	}
	return b.String()
}

// TestTikTokFileAudience follows a file audience through processing, append, remove, replace and the floor of 1,000.
func TestTikTokFileAudience(t *testing.T) {
	s, base := start(t, Config{QuotasOff: true})
	path := func(content string) string {
		a := uploadFile(t, base, "a.csv", "EMAIL_SHA256", signature(content), content)
		require.Equal(t, 0, a.code(), a.text)
		return a.at("data", "file_path").(string)
	}
	create := func(name, content string) string {
		a := tiktok(t, base, "dmp/custom_audience/create/", `{"advertiser_id":"`+DemoTikTokAdvertiser+`","custom_audience_name":"`+name+`","calculate_type":"EMAIL_SHA256","file_paths":["`+path(content)+`"]}`)
		require.Equal(t, 0, a.code(), a.text)
		return a.at("data", "custom_audience_id").(string)
	}
	id, small := create("buyers", hashes(0, 1500)), create("few", hashes(0, 999))
	update := func(id, action, content string) answered {
		return tiktok(t, base, "dmp/custom_audience/update/", `{"advertiser_id":"`+DemoTikTokAdvertiser+`","custom_audience_id":"`+id+`"`+action+`,"file_paths":["`+path(content)+`"]}`)
	}
	require.Equal(t, 40002, update(id, `,"action":"APPEND"`, hashes(0, 1)).code(), "processing")
	s.Advance(48 * time.Hour)
	require.Len(t, s.TikTok().Members(id), 1500)
	require.Equal(t, 40002, update(small, `,"action":"APPEND"`, hashes(0, 2000)).code(), "built with size 0")
	require.Contains(t, s.TikTok().Audiences()[1].Error, "below 1000")

	require.Equal(t, 0, update(id, `,"action":"APPEND"`, hashes(1400, 200)).code())
	s.Advance(48 * time.Hour)
	require.Len(t, s.TikTok().Members(id), 1600)
	require.Equal(t, 0, update(id, `,"action":"REMOVE"`, hashes(0, 700)).code(), "accepted, fails later")
	s.Advance(48 * time.Hour)
	require.Len(t, s.TikTok().Members(id), 1600, "the floor kept the members")
	require.NotEmpty(t, s.TikTok().Audiences()[0].Error)
	require.Equal(t, 0, update(id, "", hashes(5000, 1000)).code(), "no action replaces")
	s.Advance(48 * time.Hour)
	require.Len(t, s.TikTok().Members(id), 1000)
	require.Empty(t, s.TikTok().Audiences()[0].Error)

	t.Run("lookalike", func(t *testing.T) {
		spec := func(seed, include string) string {
			return `{"advertiser_id":"` + DemoTikTokAdvertiser + `","custom_audience_name":"lal","lookalike_spec":{"source_audience_id":"` + seed + `"` + include +
				`,"mobile_os":"ALL","placements":["TikTok"],"location_ids":["2077456"],"audience_size":"NARROW"}}`
		}
		a := tiktok(t, base, "dmp/custom_audience/lookalike/create/", spec(id, ""))
		require.Contains(t, a.json["message"], "lookalike_spec.include_source")
		a = tiktok(t, base, "dmp/custom_audience/lookalike/create/", spec(id, `,"include_source":false`))
		require.Equal(t, 0, a.code(), a.text)
		lookalike := a.at("data", "custom_audience_id").(string)
		require.Equal(t, 40002, tiktok(t, base, "dmp/custom_audience/lookalike/create/", spec(lookalike, `,"include_source":true`)).code())
		require.Equal(t, 40002, tiktok(t, base, "dmp/custom_audience/lookalike/create/", spec(small, `,"include_source":true`)).code())
	})
	require.Equal(t, 40002, tiktok(t, base, "segment/mapping/", `{"advertiser_ids":["`+DemoTikTokAdvertiser+`"],"id_schema":["EMAIL_SHA256"],"batch_data":[[{"id":"`+priyaHash+`","audience_ids":["`+id+`"]}]]}`).code(),
		"a file audience takes no mapping")
	require.Equal(t, 0, tiktok(t, base, "dmp/custom_audience/delete/", `{"advertiser_id":"`+DemoTikTokAdvertiser+`","custom_audience_ids":["`+id+`"]}`).code())
	require.Equal(t, 40007, tiktok(t, base, "dmp/custom_audience/delete/", `{"advertiser_id":"`+DemoTikTokAdvertiser+`","custom_audience_ids":["`+id+`"]}`).code())
}
