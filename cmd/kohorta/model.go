package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func newModel(o *options) *cobra.Command {
	return newResource(o, models, "Models: train them, read their scores",
		&cobra.Command{
			Use: "train ID", Short: "Train a new version and watch it", Args: cobra.ExactArgs(1), ValidArgsFunction: models.complete(o),
			Example: "  kohorta model train rfm",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					r, err := c.models.TrainModel(ctx, &audiencev1.TrainModelRequest{Name: models.name(args[0])})
					return followRun(ctx, cmd, o, c, r.GetRun(), err)
				})
			},
		},
		&cobra.Command{
			Use: "score ID USER", Short: "Show a user's score", Args: cobra.ExactArgs(2), ValidArgsFunction: models.complete(o),
			Example: "  kohorta model score rfm CG-12520",
			RunE: func(cmd *cobra.Command, args []string) error {
				return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
					r, err := c.models.GetScore(ctx, &audiencev1.GetScoreRequest{Name: models.name(args[0]), UserId: args[1]})
					if err != nil {
						return err
					}
					return newPrinter(cmd.OutOrStdout(), o).message(r.GetScore())
				})
			},
		},
		newModelScores(o),
	)
}

// newModelScores exports all scores. Its --output is its own: CSV or NDJSON.
func newModelScores(o *options) *cobra.Command {
	var format string
	command := &cobra.Command{
		Use: "scores ID", Short: "Export the scores of all users", Args: cobra.ExactArgs(1), ValidArgsFunction: models.complete(o),
		Example: "  kohorta model scores rfm --output csv > scores.csv",
		// The format is checked here: the root knows text and json only.
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if format != "csv" && format != "json" {
				return fmt.Errorf("--output: %q is neither csv nor json", format)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd.Context(), o, func(ctx context.Context, c *client) error {
				write, flush := scoresAsCSV(cmd.OutOrStdout())
				if format == "json" {
					write, flush = scoresAsNDJSON(cmd.OutOrStdout())
				}
				for r, err := range received(c.models.ListScores(ctx, &audiencev1.ListScoresRequest{Name: models.name(args[0])})) {
					if err != nil {
						return err
					}
					for _, score := range r.GetScores() {
						if err := write(score); err != nil {
							return err
						}
					}
				}
				return flush()
			})
		},
	}
	command.Flags().StringVarP(&format, "output", "o", "csv", "csv, or json: one object a line")
	return command
}

func scoresAsNDJSON(out io.Writer) (func(*audiencev1.Score) error, func() error) {
	options := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}
	return func(score *audiencev1.Score) error {
		text, err := options.Marshal(score)
		if err != nil {
			return err
		}
		_, err = out.Write(append(text, '\n'))
		return err
	}, func() error { return nil }
}

func scoresAsCSV(out io.Writer) (func(*audiencev1.Score) error, func() error) {
	w := csv.NewWriter(out)
	headed := false
	return func(score *audiencev1.Score) error {
			header, row := []string{"user_id", "label", "distance"}, []string{score.GetUserId()}
			if s := score.GetRfm(); s != nil {
				header = []string{"user_id", "r", "f", "m", "segment", "recency_days", "frequency", "monetary", "currency"}
				row = append(row, fmt.Sprint(s.GetR()), fmt.Sprint(s.GetF()), fmt.Sprint(s.GetM()), s.GetSegment(), fmt.Sprint(s.GetRecencyDays()),
					fmt.Sprint(s.GetFrequency()), strconv.FormatFloat(float64(s.GetMonetaryMicros())/1e6, 'f', -1, 64), s.GetCurrencyCode())
			} else {
				row = append(row, fmt.Sprint(score.GetCluster().GetLabel()), strconv.FormatFloat(score.GetCluster().GetDistance(), 'g', 6, 64))
			}
			if !headed {
				headed = true
				if err := w.Write(header); err != nil {
					return err
				}
			}
			return w.Write(row)
		}, func() error {
			w.Flush()
			return w.Error()
		}
}
