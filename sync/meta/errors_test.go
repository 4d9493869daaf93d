package meta

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// TestClassify walks the rules of 4.2 and the entries of 4.3 that are easily taken for something else.
func TestClassify(t *testing.T) {
	const score, absent = `{"acc_id_util_pct":100,"reset_time_duration":100,"ads_api_access_tier":"standard_access"}`, ""
	for name, c := range map[string]struct {
		body   string
		status int
		usage  string // X-Ad-Account-Usage
		kind   destination.Kind
		scope  destination.Scope
		wait   time.Duration
	}{
		"unknown error":                           {`{"code":1}`, 500, absent, destination.Transient, destination.OfRequest, 0},
		"unknown error of a large batch":          {`{"code":1,"error_subcode":99}`, 500, absent, destination.TooLarge, destination.OfRequest, 0},
		"service down":                            {`{"code":2,"is_transient":true}`, 500, absent, destination.Transient, destination.OfRequest, 0},
		"app limit with its subcode":              {`{"code":4,"error_subcode":1504022,"is_transient":true}`, 400, absent, destination.RateLimited, destination.OfApp, 5 * time.Minute},
		"score limit, tier unknown":               {`{"code":17,"error_subcode":2446079}`, 400, absent, destination.RateLimited, destination.OfAccount, 5 * time.Minute},
		"score limit, full tier":                  {`{"code":17,"error_subcode":2446079}`, 400, `{"ads_api_access_tier":"standard_access"}`, destination.RateLimited, destination.OfAccount, time.Minute},
		"score limit, told":                       {`{"code":613,"error_subcode":1487742}`, 400, score, destination.RateLimited, destination.OfAccount, 100 * time.Second},
		"hundred a second":                        {`{"code":613,"error_subcode":5044001}`, 400, score, destination.RateLimited, destination.OfAccount, time.Second},
		"abuse guard":                             {`{"code":613}`, 400, absent, destination.RateLimited, destination.OfAccount, 15 * time.Minute},
		"custom audience budget":                  {`{"code":80003,"error_subcode":2446079}`, 400, absent, destination.RateLimited, destination.OfAccount, 5 * time.Minute},
		"blocked":                                 {`{"code":368}`, 400, absent, destination.RateLimited, destination.OfApp, 4 * time.Hour},
		"wrong parameter":                         {`{"code":100,"message":"x"}`, 400, absent, destination.Misconfigured, destination.OfAudience, 0},
		"wrong proof":                             {`{"code":100,"message":"Invalid appsecret_proof provided in the API argument"}`, 400, absent, destination.Unauthorized, destination.OfApp, 0},
		"flagged":                                 {`{"code":100,"error_subcode":1713228}`, 400, absent, destination.Misconfigured, destination.OfAudience, 0},
		"token expired":                           {`{"code":190,"error_subcode":463}`, 400, absent, destination.Unauthorized, destination.OfApp, 0},
		"token expired, status of a server fault": {`{"code":190}`, 500, absent, destination.Unauthorized, destination.OfApp, 0},
		"terms":                          {`{"code":200,"error_subcode":1870034}`, 403, absent, destination.Misconfigured, destination.OfAccount, 0},
		"too small is no permission":     {`{"code":200,"error_subcode":1870047}`, 403, absent, destination.Busy, destination.OfAudience, 24 * time.Hour},
		"any 2xx code is a permission":   {`{"code":278}`, 400, absent, destination.Misconfigured, destination.OfAccount, 0},
		"replace under way":              {`{"code":2650,"error_subcode":1870145}`, 400, absent, destination.Busy, destination.OfAudience, 5 * time.Minute},
		"form of schema":                 {`{"code":2650}`, 400, absent, destination.Misconfigured, destination.OfAudience, 0},
		"deleted":                        {`{"code":1487366}`, 400, absent, destination.Gone, destination.OfAudience, 0},
		"negative code, known subcode":   {`{"code":-1,"error_subcode":1870047}`, 400, absent, destination.Busy, destination.OfAudience, 24 * time.Hour},
		"nobody knows":                   {`{"code":987654}`, 400, absent, destination.Misconfigured, destination.OfAudience, 0},
		"nobody knows, but it will pass": {`{"code":987654,"is_transient":true}`, 400, absent, destination.Transient, destination.OfRequest, 0},
		"nobody knows, theirs":           {`{"code":987654}`, 503, absent, destination.Transient, destination.OfRequest, 0},
		"error_data as a text":           {`{"code":190,"error_data":"{\"x\":1}"}`, 400, absent, destination.Unauthorized, destination.OfApp, 0},
		"in Polish":                      {`{"code":190,"message":"Sesja wygasła"}`, 400, absent, destination.Unauthorized, destination.OfApp, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if c.usage != "" {
				h.Set("X-Ad-Account-Usage", c.usage)
			}
			err := decode(destination.Answer{Status: c.status, Header: h, Body: []byte(`{"error":` + c.body + `}`)}, readBudget(h, "1"), nil)
			var e *destination.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.kind, e.Kind)
			require.Equal(t, c.scope, e.Scope)
			require.Equal(t, c.wait, e.RetryAfter)
			if e.Kind == destination.Misconfigured || e.Kind == destination.Unauthorized {
				require.NotEmpty(t, e.Remedy, "who must act must know what to do")
			}
		})
	}
	for key, v := range verdicts {
		require.NotZero(t, v.kind, "%v", key)
		if v.kind == destination.Misconfigured || v.kind == destination.Unauthorized || v.kind == destination.Gone {
			require.NotEmpty(t, v.remedy, "%v", key)
		}
	}
}

// TestBudget reads the headers of 5.2 and survives broken ones.
func TestBudget(t *testing.T) {
	for name, c := range map[string]struct {
		headers map[string]string
		used    float64
		wait    time.Duration
	}{
		"nothing": {nil, 0, 0},
		"the sheet's three": {map[string]string{
			"X-Business-Use-Case-Usage": `{"1122334455":[{"type":"custom_audience","call_count":97,"total_cputime":20,"total_time":31,"estimated_time_to_regain_access":0}]}`,
			"X-App-Usage":               `{"call_count":28,"total_time":25,"total_cputime":25}`,
			"X-Ad-Account-Usage":        `{"acc_id_util_pct":9.67,"reset_time_duration":100}`}, 0.97, 0},
		"minutes": {map[string]string{
			"X-Business-Use-Case-Usage": `{"1122334455":[{"type":"custom_audience","call_count":100,"estimated_time_to_regain_access":7}]}`}, 1, 7 * time.Minute},
		"another type, another account": {map[string]string{
			"X-Business-Use-Case-Usage": `{"9":[{"type":"custom_audience","call_count":99}],"1122334455":[{"type":"ads_management","call_count":98},{"type":"custom_audience","call_count":5}]}`}, 0.05, 0},
		"keyed by the business": {map[string]string{
			"X-Business-Use-Case-Usage": `{"77":[{"type":"custom_audience","call_count":50}]}`}, 0.5, 0},
		"a full score slows, it does not stop": {map[string]string{"X-Ad-Account-Usage": `{"acc_id_util_pct":100}`}, 1, 0},
		"above a hundred":                      {map[string]string{"X-App-Usage": `{"call_count":130.5}`}, 1.305, 0},
		"broken": {map[string]string{"X-App-Usage": `{"call_count":`, "X-Ad-Account-Usage": "full",
			"X-Business-Use-Case-Usage": `[1]`, "Retry-After": "soon"}, 0, 0},
		"absurd": {map[string]string{
			"X-Business-Use-Case-Usage": `{"1122334455":[{"type":"custom_audience","estimated_time_to_regain_access":1e12}]}`}, 0, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			for k, v := range c.headers {
				h.Set(k, v)
			}
			pace := readBudget(h, "1122334455").pace()
			require.InDelta(t, c.used, pace.Used, 1e-9)
			require.Equal(t, c.wait, pace.Wait)
		})
	}
}

// TestBudgetIsBack: the reset that Meta tells is that of the ad account's score, so it counts while that is the tightest budget.
func TestBudgetIsBack(t *testing.T) {
	score := `{"acc_id_util_pct":97,"reset_time_duration":100,"ads_api_access_tier":"standard_access"}`
	for name, c := range map[string]struct {
		calls string
		back  time.Duration
	}{
		"alone":                {"", 100 * time.Second},
		"the others are ample": {`{"1":[{"type":"custom_audience","call_count":5}]}`, 100 * time.Second},
		"another is tighter":   {`{"1":[{"type":"custom_audience","call_count":99}]}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			h.Set("X-Ad-Account-Usage", score)
			h.Set("X-Business-Use-Case-Usage", c.calls)
			require.Equal(t, c.back, readBudget(h, "1").pace().Back)
		})
	}
}

// TestTierTellsTheBudget: once any answer has told the tier, Limits tell how many writes it allows.
func TestTierTellsTheBudget(t *testing.T) {
	c := &Client{}
	require.Zero(t, c.Limits().Budget)
	for tier, want := range map[string]int64{"development_access": 20, "standard_access": 3000, "full_access": 3000} {
		c.watchTier(budget{tier: tier})
		c.watchTier(budget{})
		require.Equal(t, destination.Budget{Requests: want, Per: 5 * time.Minute}, c.Limits().Budget)
	}
}

// TestStatus puts the codes of 2.8 into the words of the contract.
func TestStatus(t *testing.T) {
	for name, c := range map[string]struct {
		operation, delivery int
		state               destination.State
		writable            bool
	}{
		"normal":               {200, 200, destination.Ready, true},
		"no upload yet":        {410, 300, destination.TooSmall, true},
		"low match rate":       {411, 200, destination.Ready, true},
		"share of bad rows":    {412, 200, destination.Blocked, false},
		"replace running":      {414, 200, destination.Processing, false},
		"replace failed":       {415, 200, destination.Ready, true},
		"being populated":      {441, 300, destination.Processing, false},
		"flagged":              {471, 200, destination.Blocked, false},
		"expiring":             {100, 200, destination.Expiring, true},
		"inactive":             {450, 400, destination.Expired, true},
		"not usable":           {200, 400, destination.Blocked, true},
		"no status at all":     {0, 0, destination.Ready, true},
		"a status of tomorrow": {999, 200, destination.Ready, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := statusOf(details{Operation: code{Code: c.operation}, Delivery: code{Code: c.delivery}})
			require.Equal(t, c.state, s.State)
			require.Equal(t, c.writable, s.Writable)
		})
	}
	require.EqualValues(t, -1, sizeOf(nil))
}

// TestConfig: what is wrong is named by its key, with what would be right.
func TestConfig(t *testing.T) {
	good := func() Config { return Config{Account: "1122334455", TokenFile: "token"} }
	for field, spoil := range map[string]func(*Config){
		"account":             func(c *Config) { c.Account = "act_1122334455" },
		"token_file":          func(c *Config) { c.TokenFile = "" },
		"base_url":            func(c *Config) { c.BaseURL = "http://example.invalid" },
		"api_version":         func(c *Config) { c.Version = "26" },
		"columns":             func(c *Config) { c.Columns = []string{"EMAIL", "email"} },
		"batch_rows":          func(c *Config) { c.BatchRows = 10_001 },
		"requests_per_second": func(c *Config) { c.RequestsPerSecond = -1 },
	} {
		c := good()
		spoil(&c)
		err := c.Validate()
		require.ErrorIs(t, err, audience.ErrInvalid, field)
		var invalid *audience.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, field, invalid.Violations[0].Field)
		_, err = New(c, nil)
		require.Error(t, err)
	}
	c := good()
	require.NoError(t, c.Validate())
	c.Columns = []string{"COUNTRY"}
	require.ErrorContains(t, c.Validate(), "a person is found")
}

// FuzzAnswer: no answer, whatever its bytes, crashes the decoder or passes for success without being one.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"error":{"code":190}}`, `{"error":[]}`, "<html>", `{"audience_id":"1","invalid_entry_samples":{"[\"\"]":"x"}}`, `{"num_received":1}`} {
		f.Add(200, []byte(seed))
	}
	b := &destination.Batch{Rows: make([]destination.Row, 2)}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		var out usersAnswer
		if err := decode(destination.Answer{Status: status, Body: body}, budget{}, &out); err == nil {
			require.Equal(t, http.StatusOK, status)
			require.True(t, json.Valid(body))
			namedRows(out.Samples, nil, b.Rows)
		}
	})
}
