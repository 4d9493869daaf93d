package sandbox

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWindow checks a rolling count and the time until it falls below a limit.
func TestWindow(t *testing.T) {
	w := newWindow(time.Minute, 60)
	w.add(noon, 3)
	w.add(noon.Add(30*time.Minute), 2)
	require.Equal(t, 5, w.total(noon.Add(59*time.Minute+59*time.Second)))
	require.Equal(t, 2, w.total(noon.Add(60*time.Minute)))
	require.Equal(t, 0, w.total(noon.Add(90*time.Minute)))
	w.add(noon.Add(100*time.Minute), 4)
	require.Equal(t, time.Duration(0), w.wait(noon.Add(100*time.Minute), 5))
	require.Equal(t, 60*time.Minute, w.wait(noon.Add(100*time.Minute), 4))
	require.Equal(t, 0, w.total(noon.Add(1000*time.Hour)))
}

// businessUsageOf reads the header the way a client does.
func businessUsageOf(t *testing.T, a answered) businessUsage {
	t.Helper()
	var usage map[string][]businessUsage
	require.NoError(t, json.Unmarshal([]byte(a.header.Get("X-Business-Use-Case-Usage")), &usage))
	require.Len(t, usage[DemoMetaAccount], 1)
	return usage[DemoMetaAccount][0]
}

// TestMetaCallBudget uses up the custom-audience budget of the limited tier: 5,000 calls an hour and 40 for each audience.
func TestMetaCallBudget(t *testing.T) {
	s, meta := startMeta(t, Config{Meta: MetaConfig{LimitedTier: true}})
	meta.audience("a")
	act := "/act_" + DemoMetaAccount
	s.mu.Lock() // as if so many calls had been made
	s.meta.accounts[DemoMetaAccount].budget.calls.add(noon, 5_000+40-2)
	s.mu.Unlock()
	last := meta.call("GET", act, nil)
	require.Equal(t, "0/0", last.metaCode())
	usage := businessUsageOf(t, last)
	require.Equal(t, businessUsage{"custom_audience", 100, 50, 50, 0, "development_access"}, usage)
	for range 3 {
		a := meta.call("GET", act, nil)
		require.Equal(t, "80003/2446079", a.metaCode(), a.text)
		require.Equal(t, 60, businessUsageOf(t, a).RegainMins)
	}
	s.EnforceQuotas(false)
	require.Equal(t, "0/0", meta.call("GET", act, nil).metaCode())
	s.EnforceQuotas(true)
	s.Advance(time.Hour)
	require.Equal(t, "0/0", meta.call("GET", act, nil).metaCode())
}

// TestMetaScoreBudget uses up the ad-account score of the limited tier: 60 in 300 seconds, an add costs 3.
func TestMetaScoreBudget(t *testing.T) {
	s, meta := startMeta(t, Config{Meta: MetaConfig{LimitedTier: true}})
	id := meta.audience("a")
	add := func() answered {
		return meta.call("POST", "/"+id+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + annHash + `"]]}`})
	}
	for i := range 20 {
		a := add()
		require.Equal(t, "0/0", a.metaCode())
		require.Contains(t, a.header.Get("X-Ad-Account-Usage"), fmt.Sprintf(`{"acc_id_util_pct":%d,`, (i+1)*5))
		require.Contains(t, a.header.Get("X-App-Usage"), `"call_count":`)
		require.Empty(t, a.header.Get("X-Business-Use-Case-Usage"))
	}
	a := add()
	require.Equal(t, "17/2446079", a.metaCode())
	require.Contains(t, a.header.Get("X-Ad-Account-Usage"), `"reset_time_duration":300,`)
	s.Advance(299 * time.Second)
	require.Equal(t, "17/2446079", add().metaCode(), "still blocked, and asking again starts the block anew")
	s.Advance(299 * time.Second)
	require.Equal(t, "17/2446079", add().metaCode())
	s.Advance(300 * time.Second)
	require.Equal(t, "0/0", add().metaCode())
}

// TestMetaRequestRate sends more than 100 requests in one second of the clock.
func TestMetaRequestRate(t *testing.T) {
	s, meta := startMeta(t, Config{})
	for range 100 {
		require.Equal(t, "0/0", meta.call("GET", "/act_"+DemoMetaAccount, nil).metaCode())
	}
	require.Equal(t, "613/5044001", meta.call("GET", "/act_"+DemoMetaAccount, nil).metaCode())
	s.Advance(time.Second)
	require.Equal(t, "0/0", meta.call("GET", "/act_"+DemoMetaAccount, nil).metaCode())
}

// TestTikTokAppQuota goes over the second, the minute and the day.
func TestTikTokAppQuota(t *testing.T) {
	s, base := start(t, Config{})
	ask := func() int { return tiktok(t, base, "user/info/", "").code() }
	for range 10 {
		require.Equal(t, 0, ask())
	}
	require.Equal(t, 40100, ask(), "the 11th in a second")
	s.Advance(time.Second)
	require.Equal(t, 0, ask())

	quota := &s.tiktok.quota
	quota.minute.add(s.Now(), 589)
	s.Advance(time.Second)
	require.Equal(t, 40100, ask(), "the 601st in a minute")
	s.Advance(4 * time.Minute)
	require.Equal(t, 40100, ask(), "a minute over the limit costs five")
	s.Advance(time.Minute)
	require.Equal(t, 0, ask())

	quota.today = 864_000
	require.Equal(t, 40100, ask())
	s.Advance(11 * time.Hour)
	require.Equal(t, 40100, ask(), "until midnight")
	s.Advance(time.Hour)
	require.Equal(t, 0, ask())
}

// TestTikTokAdvertiserQuota throttles one advertiser and not the other.
func TestTikTokAdvertiserQuota(t *testing.T) {
	_, base := start(t, Config{TikTok: TikTokConfig{Advertisers: []string{"71", "72"}, AdvertiserQPS: 2}})
	ask := func(id string) answered { return tiktok(t, base, "dmp/custom_audience/list/?advertiser_id="+id, "") }
	require.Equal(t, 0, ask("71").code())
	require.Equal(t, 0, ask("71").code())
	a := ask("71")
	require.Equal(t, 40133, a.code())
	require.Contains(t, a.json["message"], "allowed 2")
	require.Equal(t, 0, ask("72").code())
}
