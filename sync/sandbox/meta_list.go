package sandbox

import (
	"encoding/base64"
	"net/url"
	"strconv"
)

func (m *Meta) listAudiences(c *metaCall) (any, error) {
	limit := 25
	if text, sent := c.params["limit"]; sent {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return nil, metaParameter("(#100) limit must be a positive integer", "limit")
		}
	}
	after, err := base64.StdEncoding.DecodeString(c.params["after"])
	if err != nil {
		return nil, metaParameter("(#100) Invalid cursor", "after")
	}
	audiences := m.live(c.account.id)
	from := 0
	for from < len(audiences) && audiences[from].id <= string(after) {
		from++
	}
	page := audiences[from:min(from+limit, len(audiences))]
	data := make([]map[string]any, len(page))
	for i, a := range page {
		a.settle(c.now)
		if data[i], err = m.fields(a, c); err != nil {
			return nil, err
		}
	}
	answer := map[string]any{"data": data}
	if len(page) > 0 {
		cursor := func(a *metaAudience) string { return base64.StdEncoding.EncodeToString([]byte(a.id)) }
		paging := map[string]any{"cursors": map[string]string{"before": cursor(page[0]), "after": cursor(page[len(page)-1])}}
		if from+len(page) < len(audiences) {
			next := url.URL{Scheme: "http", Host: c.Host, Path: c.URL.Path}
			query := c.URL.Query()
			query.Set("after", cursor(page[len(page)-1]))
			next.RawQuery = query.Encode()
			paging["next"] = next.String()
		}
		answer["paging"] = paging
	}
	return answer, nil
}
