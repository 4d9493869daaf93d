package server

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// modelService keeps models, trains them and reads their scores.
type modelService struct {
	audiencev1.UnsafeModelServiceServer
	kind[audience.Model, *audiencev1.Model]
	scores   Scores
	jobs     Jobs
	repeats  *repeats
	currency string
}

func newModelService(deps Deps, repeats *repeats, writing *sync.Mutex) *modelService {
	s := &modelService{scores: deps.Scores, jobs: deps.Jobs, repeats: repeats, currency: deps.Config.Currency}
	s.kind = kind[audience.Model, *audiencev1.Model]{
		collection: modelsCollection, field: "model", store: deps.Models, writing: writing,
		id:   func(model audience.Model) string { return string(model.ID) },
		meta: func(model *audience.Model) *audience.Meta { return &model.Meta },
		make: func(id string) audience.Model { return audience.Model{ID: audience.ModelID(id)} },
		write: func(model audience.Model) *audiencev1.Model {
			message := writeModel(model)
			message.NextTrainTime = nextOf(deps.Schedules, model.Schedule, message.GetName())
			return message
		},
		read: readModel,
		check: func(ctx context.Context, after audience.Model, before *audience.Model) error {
			return checkModel(ctx, deps, after, before)
		},
		users: func(ctx context.Context, model audience.Model) ([]string, error) {
			return usersOfModel(ctx, deps, model.ID)
		},
		fixed: map[string]bool{"name": true, "etag": true, "version": true, "next_train_time": true, "create_time": true, "update_time": true},
	}
	return s
}

// checkModel says what is wrong with a model in view of the others.
func checkModel(ctx context.Context, deps Deps, after audience.Model, before *audience.Model) error {
	if before != nil && before.Kind != after.Kind {
		return audience.Invalid("config", "cannot turn a %s model into a %s model; create another model instead", before.Kind, after.Kind)
	}
	if err := deps.Schedules.Check(after.Schedule); err != nil {
		return audience.Within("schedule", err)
	}
	if after.Schedule.OnChange != 0 {
		return audience.Invalid("schedule.on_change", "is for audiences; a model is trained at set times: leave it out")
	}
	return deps.Segmenter.CheckModel(ctx, after)
}

// usersOfModel are the names of the segments whose expressions refer to a model, of the audiences whose values do, and of the models
// that read it.
func usersOfModel(ctx context.Context, deps Deps, id audience.ModelID) ([]string, error) {
	var users []string
	segments, err := deps.Segments.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, segment := range segments {
		_, named, err := deps.Segmenter.References(segment.Expression)
		if err != nil {
			return nil, err
		}
		if slices.Contains(named, id) {
			users = append(users, nameOf(segmentsCollection, segment.ID))
		}
	}
	audiences, err := deps.Audiences.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range audiences {
		_, named, err := valueReferences(deps, a)
		if err != nil {
			return nil, err
		}
		if slices.Contains(named, id) {
			users = append(users, nameOf(audiencesCollection, a.ID))
		}
	}
	models, err := deps.Models.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, model := range models {
		if model.KMeans != nil && model.KMeans.Source == id {
			users = append(users, nameOf(modelsCollection, model.ID))
		}
	}
	return users, nil
}

func (s *modelService) CreateModel(ctx context.Context, req *audiencev1.CreateModelRequest) (*audiencev1.CreateModelResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.CreateModelResponse, error) {
		model, err := s.create(ctx, req.GetModelId(), req.GetModel())
		return &audiencev1.CreateModelResponse{Model: model}, err
	})
}

func (s *modelService) GetModel(ctx context.Context, req *audiencev1.GetModelRequest) (*audiencev1.GetModelResponse, error) {
	model, err := s.get(ctx, req.GetName())
	return &audiencev1.GetModelResponse{Model: model}, err
}

func (s *modelService) ListModels(ctx context.Context, req *audiencev1.ListModelsRequest) (*audiencev1.ListModelsResponse, error) {
	models, next, err := s.list(ctx, req.GetPageSize(), req.GetPageToken())
	return &audiencev1.ListModelsResponse{Models: models, NextPageToken: next}, err
}

func (s *modelService) UpdateModel(ctx context.Context, req *audiencev1.UpdateModelRequest) (*audiencev1.UpdateModelResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.UpdateModelResponse, error) {
		model, err := s.update(ctx, req.GetModel(), req.GetUpdateMask())
		return &audiencev1.UpdateModelResponse{Model: model}, err
	})
}

func (s *modelService) DeleteModel(ctx context.Context, req *audiencev1.DeleteModelRequest) (*audiencev1.DeleteModelResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.DeleteModelResponse, error) {
		return &audiencev1.DeleteModelResponse{}, s.delete(ctx, req.GetName(), req.GetEtag())
	})
}

func (s *modelService) TrainModel(ctx context.Context, req *audiencev1.TrainModelRequest) (*audiencev1.TrainModelResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.TrainModelResponse, error) {
		model, err := s.find(ctx, "name", req.GetName())
		if err != nil {
			return nil, err
		}
		run, err := s.jobs.Train(ctx, model)
		return &audiencev1.TrainModelResponse{Run: writeRun(run)}, err
	})
}

func (s *modelService) ListModelVersions(ctx context.Context, req *audiencev1.ListModelVersionsRequest) (*audiencev1.ListModelVersionsResponse, error) {
	model, err := s.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.GetPageSize(), req.GetPageToken(), "versions", strconv.Itoa(int(model.Number)))
	if err != nil {
		return nil, err
	}
	versions, err := s.scores.ModelVersions(ctx, model.Number)
	if err != nil {
		return nil, err
	}
	if p.after != "" {
		last, err := strconv.ParseUint(p.after, 10, 32)
		if err != nil {
			return nil, audience.Invalid("page_token", "is damaged; begin again without it")
		}
		versions = slices.DeleteFunc(versions, func(v audience.ModelVersion) bool { return v.Version >= uint32(last) })
	}
	versions, next := cut(p, versions, func(v audience.ModelVersion) string { return strconv.Itoa(int(v.Version)) })
	out := &audiencev1.ListModelVersionsResponse{NextPageToken: next}
	for _, version := range versions {
		message, err := writeModelVersion(version)
		if err != nil {
			return nil, fmt.Errorf("read version %d of models/%s: %w", version.Version, model.ID, err)
		}
		out.Versions = append(out.Versions, message)
	}
	return out, nil
}

// trained reads a model that has scores.
func (s *modelService) trained(ctx context.Context, name string) (audience.Model, error) {
	model, err := s.find(ctx, "name", name)
	if err == nil && model.Version == 0 {
		err = &preconditionError{kind: "NOT_TRAINED", message: "the model has not been trained yet; call TrainModel and wait for its run", in: []string{name}}
	}
	return model, err
}

func (s *modelService) GetScore(ctx context.Context, req *audiencev1.GetScoreRequest) (*audiencev1.GetScoreResponse, error) {
	user := audience.UserID(req.GetUserId())
	if err := user.Validate(); err != nil {
		return nil, err
	}
	model, err := s.trained(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	score, err := s.scores.Score(ctx, model.Number, model.Version, user)
	if err != nil {
		return nil, fmt.Errorf("version %d of %s: %w", model.Version, req.GetName(), err)
	}
	return &audiencev1.GetScoreResponse{Score: s.writeScore(model.Kind, score), Version: model.Version}, nil
}

func (s *modelService) ListScores(req *audiencev1.ListScoresRequest, stream grpc.ServerStreamingServer[audiencev1.ListScoresResponse]) error {
	ctx := stream.Context()
	model, err := s.trained(ctx, req.GetName())
	if err != nil {
		return err
	}
	scope := []string{"scores", strconv.Itoa(int(model.Number))}
	at, err := position("cursor", req.GetCursor(), scope...)
	if err != nil {
		return err
	}
	version := strconv.Itoa(int(model.Version))
	of, after, _ := strings.Cut(at, " ")
	if at != "" && of != version {
		return fmt.Errorf("%s was trained since the cursor was made (version %.10s, now %s); begin again without it: %w", req.GetName(), of, version, audience.ErrConflict)
	}
	scores := make([]*audiencev1.Score, 0, rowsPerMessage)
	send := func() error {
		if len(scores) == 0 {
			return nil
		}
		err := stream.Send(&audiencev1.ListScoresResponse{
			Scores: scores, Version: model.Version, Cursor: tokenAt(version+" "+scores[len(scores)-1].GetUserId(), scope...),
		})
		scores = scores[:0]
		return err
	}
	for score, err := range s.scores.Scores(ctx, model.Number, model.Version, audience.UserID(after)) {
		if err != nil {
			return err
		}
		if scores = append(scores, s.writeScore(model.Kind, score)); len(scores) == rowsPerMessage {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}
