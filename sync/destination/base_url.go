package destination

import (
	"net"
	"net/url"
	"strings"

	"github.com/kohorta/kohorta/internal/audience"
)

// CheckBaseURL adds what is wrong with the URL of a platform's API. Tokens and people's digests go there: only to this very
// machine may they go in the clear.
func CheckBaseURL(v *audience.Violations, text, example string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http"):
		v.Add("base_url", "is not a URL such as %s", example)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		v.Add("base_url", "sends tokens in the clear; use https, http is for a stand-in on this machine (localhost, 127.0.0.1)")
	}
}

func isLoopback(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback()
}
