package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

func newServe() *cobra.Command {
	var file, listen, dataDir string
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run the service",
		Long: `Runs the service until it is told to stop. Without a configuration it starts an embedded ClickHouse and Redis on loopback, with
their data in ./data. config.example.yaml lists every setting.`,
		Example: "  kohorta serve\n  kohorta serve --config kohorta.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := readConfig(file)
			if err != nil {
				return err
			}
			if listen != "" {
				config.Listen = listen
			}
			if dataDir != "" {
				config.Engines.Dir = dataDir
			}
			return withService(cmd.Context(), config, slog.New(slog.NewTextHandler(os.Stderr, nil)), func(ctx context.Context, s *service) error {
				s.log.Info("serving", "address", s.address())
				<-ctx.Done()
				return nil
			})
		},
	}
	command.Flags().StringVar(&file, "config", "", "YAML file; default: none, everything embedded")
	command.Flags().StringVar(&listen, "listen", "", "address to listen on, instead of the configuration's")
	command.Flags().StringVar(&dataDir, "data", "", "directory of the embedded engines, instead of the configuration's")
	return command
}

func newRebuild() *cobra.Command {
	var file string
	command := &cobra.Command{
		Use:   "rebuild",
		Short: "Rebuild Redis from ClickHouse while the service is stopped",
		Long: `Rebuilds the membership in Redis from ClickHouse. A running service does this by itself when Redis comes back empty; this command
is for a Redis that is suspected to be wrong.`,
		Example: "  kohorta rebuild --config kohorta.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := readConfig(file)
			if err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, nil))
			s, err := newService(cmd.Context(), config, log)
			if err != nil {
				return err
			}
			err = s.store.MayWrite() // an error while a service is running
			if err == nil {
				err = s.segmenter.Rebuild(cmd.Context())
			}
			return errors.Join(err, s.close())
		},
	}
	command.Flags().StringVar(&file, "config", "", "YAML file of the service")
	return command
}

// withService runs a service, calls do, and ends the service when do returns or ctx ends, whichever is first.
func withService(ctx context.Context, config Config, log *slog.Logger, do func(context.Context, *service) error) error {
	s, err := newService(ctx, config, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- s.run(ctx)
		cancel()
	}()
	err = do(ctx, s)
	cancel()
	return errors.Join(err, <-ended, s.close())
}
