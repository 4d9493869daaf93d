package segmenter

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
)

// Trained is what a training gave.
type Trained struct {
	Version audience.ModelVersion
	Notes   []string // for people: cut points, the candidates' inertia
}

// Train fits a new version of the model, scores everybody with it, and publishes it. Until the last step reads see the version
// before; a training that fails or is cancelled leaves nothing behind that reads could see.
func (s *Segmenter) Train(ctx context.Context, model audience.Model, run audience.RunID, progress Progress) (Trained, error) {
	number, err := s.Catalogue.NextModelVersion(ctx, model.Number)
	if err != nil {
		return Trained{}, fmt.Errorf("begin a version of models/%s: %w", model.ID, err)
	}
	version := audience.ModelVersion{Model: model.Number, Version: number, TrainTime: s.Now().UTC(), Run: run}
	var fitted any
	var notes []string
	switch model.Kind {
	case audience.ModelRFM:
		fitted, notes, err = s.trainRFM(ctx, *model.RFM, &version, progress)
	case audience.ModelKMeans:
		fitted, notes, err = s.trainKMeans(ctx, model, &version, progress)
	default:
		return Trained{}, audience.Invalid("kind", "%q is not a kind of model: use rfm or kmeans", model.Kind)
	}
	if err != nil {
		return Trained{}, fmt.Errorf("train models/%s: %w", model.ID, err)
	}
	document, err := json.Marshal(fitted)
	if err != nil {
		return Trained{}, fmt.Errorf("store what models/%s learned: %w", model.ID, err)
	}
	version.Fitted = string(document)
	progress("publishing", version.Users, version.Users)
	if err := s.Catalogue.Publish(ctx, model, version); err != nil {
		return Trained{}, fmt.Errorf("publish version %d of models/%s: %w", number, model.ID, err)
	}
	return Trained{Version: version, Notes: notes}, nil
}
