package segmenter

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/segmenter/expr"
	"github.com/kohorta/kohorta/segmenter/rfm"
)

// rfmConfig is the configuration of the mathematics that a spec asks for.
func rfmConfig(spec audience.RFMSpec) rfm.Config {
	config := rfm.Config{
		Bins:       spec.Bins,
		Convention: rfm.Convention(spec.Convention),
		CutPoints:  rfm.CutPoints{Recency: spec.RecencyCuts, Frequency: spec.FrequencyCuts, Monetary: spec.MonetaryCuts},
		Frequency:  rfm.FrequencyBy(spec.Frequency),
		Monetary:   rfm.MonetaryBy(spec.Monetary),
		Recency:    rfm.RecencyBy(spec.Recency),
		WindowDays: spec.WindowDays,
		TimeZone:   spec.TimeZone,

		SegmentPreset: spec.SegmentPreset,
	}
	if spec.IgnoreRefunds {
		config.Refunds = rfm.Ignore
	}
	for _, rule := range spec.Segments {
		config.SegmentRules = append(config.SegmentRules, rfm.Rule{
			Segment: rule.Name, Recency: rfm.Range(rule.Recency), Frequency: rfm.Range(rule.Frequency), Monetary: rfm.Range(rule.Monetary),
		})
	}
	return config
}

// fittedRFM is what a training of an RFM model fitted, with the spec it was given: the model's spec may have changed since.
type fittedRFM struct {
	rfm.Model
	Spec *audience.RFMSpec `json:"spec"`
}

// fittedRFM reads what scores users live by the model's published version.
func (s *Segmenter) fittedRFM(ctx context.Context, model audience.Model) (*expr.RFM, error) {
	version, err := s.Catalogue.ModelVersion(ctx, model.Number, model.Version)
	if err != nil {
		return nil, err
	}
	fitted := fittedRFM{Spec: model.RFM}
	if err := json.Unmarshal([]byte(version.Fitted), &fitted); err != nil {
		return nil, fmt.Errorf("what it learned is not readable: %w", err)
	}
	return &expr.RFM{
		PurchaseTypes: orDefault(fitted.Spec.PurchaseTypes, "purchase"), RefundTypes: orDefault(fitted.Spec.RefundTypes, "refund"),
		Config: rfmConfig(*fitted.Spec), Model: fitted.Model,
	}, nil
}

// trainRFM measures every buyer into a staging table, reads the few values the cut points rest on, and scores from there.
func (s *Segmenter) trainRFM(ctx context.Context, spec audience.RFMSpec, version *audience.ModelVersion, progress Progress) (fittedRFM, []string, error) {
	config := rfmConfig(spec)
	version.AsOf = spec.AsOf
	if version.AsOf.IsZero() {
		version.AsOf = version.TrainTime
	}

	progress("measuring recency, frequency and monetary", 0, 0)
	staging := "staging_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	defer func() { // also when ctx has ended: nobody else would remove it
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := s.Database.Exec(cleanup, audience.Query{SQL: "DROP TABLE IF EXISTS " + staging}); err != nil {
			s.Logger.Warn("staging table not dropped", "table", staging, "error", err)
		}
	}()
	if err := s.Database.Exec(ctx, measureSQL(spec, config, version.AsOf, staging)); err != nil {
		return fittedRFM{}, nil, fmt.Errorf("measure: %w", err)
	}
	err := s.Database.Select(ctx, audience.Query{SQL: "SELECT toInt64(count()) FROM " + staging}, func(scan func(...any) error) error {
		return scan(&version.Users)
	})
	if err != nil {
		return fittedRFM{}, nil, fmt.Errorf("count: %w", err)
	}

	progress("fitting cut points", 0, version.Users)
	ranks := config.Ranks(int(version.Users))
	var ranked [3][]rfm.Bound
	for i, column := range []string{"recency_days", "frequency", "monetary_micros"} {
		if ranked[i], err = s.ranked(ctx, config, staging, column, ranks, version.Users); err != nil {
			return fittedRFM{}, nil, fmt.Errorf("read the ranks of %s: %w", column, err)
		}
	}
	model, err := config.FitRanks(int(version.Users), ranked[0], ranked[1], ranked[2])
	if err != nil {
		return fittedRFM{}, nil, fmt.Errorf("fit: %w", err)
	}

	if model.Recency.Quantiles, model.Frequency.Quantiles, model.Monetary.Quantiles, err = s.quantiles(ctx, staging, int(version.Users)); err != nil {
		return fittedRFM{}, nil, fmt.Errorf("read the distributions: %w", err)
	}

	progress("scoring users", 0, version.Users)
	if err := s.Database.Exec(ctx, scoreSQL(model, *version, staging)); err != nil {
		return fittedRFM{}, nil, fmt.Errorf("score: %w", err)
	}
	return fittedRFM{model, &spec}, []string{
		fmt.Sprintf("recency cut points, days: %v", model.Recency.CutPoints),
		fmt.Sprintf("frequency cut points: %v", model.Frequency.CutPoints),
		fmt.Sprintf("monetary cut points: %v", model.Monetary.CutPoints),
	}, nil
}

// ranked reads the values at the ranks (from 0) of a staged column.
func (s *Segmenter) ranked(ctx context.Context, config rfm.Config, staging, column string, ranks []int, n int64) ([]rfm.Bound, error) {
	bounds := make([]rfm.Bound, 0, len(ranks))
	if len(ranks) == 0 {
		return bounds, nil
	}
	if config.Convention == rfm.NTile {
		err := s.Database.Select(ctx, tileStartsSQL(staging, column, ranks), func(scan func(...any) error) error {
			var b rfm.Bound
			if err := scan(&b.Value, &b.Key); err != nil {
				return err
			}
			bounds = append(bounds, b)
			return nil
		})
		return bounds, err
	}
	var values []int64
	err := s.Database.Select(ctx, atRanksSQL(staging, ranks, n, column), func(scan func(...any) error) error { return scan(&values) })
	for _, v := range values {
		bounds = append(bounds, rfm.Bound{Value: v})
	}
	return bounds, err
}

// quantiles reads the distributions of what is staged of n users.
func (s *Segmenter) quantiles(ctx context.Context, staging string, n int) (recency, frequency, monetary rfm.Quantiles, err error) {
	ranks := rfm.QuantileRanks(n)
	if len(ranks) == 0 {
		return recency, frequency, monetary, nil
	}
	var days, orders, micros []int64
	err = s.Database.Select(ctx, atRanksSQL(staging, ranks, int64(n), "recency_days", "frequency", "monetary_micros"), func(scan func(...any) error) error {
		return scan(&days, &orders, &micros)
	})
	if err != nil {
		return recency, frequency, monetary, err
	}
	return rfm.NewQuantiles(n, days), rfm.NewQuantiles(n, orders), rfm.NewQuantiles(n, micros), nil
}
