package warehouse

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kohorta/kohorta/internal/audience"
)

// Scores are written by the segmenter's own INSERT … SELECT, a partition a version; here they are begun, published,
// read and dropped.

// keptVersions is how many complete versions of a model keep their scores: the published one and one to compare with.
const keptVersions = 2

// NextModelVersion is a number above every version begun for the model, and is not given again. It drops what an interrupted
// training wrote, and what versions long replaced still hold.
func (s *Store) NextModelVersion(ctx context.Context, model audience.Number) (uint32, error) {
	params := map[string]any{"model": uint32(model)}
	complete, err := all(stream(ctx, s, audience.Query{
		SQL:    "SELECT DISTINCT version FROM model_versions WHERE model = {model:UInt32} ORDER BY version DESC",
		Params: params,
	}, scanModelNumber))
	if err != nil {
		return 0, err
	}
	written, err := all(stream(ctx, s, audience.Query{
		SQL:    "SELECT DISTINCT version FROM scores WHERE model = {model:UInt32} ORDER BY version DESC",
		Params: params,
	}, scanModelNumber))
	if err != nil {
		return 0, err
	}
	keep := map[uint32]bool{}
	for i, version := range complete {
		keep[version] = i < keptVersions
	}
	begun, err := all(stream(ctx, s, audience.Query{
		SQL:    "SELECT max(version) FROM version_numbers WHERE model = {model:UInt32}",
		Params: params,
	}, scanModelNumber))
	if err != nil {
		return 0, err
	}
	next := uint32(1)
	for _, version := range slices.Concat(complete, written, begun) {
		next = max(next, version+1)
	}
	for _, version := range written {
		if !keep[version] {
			if err := s.dropScores(ctx, model, version); err != nil {
				return 0, err
			}
		}
	}
	return next, s.insert(ctx, "version_numbers (model, version)", []uint32{uint32(model)}, []uint32{next})
}

func scanModelNumber(rows driver.Rows) (version uint32, err error) {
	return version, rows.Scan(&version)
}

// dropScores removes one version's scores. The partition is named by numbers only.
func (s *Store) dropScores(ctx context.Context, model audience.Number, version uint32) error {
	return s.Exec(ctx, audience.Query{SQL: fmt.Sprintf("ALTER TABLE scores DROP PARTITION (%d, %d)", model, version)})
}

// PutModelVersion records a complete version.
func (s *Store) PutModelVersion(ctx context.Context, v audience.ModelVersion) error {
	return s.insert(ctx, "model_versions (model, version, train_time, as_of, run, users, fitted)",
		[]uint32{uint32(v.Model)}, []uint32{v.Version}, []int64{millis(v.TrainTime)}, []int64{millis(v.AsOf)},
		[]string{string(v.Run)}, []int64{v.Users}, []string{v.Fitted})
}

const selectModelVersion = "SELECT model, version, train_time, as_of, run, users, fitted FROM model_versions FINAL WHERE model = {model:UInt32}"

// ModelVersion is a complete version on record; ErrNotFound when there is none.
func (s *Store) ModelVersion(ctx context.Context, model audience.Number, version uint32) (audience.ModelVersion, error) {
	v, found, err := first(ctx, s, audience.Query{
		SQL:    selectModelVersion + " AND version = {version:UInt32}",
		Params: map[string]any{"model": uint32(model), "version": version},
	}, scanModelVersion)
	if err == nil && !found {
		err = &audience.ResourceError{Kind: audience.ErrNotFound, Name: fmt.Sprintf("version %d of the model", version)}
	}
	return v, err
}

// ModelVersions are the complete versions of a model, newest first.
func (s *Store) ModelVersions(ctx context.Context, model audience.Number) ([]audience.ModelVersion, error) {
	return all(stream(ctx, s, audience.Query{
		SQL:    selectModelVersion + " ORDER BY version DESC",
		Params: map[string]any{"model": uint32(model)},
	}, scanModelVersion))
}

func scanModelVersion(rows driver.Rows) (audience.ModelVersion, error) {
	var v audience.ModelVersion
	var number uint32
	var run string
	var trained, asOf time.Time
	err := rows.Scan(&number, &v.Version, &trained, &asOf, &run, &v.Users, &v.Fitted)
	v.Model, v.Run, v.TrainTime, v.AsOf = audience.Number(number), audience.RunID(run), orZero(trained), orZero(asOf)
	return v, err
}

const selectScore = `
SELECT user_id, r, f, m, segment, recency_days, frequency, monetary_micros, label, distance FROM scores
WHERE model = {model:UInt32} AND version = {version:UInt32}`

// Score is what a version says of a user; ErrNotFound when it does not score her.
func (s *Store) Score(ctx context.Context, model audience.Number, version uint32, user audience.UserID) (audience.Score, error) {
	score, found, err := first(ctx, s, audience.Query{
		SQL:    selectScore + " AND user_id = {user:String}",
		Params: map[string]any{"model": uint32(model), "version": version, "user": string(user)},
	}, scanScore)
	if err == nil && !found {
		err = &audience.ResourceError{Kind: audience.ErrNotFound, Name: "the user's score"}
	}
	return score, err
}

// Scores yields the scores of a version above a user id, in UserID order.
func (s *Store) Scores(ctx context.Context, model audience.Number, version uint32, after audience.UserID) iter.Seq2[audience.Score, error] {
	return stream(ctx, s, audience.Query{
		SQL:    selectScore + " AND user_id > {after:String} ORDER BY user_id",
		Params: map[string]any{"model": uint32(model), "version": version, "after": string(after)},
	}, scanScore)
}

func scanScore(rows driver.Rows) (audience.Score, error) {
	var score audience.Score
	var user string
	err := rows.Scan(&user, &score.R, &score.F, &score.M, &score.Segment, &score.RecencyDays, &score.Frequency,
		&score.MonetaryMicros, &score.Label, &score.Distance)
	score.User = audience.UserID(user)
	return score, err
}

// Catalogue is the store as the segmenter sees it: which segments and models there are, and which version reads see.
type Catalogue struct{ *Store }

// Segments are all segments, by id.
func (c Catalogue) Segments(ctx context.Context) ([]audience.Segment, error) {
	return c.Store.Segments().All(ctx)
}

// Models are all models, by id.
func (c Catalogue) Models(ctx context.Context) ([]audience.Model, error) {
	return c.Store.Models().All(ctx)
}

// Publish records a complete version and makes it the one that reads see, whatever else of the model was edited meanwhile.
func (c Catalogue) Publish(ctx context.Context, model audience.Model, version audience.ModelVersion) error {
	if err := c.PutModelVersion(ctx, version); err != nil {
		return err
	}
	current, err := c.Store.Models().Get(ctx, string(model.ID))
	if err != nil {
		return err
	}
	current.Etag, current.Version = "", version.Version
	_, err = c.Store.Models().Update(ctx, current)
	return err
}
