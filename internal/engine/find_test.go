package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhereClickHouseIsFound(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	installed := filepath.Join(root, libraryName())
	elsewhere := filepath.Join(root, "elsewhere.so")
	binary := filepath.Join(root, "bin", "clickhouse")
	write := func(path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o700))
	}
	write(installed, "")
	write(elsewhere, "")
	below := filepath.Join(root, "some", "package")
	require.NoError(t, os.MkdirAll(below, 0o700))

	tests := []struct {
		name        string
		configured  string
		environment string
		version     string // of the binary on PATH
		workDir     string
		want        found
	}{
		{name: "above the working directory", workDir: below, want: found{installed, true}},
		{name: "a binary goes first", workDir: below, version: "26.7.2.1", want: found{binary, false}},
		{name: "Debian's binary of 2018 does not count", workDir: below, version: "18.16.1", want: found{installed, true}},
		{name: "the environment goes before a binary", environment: elsewhere, version: "26.7.2.1", workDir: below, want: found{elsewhere, true}},
		{name: "the configuration goes before the environment", configured: installed, environment: elsewhere, workDir: t.TempDir(), want: found{installed, true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, os.RemoveAll(binary))
			if test.version != "" {
				write(binary, "#!/bin/sh\necho 'ClickHouse server version "+test.version+" (official build).'\n")
			}
			t.Setenv("PATH", filepath.Dir(binary))
			t.Setenv("KOHORTA_CHDB_LIB", test.environment)
			t.Chdir(test.workDir)
			got, err := findClickHouse(t.Context(), test.configured)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestNoClickHouseAnywhereSaysWhatToDo(t *testing.T) {
	t.Setenv("PATH", "")
	t.Setenv("KOHORTA_CHDB_LIB", "")
	t.Chdir(t.TempDir())
	_, err := StartClickHouse(t.Context(), Config{Dir: t.TempDir(), Log: quiet()})
	require.ErrorIs(t, err, ErrMissing)
	require.ErrorContains(t, err, "run `npm ci`, or set clickhouse_library, or give kohorta the address of a ClickHouse server")
}
