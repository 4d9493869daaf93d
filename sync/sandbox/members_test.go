package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRowSet compares the indexed set with a list that is searched row by row.
func TestRowSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, list := newRowSet(), []rowID{}
		genRow := rapid.Custom(func(t *rapid.T) rowID {
			var keys []string
			for _, name := range []string{"CT", "EMAIL", "PHONE"} { // in the order of rowID
				if v := rapid.IntRange(-3, 3).Draw(t, name); v >= 0 {
					keys = append(keys, fmt.Sprintf("%s=%d", name, v))
				}
			}
			extern := rapid.SampledFrom([]string{"", "u1", "u2", "#", "a|b=c"}).Draw(t, "extern")
			return newRowID(strings.Join(keys, "|"), extern)
		})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			id := genRow.Draw(t, "row")
			pii, _ := id.split()
			if rapid.Bool().Draw(t, "add") {
				set.add(id, heldRow{})
				if !slices.Contains(list, id) {
					list = append(list, id)
				}
				continue
			}
			found := map[rowID]struct{}{}
			set.find(finders(pii), found)
			for gone := range found {
				set.remove(gone)
			}
			list = slices.DeleteFunc(list, func(held rowID) bool { return samePerson(held.row(), id.row()) })
		}
		slices.Sort(list)
		want := []Row{}
		for _, id := range list {
			want = append(want, id.row())
		}
		require.Equal(t, want, set.sorted())
	})
}

// samePerson is the rule of finders said plainly: a shared e-mail or phone, or, without either in the asked row, the same other keys.
func samePerson(held, asked Row) bool {
	strong := false
	for _, key := range []string{"EMAIL", "PHONE"} {
		v, has := asked.Keys[key]
		strong = strong || has
		if has && held.Keys[key] == v {
			return true
		}
	}
	if strong || len(asked.Keys) == 0 {
		return false
	}
	return len(held.Keys) == 1 && held.Keys["CT"] == asked.Keys["CT"]
}

// TestMetaRetention lets members lapse after retention_days, unless they are sent again.
func TestMetaRetention(t *testing.T) {
	s, meta := startMeta(t, Config{})
	a := meta.call("POST", "/act_"+DemoMetaAccount+"/customaudiences", map[string]any{"name": "x", "subtype": "CUSTOM",
		"customer_file_source": "USER_PROVIDED_ONLY", "retention_days": 30})
	id := a.json["id"].(string)
	add := func(hash string) {
		a := meta.call("POST", "/"+id+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + hash + `"]]}`})
		require.Equal(t, 200, a.status, a.text)
	}
	add(annHash)
	add(beaHash)
	s.Advance(29 * 24 * time.Hour)
	add(annHash)
	s.Advance(24 * time.Hour)
	require.Equal(t, []Row{{Keys: map[string]string{"EMAIL": annHash}}}, s.Meta().Members(id))
}

// TestConcurrentUse has many clients at once on both platforms while the state is read; the race detector watches.
func TestConcurrentUse(t *testing.T) {
	s, base := start(t, Config{QuotasOff: true})
	meta := metaCalls{t, base + "/v26.0"}
	id, seg := meta.audience("a"), segment(t, base, "b")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 25 {
				hash := fmt.Sprintf("%064x", worker*1000+i)
				meta.call(http.MethodPost, "/"+id+"/users", map[string]any{"payload": `{"schema":["EMAIL"],"data":[["` + hash + `"]]}`})
				tiktok(t, base, "segment/mapping/", `{"advertiser_ids":["`+DemoTikTokAdvertiser+`"],"id_schema":["EMAIL_SHA256"],"batch_data":[[{"id":"`+hash+`","audience_ids":["`+seg+`"]}]]}`)
				s.Meta().Members(id)
				s.TikTok().Audiences()
				s.Requests()
				s.Advance(time.Second)
			}
		})
	}
	wg.Wait()
	require.Len(t, s.Meta().Members(id), 100)
	require.Len(t, s.TikTok().Members(seg), 100)
	require.Equal(t, 101, s.Counts("tiktok").Requests)
	require.Equal(t, 100, s.Counts("meta").Rows)
}
