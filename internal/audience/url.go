package audience

import (
	"net"
	"net/url"
	"strings"
)

// CheckURL adds what is wrong with the URL of another service that a field names. User ids, secrets and people's digests go
// there: only to this very machine may they go in the clear. A URL that carries secrets itself is none of ours.
func CheckURL(v *Violations, field, text, example string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http"):
		v.Add(field, "is not a URL such as %s, without user, query and fragment", example)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		v.Add(field, "would be called in the clear; use https, http is for this machine only (localhost, 127.0.0.1)")
	}
}

func isLoopback(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback()
}
