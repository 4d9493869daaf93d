package sandbox

// readUserInfo is GET /user/info/: whether the token is good.
func readUserInfo(c *tikTokCall) (tikTokAct, error) {
	if _, err := c.query(); err != nil {
		return nil, err
	}
	return func(*TikTok) (any, error) {
		return map[string]string{"core_user_id": "7200000000000000001", "display_name": "Sandbox"}, nil
	}, nil
}

// readAdvertisers is GET /oauth2/advertiser/get/: the accounts that granted the token.
func readAdvertisers(c *tikTokCall) (tikTokAct, error) {
	q, err := c.query("app_id", "secret")
	if err != nil {
		return nil, err
	}
	if err := required(requiredField{"app_id", q.Has("app_id")}, requiredField{"secret", q.Has("secret")}); err != nil {
		return nil, err
	}
	return func(t *TikTok) (any, error) {
		if q.Get("app_id") != c.cfg.AppID || q.Get("secret") != c.cfg.AppSecret {
			return nil, refusal(40101, "app_id or secret is wrong.")
		}
		list := []map[string]string{}
		for _, id := range c.granted {
			list = append(list, map[string]string{"advertiser_id": id, "advertiser_name": "Sandbox advertiser " + id})
		}
		return map[string]any{"list": list}, nil
	}, nil
}
