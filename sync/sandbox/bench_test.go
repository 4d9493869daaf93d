package sandbox

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkAdd is how many rows a second each platform takes, HTTP left out: a tester wants to measure the client, not this.
func BenchmarkAdd(b *testing.B) {
	const rows = 10_000
	cfg := Config{QuotasOff: true, Meta: MetaConfig{ProofOptional: true}}
	post := func(h *Server, path, body string) string {
		req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Access-Token", DemoTikTokToken)
		res := httptest.NewRecorder()
		h.Handler().ServeHTTP(res, req)
		if res.Code != 200 || strings.Contains(res.Body.String(), `"code":4`) {
			b.Fatal(res.Body.String())
		}
		return res.Body.String()
	}
	b.Run("meta", func(b *testing.B) {
		s := New(cfg)
		post(s, "/v26.0/act_"+DemoMetaAccount+"/customaudiences", `{"access_token":"`+DemoMetaToken+`","name":"a","subtype":"CUSTOM","customer_file_source":"USER_PROVIDED_ONLY"}`)
		data := make([]string, rows)
		for i := range data {
			data[i] = fmt.Sprintf(`["u-%d","%064x","%064x"]`, i, i, i+rows)
		}
		body := `{"access_token":"` + DemoMetaToken + `","payload":{"schema":["EXTERN_ID","EMAIL","PHONE"],"is_raw":true,"data":[` + strings.Join(data, ",") + `]}}`
		for b.Loop() {
			post(s, "/v26.0/"+s.Meta().Audiences()[0].ID+"/users", body)
		}
		b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("tiktok", func(b *testing.B) {
		s := New(cfg)
		post(s, "/open_api/v1.3/segment/audience/", `{"advertiser_id":"`+DemoTikTokAdvertiser+`","custom_audience_name":"a"}`)
		data := make([]string, rows)
		for i := range data {
			data[i] = fmt.Sprintf(`[{"id":"%064x","audience_ids":["%s"]}]`, i, s.TikTok().Audiences()[0].ID)
		}
		body := `{"advertiser_ids":["` + DemoTikTokAdvertiser + `"],"id_schema":["EMAIL_SHA256"],"batch_data":[` + strings.Join(data, ",") + `]}`
		for b.Loop() {
			post(s, "/open_api/v1.3/segment/mapping/", body)
		}
		b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
	})
}
