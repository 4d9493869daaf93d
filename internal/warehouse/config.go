package warehouse

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kohorta/kohorta/internal/audience"
)

// Config says which database to use and how to reach it.
type Config struct {
	// DSN is clickhouse://user@host:9000/database; several hosts are separated by commas. Required.
	DSN string `yaml:"dsn"`
	// PasswordFile names the file that holds the password. "" means that there is none.
	PasswordFile string `yaml:"password_file"`
	// TLS turns encryption on.
	TLS TLS `yaml:"tls"`
	// Log hears of repairs; nil is silence.
	Log *slog.Logger `yaml:"-"`
}

// TLS is how the connection is encrypted. The zero value is no encryption, unless the DSN says secure=true.
type TLS struct {
	// Enabled encrypts with the system's certificate authorities; the files below turn it on, too.
	Enabled bool `yaml:"enabled"`
	// CAFile names a PEM file of authorities to trust instead of the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile name the client's certificate and key, both or neither.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName is the name the server's certificate must bear when it is not the host's.
	ServerName string `yaml:"server_name"`
}

// options are the driver's. Errors name the key at fault.
func (c Config) options() (*clickhouse.Options, error) {
	if c.DSN == "" {
		return nil, audience.Invalid("dsn", "is empty; write clickhouse://host:9000/database")
	}
	options, err := clickhouse.ParseDSN(c.DSN)
	if err != nil {
		return nil, audience.Invalid("dsn", "is not an address such as clickhouse://host:9000/database") // the cause may quote a password
	}
	if options.Protocol != clickhouse.Native {
		return nil, audience.Invalid("dsn", "is not of the native protocol; write clickhouse://host:9000/database")
	}
	if c.PasswordFile != "" {
		password, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, audience.Invalid("password_file", "cannot be read: %v", err)
		}
		options.Auth.Password = strings.TrimRight(string(password), "\r\n")
	}
	if options.TLS, err = c.TLS.config(options.TLS); err != nil {
		return nil, err
	}
	if options.Auth.Database == "" {
		options.Auth.Database = "kohorta"
	}
	options.DialContext = dial(options.TLS)
	options.DialTimeout = 5 * time.Second
	options.MaxOpenConns, options.MaxIdleConns = 24, 8
	for name, value := range settings {
		if _, given := options.Settings[name]; !given {
			options.Settings[name] = value
		}
	}
	return options, nil
}

// settings every statement runs with. The DSN may override them by name.
var settings = clickhouse.Settings{
	"async_insert":                    0, // acknowledged means written
	"max_partitions_per_insert_block": 0, // an import may span decades
	"join_use_nulls":                  0,
	// An INSERT whose rows do not come, because its sender is paused, ends: who takes over waits for that (stopOrphans).
	"receive_timeout": 30, // seconds; under load some pass before a large block has been packed
	"poll_interval":   1,
}

func (t TLS) config(base *tls.Config) (*tls.Config, error) {
	if !t.Enabled && t == (TLS{}) {
		return base, nil
	}
	if base == nil {
		base = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if t.ServerName != "" {
		base.ServerName = t.ServerName
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, audience.Invalid("tls.ca_file", "cannot be read: %v", err)
		}
		base.RootCAs = x509.NewCertPool()
		if !base.RootCAs.AppendCertsFromPEM(pem) {
			return nil, audience.Invalid("tls.ca_file", "holds no PEM certificate")
		}
	}
	if t.CertFile != "" || t.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, audience.Invalid("tls.cert_file", "and tls.key_file are no pair: %v", err)
		}
		base.Certificates = []tls.Certificate{pair}
	}
	return base, nil
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	if _, err := c.options(); err != nil {
		return fmt.Errorf("clickhouse: %w", err)
	}
	return nil
}
