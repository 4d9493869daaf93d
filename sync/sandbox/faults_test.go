package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFaultsMeta orders each fault on one add and looks at the answer and at what was applied.
func TestFaultsMeta(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   Fault
		status  int    // 0: no answer
		want    string // code/subcode
		text    string
		applied int // rows held afterwards, of two sent
	}{
		{"500", Fault{Kind: FaultHTTP500}, 500, "2/0", `"is_transient":true`, 0},
		{"500 after applying", Fault{Kind: FaultHTTP500, After: true}, 500, "2/0", "", 2},
		{"502", Fault{Kind: FaultHTTP502HTML}, 502, "0/0", "<html>", 0},
		{"400 page", Fault{Kind: FaultHTML400}, 400, "0/0", "<html>", 0},
		{"empty", Fault{Kind: FaultEmpty200}, 200, "0/0", "", 0},
		{"plain text", Fault{Kind: FaultPlainText200}, 200, "0/0", "Service Unavailable", 0},
		{"reset before", Fault{Kind: FaultResetBefore}, 0, "", "", 0},
		{"reset after", Fault{Kind: FaultResetAfter}, 0, "", "", 2},
		{"truncated", Fault{Kind: FaultTruncatedJSON}, 200, "0/0", `{"audience_id"`, 2},
		{"slow", Fault{Kind: FaultSlow, Wait: Duration(30 * time.Millisecond)}, 200, "0/0", `"num_received":2`, 2},
		{"code", Fault{Kind: FaultCode, Code: 368, Message: "blocked"}, 400, "368/0", "blocked", 0},
		{"subcode", Fault{Kind: FaultCode, Code: 2650, Subcode: 1870148}, 400, "2650/1870148", "", 0},
		{"rate limited", Fault{Kind: FaultRateLimited}, 400, "80003/2446079", "", 0},
		{"localised", Fault{Kind: FaultLocalizedMessage, Code: 190}, 400, "190/0", "Nieprawidłowy", 0},
		{"error_data in a string", Fault{Kind: FaultErrorDataString}, 400, "100/0", `"error_data":"{\"blame_field_specs\"`, 0},
		{"token revoked", Fault{Kind: FaultTokenRevoked}, 400, "190/467", "", 0},
		{"audience deleted", Fault{Kind: FaultAudienceDeleted}, 400, "1487366/0", "", 0},
		{"audience locked", Fault{Kind: FaultAudienceLocked}, 400, "2650/1870145", "", 0},
		{"half refused", Fault{Kind: FaultRejectHalf}, 200, "0/0", `"num_invalid_entries":1`, 1},
		{"one value refused", Fault{Kind: FaultRejectValues, Values: []string{annHash}}, 200, "0/0", `{"[\"` + annHash, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, meta := startMeta(t, Config{})
			id := meta.audience("a")
			c.fault.Platform, c.fault.Path, c.fault.Count = "meta", "/users", 1
			require.NoError(t, s.Inject(c.fault))
			body := string(jsonText(map[string]any{"access_token": DemoMetaToken, "appsecret_proof": appSecretProof(DemoMetaAppSecret, DemoMetaToken),
				"payload": rawJSON(`{"schema":["EMAIL"],"data":[["` + annHash + `"],["` + beaHash + `"]]}`)}))
			req := newRequest(t, "POST", meta.base+"/"+id+"/users", "application/json", []byte(body))
			if c.status == 0 {
				res, err := http.DefaultClient.Do(req)
				if err == nil {
					_ = res.Body.Close()
				}
				require.Error(t, err)
			} else {
				a := do(t, req)
				require.Equal(t, c.status, a.status)
				require.Equal(t, c.want, a.metaCode(), a.text)
				require.Contains(t, a.text, c.text)
				if c.want != "0/0" && c.status == 400 {
					require.Equal(t, "v26.0", a.header.Get("facebook-api-version"))
				}
			}
			require.Len(t, s.Meta().Members(id), c.applied)
			log := s.Requests()
			require.Equal(t, c.fault.Kind, log[len(log)-1].Fault)
			require.Empty(t, s.Faults(), "counted down")
		})
	}
}

// TestFaultsTikTok does the same with a mapping of two rows.
func TestFaultsTikTok(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   Fault
		status  int
		code    int // -1: no number
		text    string
		applied int
	}{
		{"500", Fault{Kind: FaultHTTP500}, 500, -1, "Internal Server Error", 0},
		{"code as a string", Fault{Kind: FaultCodeAsString}, 200, -1, `"code":"0"`, 2},
		{"maintenance", Fault{Kind: FaultCode, Code: 60001, Message: "maintenance"}, 200, 60001, "maintenance", 0},
		{"rate limited", Fault{Kind: FaultRateLimited}, 200, 40100, "", 0},
		{"token revoked", Fault{Kind: FaultTokenRevoked}, 200, 40105, "", 0},
		{"audience deleted", Fault{Kind: FaultAudienceDeleted}, 200, 40007, "", 0},
		{"audience locked", Fault{Kind: FaultAudienceLocked}, 200, 40002, "not editable", 0},
		{"localised", Fault{Kind: FaultLocalizedMessage}, 200, 40002, "请求参数错误", 0},
		{"half refused", Fault{Kind: FaultRejectHalf}, 200, 20001, "failed_count", 1},
		{"one value refused", Fault{Kind: FaultRejectValues, Values: []string{kimHash}}, 200, 40002, "batch_data[1]", 0},
		{"internal timeout after applying", Fault{Kind: FaultCode, Code: 51010, After: true}, 200, 51010, "", 2},
		{"truncated", Fault{Kind: FaultTruncatedJSON}, 200, -1, `{"code":0`, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, base := start(t, Config{})
			id := segment(t, base, "a")
			c.fault.Path, c.fault.Count = "/segment/mapping/", 1
			require.NoError(t, s.Inject(c.fault))
			a := tiktok(t, base, "segment/mapping/", strings.ReplaceAll(`{"advertiser_ids":["`+DemoTikTokAdvertiser+`"],"id_schema":["EMAIL_SHA256"],"batch_data":[
				[{"id":"`+priyaHash+`","audience_ids":["AUD"]}],[{"id":"`+kimHash+`","audience_ids":["AUD"]}]]}`, "AUD", id))
			require.Equal(t, c.status, a.status)
			require.Equal(t, c.code, a.code(), a.text)
			require.Contains(t, a.text, c.text)
			require.Len(t, s.TikTok().Members(id), c.applied)
		})
	}
}

// TestFaultMatching checks whom a fault strikes, how often and for how long.
func TestFaultMatching(t *testing.T) {
	s, base := start(t, Config{QuotasOff: true})
	meta := metaCalls{t, base + "/v26.0"}
	ask := func() int { return tiktok(t, base, "user/info/", "").code() }
	require.NoError(t, s.Inject(Fault{Kind: FaultRateLimited, Platform: "tiktok", Wait: Duration(5 * time.Minute)}))
	require.Equal(t, "0/0", meta.call("GET", "/act_"+DemoMetaAccount, nil).metaCode(), "the other platform is not struck")
	require.Equal(t, 40100, ask())
	s.Advance(4 * time.Minute)
	require.Equal(t, 40100, ask())
	s.Advance(time.Minute)
	require.Equal(t, 0, ask())

	require.NoError(t, s.Inject(Fault{Kind: FaultRateLimited, Platform: "meta", Method: "GET", Wait: Duration(90 * time.Second)}))
	require.Equal(t, 2, businessUsageOf(t, meta.call("GET", "/act_"+DemoMetaAccount, nil)).RegainMins)
	s.ClearFaults()

	strikes := func(seed uint64) string {
		require.NoError(t, s.Inject(Fault{Kind: FaultCode, Code: 50000, Probability: 0.3, Seed: seed}))
		defer s.ClearFaults()
		out := ""
		for range 200 {
			out += fmt.Sprint(ask() / 50000)
		}
		return out
	}
	first := strikes(1)
	require.Equal(t, first, strikes(1), "the same seed, the same failures")
	require.NotEqual(t, first, strikes(2))
	require.InDelta(t, 60, strings.Count(first, "1"), 25)

	for name, bad := range map[string]Fault{"kind": {Kind: "flood"}, "platform": {Kind: FaultSlow, Platform: "x"}, "count": {Kind: FaultSlow, Count: -1},
		"probability": {Kind: FaultSlow, Probability: 2}, "code": {Kind: FaultCode}} {
		require.ErrorContains(t, s.Inject(bad), name+": ")
	}
}

// TestAdmin drives the control over HTTP as the README shows it.
func TestAdmin(t *testing.T) {
	s, base := start(t, Config{})
	admin := func(method, path, body string) answered {
		return do(t, newRequest(t, method, base+"/admin"+path, "application/json", []byte(body)))
	}
	meta := metaCalls{t, base + "/v26.0"}
	id, seg := meta.audience("a"), segment(t, base, "b")
	meta.call("POST", "/"+id+"/users", map[string]any{"payload": `{"schema":["EXTERN_ID","EMAIL"],"data":[["u-1","` + annHash + `"]]}`})
	require.JSONEq(t, `[{"extern_id":"u-1","keys":{"EMAIL":"`+annHash+`"}}]`, admin("GET", "/meta/audiences/"+id+"/members", "").text)
	require.Equal(t, `[]`, admin("GET", "/tiktok/audiences/"+seg+"/members", "").text)
	require.Equal(t, 404, admin("GET", "/meta/audiences/1/members", "").status)
	require.Contains(t, admin("GET", "/meta/audiences", "").text, `"rows":1`)
	require.Contains(t, admin("GET", "/tiktok/audiences", "").text, `"type":"Partner"`)

	require.Equal(t, 200, admin("POST", "/faults", `{"kind":"slow","platform":"meta","wait":"1s","count":2}`).status)
	require.JSONEq(t, `[{"kind":"slow","platform":"meta","count":2,"wait":"1s"}]`, admin("GET", "/faults", "").text)
	require.Equal(t, 200, admin("DELETE", "/faults", "").status)
	require.Equal(t, `[]`, admin("GET", "/faults", "").text)
	for path, bad := range map[string]string{"/faults": `{"kind":"flood"}`, "/clock": `{"advance":"soon"}`, "/quotas": `{"on":true}`,
		"/meta/audiences/" + id: `{"state":"lost"}`, "/meta/accounts/1": `{"terms_accepted":true}`} {
		a := admin("POST", path, bad)
		require.Equal(t, 400, a.status, path)
		require.NotEmpty(t, a.json["error"], path)
	}

	require.Equal(t, 200, admin("POST", "/clock", `{"advance":"36h"}`).status)
	require.Equal(t, "2026-11-22T00:00:00Z", admin("GET", "/clock", "").json["now"])
	require.Equal(t, 200, admin("POST", "/meta/accounts/"+DemoMetaAccount, `{"terms_accepted":false}`).status)
	require.Equal(t, 200, admin("POST", "/meta/audiences/"+id, `{"state":"flagged"}`).status)
	require.Equal(t, 471, s.Meta().Audiences()[0].Operation)
	require.Equal(t, 200, admin("DELETE", "/tiktok/audiences/"+seg, "").status)

	log := admin("GET", "/requests", "")
	var first Request
	text, err := json.Marshal(log.json["requests"].([]any)[2])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &first))
	first.Bytes = 0
	require.Equal(t, Request{Seq: 3, Time: noon, Platform: "meta", Method: "POST", Path: "/v26.0/" + id + "/users", Status: 200, Rows: 1}, first)
	require.EqualValues(t, 2, log.at("meta", "requests"))
	require.NotContains(t, log.text, DemoMetaToken)
	require.NotContains(t, log.text, annHash)

	require.Equal(t, 200, admin("POST", "/reset", "").status)
	require.Equal(t, Count{}, s.Counts("meta"))
	require.Empty(t, s.Meta().Audiences())
	require.Equal(t, noon, s.Now())
}

// TestServe stops when its context ends and takes loopback addresses only.
func TestServe(t *testing.T) {
	s := New(Config{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	require.Equal(t, 0, tiktok(t, "http://"+ln.Addr().String(), "user/info/", "").code())
	http.DefaultClient.CloseIdleConnections()
	stop()
	require.NoError(t, <-done)
	_, err = net.Dial("tcp", ln.Addr().String())
	require.Error(t, err)
	require.ErrorContains(t, s.ListenAndServe(t.Context(), "0.0.0.0:0"), "not a loopback address")
	require.ErrorContains(t, s.ListenAndServe(t.Context(), "nowhere"), "nowhere")
}

func TestRevokedTokenIsRefused(t *testing.T) {
	box := New(Config{})
	for _, test := range []struct{ path, token, refusal string }{
		{"/v26.0/act_1122334455/customaudiences?access_token=" + DemoMetaToken, DemoMetaToken, `"error_subcode":467`},
		{"/open_api/v1.3/dmp/custom_audience/list/?advertiser_id=" + DemoTikTokAdvertiser, DemoTikTokToken, `"code":40105`},
	} {
		answer := func() string {
			request, body := httptest.NewRequest(http.MethodGet, test.path, nil), httptest.NewRecorder()
			request.Header.Set("Access-Token", test.token)
			box.Handler().ServeHTTP(body, request)
			return body.Body.String()
		}
		require.NotContains(t, answer(), test.refusal)
		box.RevokeToken(test.token)
		require.Contains(t, answer(), test.refusal)
		box.Reset()
		require.NotContains(t, answer(), test.refusal)
	}
}
