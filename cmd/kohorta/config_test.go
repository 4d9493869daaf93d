package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const exampleConfig = "../../config.example.yaml"

func TestExampleConfigIsTheDefault(t *testing.T) {
	example, err := readConfig(exampleConfig)
	require.NoError(t, err)
	defaults, err := readConfig("")
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(defaults, example, cmpopts.EquateEmpty()))
}

func TestExampleConfigNamesEverySetting(t *testing.T) {
	text, err := os.ReadFile(exampleConfig)
	require.NoError(t, err)
	var written map[string]any
	require.NoError(t, yaml.Unmarshal(text, &written))
	requireSettings(t, "", reflect.TypeFor[Config](), written)
}

func requireSettings(t *testing.T, path string, config reflect.Type, written map[string]any) {
	for field := range config.Fields() {
		key := field.Tag.Get("yaml")
		if key == "-" {
			continue
		}
		value, named := written[key]
		require.True(t, named, "%s%s is not in the example", path, key)
		if field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[time.Time]() {
			require.IsType(t, map[string]any{}, value, "%s%s", path, key)
			requireSettings(t, path+key+".", field.Type, value.(map[string]any))
		}
	}
}

func TestBadConfigNamesTheKey(t *testing.T) {
	keys := map[string]string{
		"unknown_key":                   "lisen",
		"listen_without_port":           "listen: ",
		"currency_in_words":             "currency: ",
		"currency_of_digits":            "currency: ",
		"phone_country_in_words":        "phone_country: ",
		"negative_grace":                "shutdown_grace: ",
		"grace_without_unit":            "line 1: ",
		"engine_port_too_high":          "engines.redis_port: ",
		"negative_start_timeout":        "engines.start_timeout: ",
		"clickhouse_over_http":          "clickhouse.dsn: ",
		"clickhouse_without_dsn":        "clickhouse.dsn: ",
		"clickhouse_ca_missing":         "clickhouse.tls.ca_file: ",
		"clickhouse_key_alone":          "clickhouse.tls.cert_file: ",
		"clickhouse_password_inline":    "password",
		"redis_without_addresses":       "redis.addresses: ",
		"redis_cluster_with_database":   "redis.database: ",
		"redis_tls_not_enabled":         "redis.tls.enabled: ",
		"redis_certificate_without_key": "redis.tls.key_file: ",
		"redis_prefix_with_braces":      "redis.prefix: ",
		"webhooks_without_port":         "webhooks.listen: ",
		"webhooks_of_nobody":            "webhooks.sources: ",
		"webhooks_nowhere":              "webhooks.listen: ",
		"webhooks_secret_with_path":     "webhooks.sources[0].secret: ",
		"webhooks_name_twice":           "webhooks.sources[1].name: ",
		"webhooks_secret_twice":         "webhooks.sources[1].secret: ",
	}
	files, err := filepath.Glob("testdata/config/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, len(keys))
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			require.Contains(t, keys, name)
			_, err := readConfig(file)
			require.ErrorContains(t, err, keys[name])
			require.ErrorContains(t, err, file)
			require.NotContains(t, err.Error(), "hunter2", "a password written where it should not be")
		})
	}
}

func TestEmptyConfigIsTheDefault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty.yaml")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	empty, err := readConfig(file)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:7600", empty.Listen)
	require.Equal(t, "data", empty.Engines.Dir)
}
