package server

import (
	"regexp"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
)

// Config of the server. The zero value is usable.
type Config struct {
	// Currency is the ISO 4217 code of the one currency all values are in. Empty means USD.
	Currency string `yaml:"currency"`
	// Deadline ends unary calls whose caller set none. 0 means 30 s.
	Deadline time.Duration `yaml:"deadline"`
	// MaxMessageBytes bounds a request. 0 means 32 MiB: 10,000 events of 3 KiB each.
	MaxMessageBytes int `yaml:"max_message_bytes"`
	// Grace is how long calls under way may go on once the server stops. 0 means 10 s.
	Grace time.Duration `yaml:"grace"`
}

// What the zero values mean.
const (
	defaultCurrency        = "USD"
	defaultDeadline        = 30 * time.Second
	defaultMaxMessageBytes = 32 << 20
	defaultGrace           = 10 * time.Second
)

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// Validate says all that is wrong with the configuration.
func (c Config) Validate() error {
	var v audience.Violations
	if c.Currency != "" && !currencyCode.MatchString(c.Currency) {
		v.Add("currency", "%.8q is not an ISO 4217 code such as \"EUR\"", c.Currency)
	}
	if c.Deadline < 0 {
		v.Add("deadline", "is negative; leave it out for 30s")
	}
	if c.MaxMessageBytes < 0 {
		v.Add("max_message_bytes", "is negative; leave it out for 32 MiB")
	}
	if c.Grace < 0 {
		v.Add("grace", "is negative; leave it out for 10s")
	}
	return v.Err()
}

// withDefaults is the configuration with every default spelled out.
func (c Config) withDefaults() Config {
	if c.Currency == "" {
		c.Currency = defaultCurrency
	}
	if c.Deadline == 0 {
		c.Deadline = defaultDeadline
	}
	if c.MaxMessageBytes == 0 {
		c.MaxMessageBytes = defaultMaxMessageBytes
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	return c
}
