package webhook

import (
	"net"
	"strconv"

	"github.com/kohorta/kohorta/internal/audience"
)

// Config of the webhooks that come in. Those that go out are resources.
type Config struct {
	// Listen is the address of the HTTP server that takes moves. "" takes none.
	Listen string `yaml:"listen"`
	// Sources are the systems that may move users.
	Sources []Source `yaml:"sources"`
}

// Source is a system that may move users.
type Source struct {
	// Name is who moved a user, for whoever asks why. Required.
	Name string `yaml:"name"`
	// Secret names the file, in the secrets directory, that holds one or two secrets, one a line. Required.
	Secret string `yaml:"secret"`
}

// Validate says all that is wrong with the configuration.
func (c Config) Validate() error {
	var v audience.Violations
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			v.Add("listen", "%q is not an address such as 127.0.0.1:7680", c.Listen)
		}
		if len(c.Sources) == 0 {
			v.Add("sources", "is empty, so nobody could move anybody; name a source, or remove listen")
		}
	} else if len(c.Sources) > 0 {
		v.Add("listen", "is empty, yet there are sources; name an address such as 127.0.0.1:7680, or remove them")
	}
	names, secrets := map[string]bool{}, map[string]bool{}
	for i, source := range c.Sources {
		at := "sources[" + strconv.Itoa(i) + "]"
		v.Merge(at, audience.ValidSlug("name", source.Name))
		if names[source.Name] {
			v.Add(at+".name", "%q is that of a source before; name each differently", source.Name)
		}
		switch {
		case !audience.IsSecretName(source.Secret):
			v.Add(at+".secret", "%.80q is not the name of a file in the secrets directory, such as crm-secret", source.Secret)
		case secrets[source.Secret]:
			v.Add(at+".secret", "is that of a source before; whoever signs with it could not be told apart")
		}
		names[source.Name], secrets[source.Secret] = true, true
	}
	return v.Err()
}
