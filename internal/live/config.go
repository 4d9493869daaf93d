package live

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/kohorta/kohorta/internal/audience"
)

// Config says where Redis is. It may be shared with other programs: all keys begin with Prefix.
type Config struct {
	// Addresses are host:port of the server, or of some nodes of a Redis Cluster. Required.
	Addresses []string `yaml:"addresses"`
	// Cluster says that a single address belongs to a Redis Cluster. Several addresses always do.
	Cluster bool `yaml:"cluster"`
	// Username of Redis' ACL. "" is the default user.
	Username string `yaml:"username"`
	// PasswordFile names the file that holds the password. "" sends none.
	PasswordFile string `yaml:"password_file"`
	// Password is what the embedded Redis made up at its start; a configuration names PasswordFile instead.
	Password string `yaml:"-"`
	// Database is the number of the logical database. A cluster has only 0.
	Database int `yaml:"database"`
	// TLS encrypts the connections.
	TLS TLS `yaml:"tls"`
	// Prefix begins every key. "" means "kohorta".
	Prefix string `yaml:"prefix"`
}

// TLS is how connections are encrypted.
type TLS struct {
	// Enabled turns encryption on. The other fields need it.
	Enabled bool `yaml:"enabled"`
	// CAFile holds the certificates to trust, PEM. "" means those of the system.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile identify this client, PEM. "" sends no certificate.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName is the name the server's certificate must bear. "" means the host of the address.
	ServerName string `yaml:"server_name"`
}

// Validate says all that is wrong with the configuration.
func (c *Config) Validate() error {
	var v audience.Violations
	if len(c.Addresses) == 0 {
		v.Add("addresses", "is empty; name at least one host:port")
	}
	if c.Database != 0 && c.cluster() {
		v.Add("database", "is %d; a Redis Cluster has only database 0", c.Database)
	}
	if strings.ContainsAny(c.Prefix, "*?[]{}\\") {
		v.Add("prefix", "%q has one of *?[]{}\\; use letters, digits, -, _ and :", c.Prefix)
	}
	if !c.TLS.Enabled && c.TLS != (TLS{}) {
		v.Add("tls.enabled", "is false, yet other fields of tls are set; enable it or remove them")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		v.Add("tls.key_file", "and cert_file go together; set both or neither")
	}
	return v.Err()
}

// go-redis prints what it also returns as an error.
func init() { logging.Disable() }

func (c *Config) cluster() bool { return c.Cluster || len(c.Addresses) > 1 }

// options are go-redis' for the configuration; they read the files it names.
func (c *Config) options() (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{
		Addrs:                 c.Addresses,
		IsClusterMode:         c.cluster(),
		DB:                    c.Database,
		Username:              c.Username,
		Password:              c.Password,
		ContextTimeoutEnabled: true,
		DialerRetries:         1, // commands are retried as it is; a caller is to hear soon that Redis is away
		// CLIENT MAINT_NOTIFICATIONS is for one vendor's service; elsewhere it is an error on every new connection.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.PasswordFile != "" {
		password, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password_file: %w", err)
		}
		o.Password = strings.TrimRight(string(password), "\r\n")
	}
	if !c.TLS.Enabled {
		return o, nil
	}
	o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	if c.TLS.CAFile != "" {
		pem, err := os.ReadFile(c.TLS.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		o.TLSConfig.RootCAs = x509.NewCertPool()
		if !o.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls.ca_file: holds no PEM certificate")
		}
	}
	if c.TLS.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		o.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return o, nil
}
