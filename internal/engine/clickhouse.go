package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/ClickHouse/clickhouse-go/v2"
)

const (
	// database is where the tables live. ClickHouse's own `default` will not do: in the library its unknown table names are files.
	database = "kohorta"
	// clickhouseUser may do everything, with a password. The library insists on a `default` user without one, which may do nothing of use.
	clickhouseUser = "kohorta"
)

// serve makes the library a server: it opens the port, then runs a query without end, since the process lasts as long as its query.
const serve = `SYSTEM START LISTEN TCP; SELECT sleepEachRow(3) FROM system.numbers ` +
	`SETTINGS function_sleep_max_microseconds_per_block = 0, max_block_size = 1 FORMAT Null`

func (l *launcher) clickhouse(ctx context.Context) error {
	found, err := findClickHouse(ctx, l.ClickHouseLibrary)
	if err != nil {
		return err
	}
	dir, err := l.subdirectory("clickhouse")
	if err != nil {
		return err
	}
	return onPort("clickhouse_port", l.ClickHousePort, func(port int) error { return l.clickhouseOn(ctx, found, dir, port) })
}

func (l *launcher) clickhouseOn(ctx context.Context, found found, dir string, port int) error {
	config, err := l.writeSettings(dir, port)
	if err != nil {
		return err
	}
	output, err := openLog(filepath.Join(dir, "clickhouse.log"))
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l.Log.Info("starting ClickHouse", "from", found.path, "port", port, "dir", dir)
	l.engines.clickhouseDSN = fmt.Sprintf("clickhouse://%s:%s@%s/%s", clickhouseUser, l.password, address, database)
	l.engines.clickhouse = &child{
		name:    "ClickHouse",
		ending:  found.ending(),
		grace:   stopGrace,
		timeout: l.StartTimeout,
		pause:   firstPause,
		inherit: l.inherit,
		keep:    l.engines.lifeline,
		output:  output,
		log:     l.Log,
		command: func() *exec.Cmd { return found.command(dir, config) },
		answers: func(ctx context.Context) error { return pingClickHouse(ctx, address, l.password) },
	}
	return l.engines.clickhouse.start(ctx)
}

// command starts ClickHouse in dir with the settings file config.
func (f found) command(dir, config string) *exec.Cmd {
	cmd := exec.Command(f.path, "server", "--config-file="+config)
	if f.library {
		cmd = exec.Command(executable())
		cmd.Args = []string{
			clickhouseArg0, "--config-file=" + config, "--multiquery", "--query=" + serve,
			"--interactive", "--enable-progress-table-toggle=0", // see takeTerminal; the toggle would discard what was typed
		}
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TZ=UTC", libraryEnv+"="+f.path)
	return cmd
}

// ending is how ClickHouse is ended. The library knows no orderly end, and needs none: what it has acknowledged is on the disk, what it was
// merging it merges again.
func (f found) ending() syscall.Signal {
	if f.library {
		return syscall.SIGKILL
	}
	return syscall.SIGTERM
}

// executable is this program's own file, also after it was renamed or replaced while running.
func executable() string {
	const link = "/proc/self/exe"
	if _, err := os.Readlink(link); err == nil {
		return link
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// pingClickHouse returns nil if the ClickHouse at address takes the password, answers, and has the database.
func pingClickHouse(ctx context.Context, address, password string) error {
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{address},
		Auth: clickhouse.Auth{Database: "default", Username: clickhouseUser, Password: password},
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+database)
}

// writeSettings writes the two files ClickHouse is configured by, readable by their owner only, and returns the path of the first.
func (l *launcher) writeSettings(dir string, port int) (string, error) {
	config, users := filepath.Join(dir, "config.xml"), filepath.Join(dir, "users.xml")
	sync := "1"
	if l.NoSync {
		sync = "0"
	}
	fill := strings.NewReplacer("{dir}", escapeXML(dir), "{port}", strconv.Itoa(port), "{password}", l.password, "{sync}", sync)
	for path, text := range map[string]string{config: serverSettings, users: userSettings} {
		if err := os.WriteFile(path, []byte(fill.Replace(text)), 0o600); err != nil {
			return "", fmt.Errorf("write ClickHouse's settings: %w", err)
		}
	}
	return config, nil
}
