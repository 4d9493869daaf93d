package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func (s *story) trainRFM(ctx context.Context) error {
	scores, err := s.train(ctx, "models/rfm")
	if err != nil {
		return err
	}
	var grid [6][6]int // users by recency and frequency score
	type figures struct {
		users          int
		days           []int
		monetaryMicros int64
	}
	segments := map[string]*figures{}
	var revenue int64
	for _, score := range scores {
		r := score.GetRfm()
		grid[r.GetR()][r.GetF()]++
		f := segments[r.GetSegment()]
		if f == nil {
			f = &figures{}
			segments[r.GetSegment()] = f
		}
		f.users++
		f.days = append(f.days, int(r.GetRecencyDays()))
		f.monetaryMicros += r.GetMonetaryMicros()
		revenue += r.GetMonetaryMicros()
	}

	s.show.say("customers by recency score (down, 5 = lately) and frequency score (across, 5 = most orders):")
	s.show.heat(grid)
	byRevenue := func(a, b string) int { return cmp.Compare(segments[b].monetaryMicros, segments[a].monetaryMicros) }
	var rows [][]string
	for _, name := range slices.SortedFunc(maps.Keys(segments), byRevenue) {
		f := segments[name]
		slices.Sort(f.days)
		rows = append(rows, []string{
			name, thousands(int64(f.users)), fmt.Sprintf("%d", f.days[len(f.days)/2]),
			thousands(f.monetaryMicros / int64(f.users) / 1e6), fmt.Sprintf("%.0f %%", 100*float64(f.monetaryMicros)/float64(revenue)),
		})
	}
	s.show.table([]string{"named segment", "customers", "median days since", s.mapping.Currency + " each", "of revenue"}, rows, 1, 2, 3, 4)
	return nil
}

func (s *story) trainKMeans(ctx context.Context) error {
	if _, err := s.train(ctx, "models/behaviour"); err != nil {
		return err
	}
	versions, err := s.models.ListModelVersions(ctx, &audiencev1.ListModelVersionsRequest{Name: "models/behaviour"})
	if err != nil {
		return err
	}
	if len(versions.GetVersions()) == 0 {
		return errors.New("the model has no version")
	}
	var rows [][]string
	for _, value := range versions.GetVersions()[0].GetFitted().GetFields()["clusters"].GetListValue().GetValues() {
		cluster := value.GetStructValue().GetFields()
		typical := cluster["typical"].GetListValue().GetValues()
		rows = append(rows, []string{
			fmt.Sprintf("%.0f", cluster["label"].GetNumberValue()), cluster["name"].GetStringValue(),
			thousands(int64(cluster["users"].GetNumberValue())), fmt.Sprintf("%.0f %%", 100*cluster["share"].GetNumberValue()),
			fmt.Sprintf("%.0f", typical[0].GetNumberValue()), fmt.Sprintf("%.1f", typical[1].GetNumberValue()), thousands(int64(typical[2].GetNumberValue())),
		})
	}
	s.show.table([]string{"cluster", "name", "customers", "share", "typical days since", "orders", s.mapping.Currency}, rows, 0, 2, 3, 4, 5, 6)
	return nil
}

// train trains a model and reads its scores.
func (s *story) train(ctx context.Context, name string) ([]*audiencev1.Score, error) {
	r, err := s.models.TrainModel(ctx, &audiencev1.TrainModelRequest{Name: name})
	run, err := s.follow(ctx, r.GetRun(), err)
	if err != nil {
		return nil, err
	}
	s.show.notes(run.GetNotes())
	var scores []*audiencev1.Score
	for r, err := range received(s.models.ListScores(ctx, &audiencev1.ListScoresRequest{Name: name})) {
		if err != nil {
			return nil, err
		}
		scores = append(scores, r.GetScores()...)
	}
	return scores, nil
}
