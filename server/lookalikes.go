package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// maxPlaces bounds the places and placements of a lookalike.
const maxPlaces = 100

func lookalikeKind(deps Deps, writing *sync.Mutex) kind[audience.Lookalike, *audiencev1.Lookalike] {
	return kind[audience.Lookalike, *audiencev1.Lookalike]{
		collection: lookalikesCollection, field: "lookalike", store: deps.Lookalikes, writing: writing,
		id:    func(l audience.Lookalike) string { return string(l.ID) },
		meta:  func(l *audience.Lookalike) *audience.Meta { return &l.Meta },
		make:  func(id string) audience.Lookalike { return audience.Lookalike{ID: audience.LookalikeID(id)} },
		write: writeLookalike, read: readLookalike,
		check: func(ctx context.Context, after audience.Lookalike, _ *audience.Lookalike) error {
			_, err := deps.Audiences.Get(ctx, string(after.Source))
			return missing("source", err)
		},
		users: func(context.Context, audience.Lookalike) ([]string, error) { return nil, nil },
	}
}

// CreateLookalike creates it on the platform first, so that what is stored here exists there. A crash in between leaves one on
// the platform, which a repeat finds.
func (s *audienceService) CreateLookalike(ctx context.Context, req *audiencev1.CreateLookalikeRequest) (*audiencev1.CreateLookalikeResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.CreateLookalikeResponse, error) {
		wanted, err := s.wantedLookalike(ctx, req)
		if err != nil {
			return nil, err
		}
		if wanted.PlatformID, err = s.platforms.CreateLookalike(ctx, wanted); err != nil {
			return nil, audience.Within("lookalike", err)
		}
		s.lookalikes.writing.Lock()
		defer s.lookalikes.writing.Unlock()
		all, err := s.lookalikes.store.All(ctx)
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if other.Source == wanted.Source && other.PlatformID == wanted.PlatformID {
				return nil, fmt.Errorf("the platform makes no two alike: %w", &audience.ResourceError{Kind: audience.ErrExists, Name: nameOf(lookalikesCollection, other.ID)})
			}
		}
		created, err := s.lookalikes.store.Create(ctx, wanted)
		return &audiencev1.CreateLookalikeResponse{Lookalike: writeLookalike(created)}, err
	})
}

// wantedLookalike is the lookalike that a request asks for, as far as it can be told without the platform.
func (s *audienceService) wantedLookalike(ctx context.Context, req *audiencev1.CreateLookalikeRequest) (audience.Lookalike, error) {
	wanted, err := s.lookalikes.asked(req.GetLookalikeId(), req.GetLookalike())
	if err == nil {
		err = audience.Within("lookalike", s.lookalikes.check(ctx, wanted, nil))
	}
	if err != nil {
		return wanted, err
	}
	switch _, err := s.lookalikes.store.Get(ctx, req.GetLookalikeId()); {
	case err == nil:
		return wanted, &audience.ResourceError{Kind: audience.ErrExists, Name: nameOf(lookalikesCollection, wanted.ID)}
	case !errors.Is(err, audience.ErrNotFound):
		return wanted, err
	}
	return wanted, nil
}

func (s *audienceService) GetLookalike(ctx context.Context, req *audiencev1.GetLookalikeRequest) (*audiencev1.GetLookalikeResponse, error) {
	found, err := s.lookalikes.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	status, err := s.platforms.Lookalike(ctx, found)
	if err != nil {
		return nil, err
	}
	message := writeLookalike(found)
	message.State, message.Reason, message.Remedy = valueOf[audiencev1.Lookalike_State](status.State), status.Reason, status.Remedy
	message.PeopleLow, message.PeopleHigh = known(status.Low), known(status.High)
	return &audiencev1.GetLookalikeResponse{Lookalike: message}, nil
}

// known is a figure of a platform's; none for one it does not give.
func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func (s *audienceService) ListLookalikes(ctx context.Context, req *audiencev1.ListLookalikesRequest) (*audiencev1.ListLookalikesResponse, error) {
	lookalikes, next, err := s.lookalikes.list(ctx, req.GetPageSize(), req.GetPageToken())
	return &audiencev1.ListLookalikesResponse{Lookalikes: lookalikes, NextPageToken: next}, err
}

func (s *audienceService) DeleteLookalike(ctx context.Context, req *audiencev1.DeleteLookalikeRequest) (*audiencev1.DeleteLookalikeResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.DeleteLookalikeResponse, error) {
		found, err := s.lookalikes.find(ctx, "name", req.GetName())
		if err != nil {
			return nil, err
		}
		if req.GetEtag() != "" && req.GetEtag() != found.Etag {
			return nil, fmt.Errorf("%s was changed meanwhile, read it again: %w", req.GetName(), audience.ErrConflict)
		}
		if err := s.platforms.DeleteLookalike(ctx, found); err != nil {
			return nil, err
		}
		return &audiencev1.DeleteLookalikeResponse{}, s.lookalikes.delete(ctx, req.GetName(), "")
	})
}

// readLookalike checks what all platforms require; the platform checks the rest.
func readLookalike(into *audience.Lookalike, message *audiencev1.Lookalike) error {
	var v audience.Violations
	source, err := idOf("source", audiencesCollection, message.GetSource())
	v.Merge("", err)
	into.Source, into.PlatformName = audience.AudienceID(source), message.GetPlatformName()
	into.Places, into.Placements = message.GetPlaces(), message.GetPlacements()
	into.Ratio, into.StartingRatio = message.GetRatio(), message.GetStartingRatio()
	into.Size, into.MobileOS = readWord(&v, "size", message.GetSize()), readWord(&v, "mobile_os", message.GetMobileOs())
	into.IncludeSource = message.GetIncludeSource()
	checkText(&v, "platform_name", into.PlatformName, maxPlatformName)
	for _, list := range []struct {
		field string
		texts []string
	}{{"places", into.Places}, {"placements", into.Placements}} {
		if len(list.texts) > maxPlaces {
			v.Add(list.field, "has %d entries; at most %d are allowed", len(list.texts), maxPlaces)
		}
		checkText(&v, list.field, strings.Join(list.texts, ""), maxDescriptionBytes)
	}
	for _, ratio := range []struct {
		field string
		value float64
	}{{"ratio", into.Ratio}, {"starting_ratio", into.StartingRatio}} {
		if math.IsNaN(ratio.value) || ratio.value < 0 || ratio.value > 1 {
			v.Add(ratio.field, "is %v; use a share from 0 to 1", ratio.value)
		}
	}
	return v.Err()
}

func writeLookalike(l audience.Lookalike) *audiencev1.Lookalike {
	return &audiencev1.Lookalike{
		Name:          nameOf(lookalikesCollection, l.ID),
		Source:        nameOf(audiencesCollection, l.Source),
		PlatformName:  l.PlatformName,
		PlatformId:    l.PlatformID,
		Places:        l.Places,
		Ratio:         l.Ratio,
		StartingRatio: l.StartingRatio,
		Size:          valueOf[audiencev1.Lookalike_Size](l.Size),
		MobileOs:      valueOf[audiencev1.Lookalike_MobileOs](l.MobileOS),
		Placements:    l.Placements,
		IncludeSource: l.IncludeSource,
		CreateTime:    timestampOf(l.CreateTime),
		Etag:          l.Etag,
	}
}
