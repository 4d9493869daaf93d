package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// noon is the time all tests begin at: v26.0 is out, v24.0 has ended.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// start serves a sandbox whose clock stands still at noon unless cfg has its own.
func start(t *testing.T, cfg Config) (*Server, string) {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return noon }
	}
	s := New(cfg)
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(srv.Close)
	return s, srv.URL
}

// answered is an answer as a client sees it.
type answered struct {
	status int
	header http.Header
	text   string
	json   map[string]any // nil when the body is no JSON object
}

// at follows the path of members through JSON objects.
func (a answered) at(path ...string) any {
	var v any = a.json
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

// metaCode is the pair Meta's errors are told apart by.
func (a answered) metaCode() string {
	number := func(v any) int { f, _ := v.(float64); return int(f) }
	return fmt.Sprintf("%d/%d", number(a.at("error", "code")), number(a.at("error", "error_subcode")))
}

func do(t *testing.T, req *http.Request) answered {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	a := answered{status: res.StatusCode, header: res.Header, text: string(text)}
	_ = json.Unmarshal(text, &a.json)
	return a
}

func newRequest(t *testing.T, method, url, contentType string, body []byte) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	require.NoError(t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return req
}

// metaCalls sends calls with the demo token and a valid proof.
type metaCalls struct {
	t    *testing.T
	base string // with version
}

func (m metaCalls) call(method, path string, fields map[string]any) answered {
	m.t.Helper()
	body := map[string]any{"access_token": DemoMetaToken, "appsecret_proof": appSecretProof(DemoMetaAppSecret, DemoMetaToken)}
	url := m.base + path
	for k, v := range fields {
		body[k] = v
	}
	if method == http.MethodGet {
		req := newRequest(m.t, method, url, "", nil)
		q := req.URL.Query()
		for k, v := range body {
			q.Set(k, fmt.Sprint(v))
		}
		req.URL.RawQuery = q.Encode()
		return do(m.t, req)
	}
	text, err := json.Marshal(body)
	require.NoError(m.t, err)
	return do(m.t, newRequest(m.t, method, url, "application/json", text))
}

// audience creates a customer list and returns its id.
func (m metaCalls) audience(name string) string {
	m.t.Helper()
	a := m.call("POST", "/act_"+DemoMetaAccount+"/customaudiences",
		map[string]any{"name": name, "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"})
	require.Equal(m.t, 200, a.status, a.text)
	return a.json["id"].(string)
}

func startMeta(t *testing.T, cfg Config) (*Server, metaCalls) {
	t.Helper()
	s, url := start(t, cfg)
	return s, metaCalls{t, url + "/v26.0"}
}

// rawJSON is JSON text put into a request as it stands.
func rawJSON(text string) json.RawMessage { return json.RawMessage(text) }

// tiktok posts JSON text, or gets when body is empty, with the demo token.
func tiktok(t *testing.T, base, path, body string) answered {
	t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	req := newRequest(t, method, base+"/open_api/v1.3/"+path, "application/json", []byte(body))
	req.Header.Set("Access-Token", DemoTikTokToken)
	return do(t, req)
}

// code is TikTok's code, -1 when there is none.
func (a answered) code() int {
	if f, ok := a.json["code"].(float64); ok {
		return int(f)
	}
	return -1
}
