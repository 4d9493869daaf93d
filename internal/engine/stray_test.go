package engine

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"
)

// TestNoClientEndsClickHouse: whatever one client does, the others find the same ClickHouse.
func TestNoClientEndsClickHouse(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ClickHouse is not given a terminal here")
	}
	dir := t.TempDir()
	running := startHelper(t, dir)
	conn := openClickHouse(t, running.clickhouse)
	require.NoError(t, conn.Ping(t.Context()))
	options, err := clickhouse.ParseDSN(running.clickhouse)
	require.NoError(t, err)
	hello := func(password, database string) (packet []byte) {
		packet = append([]byte{0}, text("stray")...)
		packet = append(packet, 1, 1)
		packet = binary.AppendUvarint(packet, 54428)
		return append(append(append(packet, text(database)...), text(options.Auth.Username)...), text(password)...)
	}

	for _, stray := range []struct {
		name   string
		says   []byte
		hears  bool // and only then goes
		resets bool
		logged string // by ClickHouse
	}{
		{name: "breaks off in its greeting", says: hello(options.Auth.Password, "default")[:4], logged: "Cannot read all data"},
		{name: "speaks something else", says: []byte("*1\r\n$4\r\nPING\r\n"), hears: true, logged: "expected Hello, got 42"},
		{name: "has the wrong password", says: hello("wrong", "default"), hears: true, logged: "Authentication failed"},
		{name: "asks for what is not there", says: hello(options.Auth.Password, "nowhere"), hears: true, logged: "Database nowhere does not exist"},
		{name: "is killed", says: hello(options.Auth.Password, "default"), hears: true, resets: true, logged: "Connection reset by peer"},
	} {
		t.Run(stray.name, func(t *testing.T) {
			client, err := net.Dial("tcp", options.Addr[0])
			require.NoError(t, err)
			_, err = client.Write(stray.says)
			require.NoError(t, err)
			if stray.hears {
				_, err = client.Read(make([]byte, 1<<10))
				require.NoError(t, err)
			}
			if stray.resets {
				require.NoError(t, client.(*net.TCPConn).SetLinger(0))
			}
			require.NoError(t, client.Close())
			log := func() string {
				text, err := os.ReadFile(filepath.Join(dir, "clickhouse", "clickhouse.log"))
				require.NoError(t, err)
				return string(text)
			}
			eventually(t, "ClickHouse has heard of it", func() bool { return strings.Contains(log(), stray.logged) })
			for range 20 {
				require.NoError(t, conn.Exec(t.Context(), "SELECT sleep(0.01)"))
			}
			require.NotContains(t, log(), "Terminate called")
			for _, pid := range running.pids {
				require.True(t, alive(pid))
			}
		})
	}
}

// text is a string as the native protocol has it.
func text(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }
