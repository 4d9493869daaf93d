package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/engine"
	"github.com/kohorta/kohorta/internal/live"
	"github.com/kohorta/kohorta/internal/warehouse"
	"github.com/kohorta/kohorta/server"
	"github.com/kohorta/kohorta/webhook"
)

// Config is the service's configuration, one YAML file. The zero value runs with embedded engines on loopback.
type Config struct {
	// Listen is the address of the gRPC server. "" means 127.0.0.1:7600.
	Listen string `yaml:"listen"`
	// DataDir holds the embedded engines' data. "" means ./data.
	DataDir string `yaml:"data_dir"`
	// SecretsDir holds the files that destinations and webhooks name as their secrets. "" means ./secrets.
	SecretsDir string `yaml:"secrets_dir"`
	// Currency of all event values, ISO 4217. "" means USD.
	Currency string `yaml:"currency"`
	// PhoneCountry completes phone numbers without a country code, ISO 3166-1 alpha-2. "" leaves such numbers out.
	PhoneCountry string `yaml:"phone_country"`
	// Now is the instant at which the service's clock starts, for data of the past. Absent: the system's clock.
	Now time.Time `yaml:"now"`
	// ShutdownGrace is how long calls and runs under way may go on when the service is told to stop. 0 means 10 s.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`
	// LeaseTerm is how long a process that gives no sign of life keeps its role and the audiences it syncs; half as long
	// again, and another takes over. It matters only where clickhouse names a server, which several processes may share. 0
	// means 10 s.
	LeaseTerm time.Duration `yaml:"lease_term"`
	// Engines configures the embedded engines that clickhouse and redis do not replace.
	Engines engine.Config `yaml:"engines"`
	// ClickHouse names a server to use instead of the embedded one.
	ClickHouse warehouse.Config `yaml:"clickhouse"`
	// Redis names a server or cluster to use instead of the embedded one.
	Redis live.Config `yaml:"redis"`
	// Webhooks says who may move users over HTTP.
	Webhooks webhook.Config `yaml:"webhooks"`
	// ReadElsewhere is that of segmenter.Deps. It follows from ClickHouse and is not in the file.
	ReadElsewhere time.Duration `yaml:"-"`
}

// readElsewhere is well above what a process that stands by takes to see that definitions have changed.
const readElsewhere = 3 * time.Second

// readConfig reads the file; "" is the zero configuration. Errors name the key path.
func readConfig(file string) (Config, error) {
	var config Config
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
		decoder := yaml.NewDecoder(bytes.NewReader(text))
		decoder.KnownFields(true)
		if err := decoder.Decode(&config); err != nil && !errors.Is(err, io.EOF) {
			return Config{}, fmt.Errorf("%s: %w", file, plainYAML(err))
		}
	}
	config.setDefaults()
	if err := config.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", file, err)
	}
	return config, nil
}

func (c *Config) setDefaults() {
	for field, value := range map[*string]string{
		&c.Listen: "127.0.0.1:7600", &c.DataDir: "data", &c.SecretsDir: "secrets", &c.Currency: "USD",
	} {
		if *field == "" {
			*field = value
		}
	}
	if c.ShutdownGrace == 0 {
		c.ShutdownGrace = 10 * time.Second
	}
	if c.LeaseTerm == 0 {
		c.LeaseTerm = 10 * time.Second
	}
	if c.Engines.Dir == "" {
		c.Engines.Dir = c.DataDir
	}
	if c.shared() {
		c.ReadElsewhere = readElsewhere
	}
}

// Validate says all that is wrong with the configuration.
func (c *Config) Validate() error {
	var v audience.Violations
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		v.Add("listen", "%q is not an address such as 127.0.0.1:7600", c.Listen)
	}
	v.Merge("", server.Config{Currency: c.Currency}.Validate())
	if c.PhoneCountry != "" && (len(c.PhoneCountry) != 2 || c.PhoneCountry != strings.ToUpper(c.PhoneCountry)) {
		v.Add("phone_country", "%q is not an ISO 3166-1 alpha-2 code such as DE", c.PhoneCountry)
	}
	if c.ShutdownGrace < 0 {
		v.Add("shutdown_grace", "is negative; write a duration such as 10s")
	}
	if c.LeaseTerm < time.Second {
		v.Add("lease_term", "is %s; write a duration of at least 1s", c.LeaseTerm)
	}
	if err := c.Engines.Validate(); err != nil {
		for fault := range strings.Lines(err.Error()) {
			field, reason, _ := strings.Cut(strings.TrimSpace(fault), ": ")
			v.Add("engines."+field, "%s", reason)
		}
	}
	switch err := c.ClickHouse.Validate(); {
	case c.ClickHouse == warehouse.Config{}: // embedded
	case c.ClickHouse.DSN == "":
		v.Add("clickhouse.dsn", "is empty, yet other fields of clickhouse are set; name the server or remove them")
	case !v.Merge("clickhouse", err):
		v.Add("clickhouse", "%v", err)
	}
	switch {
	case len(c.Redis.Addresses) > 0:
		v.Merge("redis", c.Redis.Validate())
	case !c.embedsRedis():
		v.Add("redis.addresses", "is empty, yet other fields of redis are set; name the server or remove them")
	}
	v.Merge("webhooks", c.Webhooks.Validate())
	return v.Err()
}

// embedsRedis reports whether the configuration names no Redis server.
func (c *Config) embedsRedis() bool {
	said := c.Redis
	if len(said.Addresses) == 0 {
		said.Addresses = nil // also where the file says []
	}
	return reflect.ValueOf(said).IsZero()
}

// embeddedRedis is how to reach the Redis that the engine started.
func embeddedRedis(address string) (live.Config, error) {
	u, err := url.Parse(address)
	if err != nil {
		return live.Config{}, errors.New("the embedded Redis has no usable address")
	}
	password, _ := u.User.Password()
	return live.Config{Addresses: []string{u.Host}, Password: password}, nil
}

// shared reports whether other processes may use the same database.
func (c *Config) shared() bool { return c.ClickHouse.DSN != "" }
