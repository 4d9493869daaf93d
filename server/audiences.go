package server

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// maxSourceAge bounds how old membership may be that is sent without asking: longer ages are meant as "never ask".
const maxSourceAge = 366 * 24 * time.Hour

// maxPlatformName bounds an audience's name on the platform, in bytes; longer ones are cut there, each platform its own way.
const maxPlatformName = 50

// audienceService keeps destinations, audiences and lookalikes, and syncs audiences. Its destinations stand in destinations.go, its
// lookalikes in lookalikes.go, what waits for a person in held.go.
type audienceService struct {
	audiencev1.UnsafeAudienceServiceServer
	destinations kind[audience.Destination, *audiencev1.Destination]
	audiences    kind[audience.Audience, *audiencev1.Audience]
	lookalikes   kind[audience.Lookalike, *audiencev1.Lookalike]
	platforms    Platforms
	planner      Planner
	healths      Healths
	jobs         Jobs
	runs         Runs
	repeats      *repeats
	now          func() time.Time
}

func newAudienceService(deps Deps, repeats *repeats, writing *sync.Mutex) *audienceService {
	return &audienceService{
		destinations: destinationKind(deps, writing),
		audiences:    audienceKind(deps, writing),
		lookalikes:   lookalikeKind(deps, writing),
		platforms:    deps.Platforms, planner: deps.Planner, healths: deps.Healths, jobs: deps.Jobs, runs: deps.Runs, repeats: repeats, now: deps.Now,
	}
}

func audienceKind(deps Deps, writing *sync.Mutex) kind[audience.Audience, *audiencev1.Audience] {
	return kind[audience.Audience, *audiencev1.Audience]{
		collection: audiencesCollection, field: "audience", store: deps.Audiences, writing: writing,
		id:   func(a audience.Audience) string { return string(a.ID) },
		meta: func(a *audience.Audience) *audience.Meta { return &a.Meta },
		make: func(id string) audience.Audience { return audience.Audience{ID: audience.AudienceID(id)} },
		write: func(a audience.Audience) *audiencev1.Audience {
			message := writeAudience(a)
			if !a.Disabled {
				message.NextSyncTime = nextOf(deps.Schedules, a.Schedule, message.GetName())
			}
			return message
		},
		read: readAudience,
		check: func(ctx context.Context, after audience.Audience, before *audience.Audience) error {
			return checkAudience(ctx, deps, after, before)
		},
		users: func(ctx context.Context, a audience.Audience) ([]string, error) {
			return audienceUsers(ctx, deps, a)
		},
		fixed: map[string]bool{"name": true, "etag": true, "platform_id": true, "made_of_files": true, "next_sync_time": true, "create_time": true, "update_time": true},
	}
}

// audienceUsers are the sync under way of an audience, and the lookalikes made of it: platforms keep the source of one.
func audienceUsers(ctx context.Context, deps Deps, a audience.Audience) (users []string, err error) {
	syncs, err := deps.Runs.List(ctx, audience.RunFilter{
		Kind: audience.RunSync, Subject: nameOf(audiencesCollection, a.ID), State: audience.RunRunning,
	}, "", 1)
	if err != nil {
		return nil, err
	}
	for _, run := range syncs {
		users = append(users, nameOf(runsCollection, run.ID))
	}
	lookalikes, err := deps.Lookalikes.All(ctx)
	for _, l := range lookalikes {
		if l.Source == a.ID {
			users = append(users, nameOf(lookalikesCollection, l.ID))
		}
	}
	return users, err
}

// checkAudience says what is wrong with an audience in view of segments and destinations.
func checkAudience(ctx context.Context, deps Deps, after audience.Audience, before *audience.Audience) error {
	if before != nil && before.Destination != after.Destination {
		return audience.Invalid("destination", "cannot change: what %s holds is bound to it; create another audience instead", nameOf(destinationsCollection, before.Destination))
	}
	var v audience.Violations
	if _, err := deps.Segments.Get(ctx, string(after.Segment)); !v.Merge("", missing("segment", err)) {
		return err
	}
	destination, err := deps.Destinations.Get(ctx, string(after.Destination))
	if !v.Merge("", missing("destination", err)) {
		return err
	}
	if err := checkValue(ctx, deps, after, before, destination.Platform); !v.Merge("", err) {
		return err
	}
	if err := deps.Schedules.Check(after.Schedule); !v.Merge("schedule", err) {
		return err
	}
	if after.Static && after.Schedule.OnChange != 0 {
		v.Add("schedule.on_change", "is for audiences that follow changes; a static one is loaded at set times: use cron")
	}
	return v.Err()
}

// checkValue says what is wrong with the values of an audience at a platform; "" while that is not known.
func checkValue(ctx context.Context, deps Deps, after audience.Audience, before *audience.Audience, platform audience.Platform) error {
	switch {
	case before != nil && before.Value == "" && after.Value != "":
		return audience.Invalid("value", "cannot be given to an audience that was made without: the platform decides that for its life; create another audience with a value instead")
	case before != nil && before.Value != "" && after.Value == "":
		return audience.Invalid("value", "cannot be taken from an audience that was made with one: the platform decides that for its life; create another audience without instead")
	case after.Value == "" && after.ValueTolerance != 0:
		return audience.Invalid("value_tolerance", "is for audiences whose members have a value; set value, or leave it out")
	case after.Value == "":
		return nil
	case platform == audience.PlatformTikTok:
		return audience.Invalid("value", "is for audiences at Meta; TikTok takes no values: leave it out")
	}
	return deps.Segmenter.CheckValue(ctx, after.Value)
}

// valueReferences are the segments and models that the values of an audience name.
func valueReferences(deps Deps, a audience.Audience) ([]audience.SegmentID, []audience.ModelID, error) {
	if a.Value == "" {
		return nil, nil, nil
	}
	return deps.Segmenter.ValueReferences(a.Value)
}

func (s *audienceService) CreateAudience(ctx context.Context, req *audiencev1.CreateAudienceRequest) (*audiencev1.CreateAudienceResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.CreateAudienceResponse, error) {
		created, err := s.audiences.create(ctx, req.GetAudienceId(), req.GetAudience())
		return &audiencev1.CreateAudienceResponse{Audience: created}, err
	})
}

func (s *audienceService) GetAudience(ctx context.Context, req *audiencev1.GetAudienceRequest) (*audiencev1.GetAudienceResponse, error) {
	found, err := s.audiences.get(ctx, req.GetName())
	return &audiencev1.GetAudienceResponse{Audience: found}, err
}

func (s *audienceService) ListAudiences(ctx context.Context, req *audiencev1.ListAudiencesRequest) (*audiencev1.ListAudiencesResponse, error) {
	audiences, next, err := s.audiences.list(ctx, req.GetPageSize(), req.GetPageToken())
	return &audiencev1.ListAudiencesResponse{Audiences: audiences, NextPageToken: next}, err
}

func (s *audienceService) UpdateAudience(ctx context.Context, req *audiencev1.UpdateAudienceRequest) (*audiencev1.UpdateAudienceResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.UpdateAudienceResponse, error) {
		changed, err := s.audiences.update(ctx, req.GetAudience(), req.GetUpdateMask())
		return &audiencev1.UpdateAudienceResponse{Audience: changed}, err
	})
}

func (s *audienceService) DeleteAudience(ctx context.Context, req *audiencev1.DeleteAudienceRequest) (*audiencev1.DeleteAudienceResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.DeleteAudienceResponse, error) {
		return &audiencev1.DeleteAudienceResponse{}, s.delete(ctx, req.GetName(), req.GetEtag())
	})
}

// delete takes an audience off its platform first: nobody may stay there of whom nothing is known here. That takes a while,
// so other writes go on meanwhile, and only then is made sure that the audience is in no use.
func (s *audienceService) delete(ctx context.Context, name, etag string) error {
	target, err := s.audiences.deletable(ctx, name)
	if err != nil {
		return err
	}
	if etag != "" && etag != target.Etag {
		return fmt.Errorf("%s was changed meanwhile, read it again: %w", name, audience.ErrConflict)
	}
	if err := s.platforms.Retire(ctx, target.ID); err != nil {
		return err
	}
	return s.audiences.delete(ctx, name, "") // whether it is current was looked at before the platform was asked
}

func (s *audienceService) PlanSync(ctx context.Context, req *audiencev1.PlanSyncRequest) (*audiencev1.PlanSyncResponse, error) {
	target, err := s.audiences.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	plan, err := s.planner.Plan(ctx, target.ID)
	if err != nil {
		return nil, fmt.Errorf("plan the sync of %s: %w", req.GetName(), err)
	}
	return &audiencev1.PlanSyncResponse{Plan: writePlan(plan, s.now())}, nil
}

func writePlan(plan audience.SyncPlan, now time.Time) *audiencev1.SyncPlan {
	ways := map[string]audiencev1.SyncPlan_Way{"diff": audiencev1.SyncPlan_WAY_DIFF, "replace": audiencev1.SyncPlan_WAY_REPLACE, "file": audiencev1.SyncPlan_WAY_FILE}
	return &audiencev1.SyncPlan{
		MemberCount:      plan.Members,
		UnchangedCount:   plan.Unchanged,
		AdditionCount:    plan.Additions,
		RemovalCount:     plan.Removals,
		StopCount:        plan.Stops,
		ChangeCount:      plan.Changes,
		RevaluedCount:    plan.Revalued,
		SuppressedCounts: plan.Suppressed,
		Way:              ways[plan.Way],
		WayReason:        plan.WayReason,
		RequestCount:     plan.Requests,
		SendDuration:     durationpb.New(plan.Duration),
		FinishTime:       timestampOf(now.Add(plan.Duration)),
		HoldReasons:      plan.Hold,
	}
}

func (s *audienceService) StartSync(ctx context.Context, req *audiencev1.StartSyncRequest) (*audiencev1.StartSyncResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.StartSyncResponse, error) {
		run, err := s.sync(ctx, req.GetName(), audience.SyncOrder{Recreate: req.GetRecreate()})
		return &audiencev1.StartSyncResponse{Run: writeRun(run)}, err
	})
}

// sync starts the sync of an audience by name.
func (s *audienceService) sync(ctx context.Context, name string, order audience.SyncOrder) (audience.Run, error) {
	target, err := s.audiences.find(ctx, "name", name)
	if err != nil {
		return audience.Run{}, err
	}
	if target.Disabled {
		return audience.Run{}, &preconditionError{kind: "DISABLED", message: "the audience is disabled; enable it first", in: []string{name}}
	}
	return s.jobs.Sync(ctx, target, order)
}

func readAudience(into *audience.Audience, message *audiencev1.Audience) error {
	var v audience.Violations
	segment, err := idOf("segment", segmentsCollection, message.GetSegment())
	v.Merge("", err)
	destination, err := idOf("destination", destinationsCollection, message.GetDestination())
	v.Merge("", err)
	into.Segment, into.Destination = audience.SegmentID(segment), audience.DestinationID(destination)
	into.PlatformName, into.Purpose = message.GetPlatformName(), message.GetPurpose()
	into.MaxRemovalShare, into.Static, into.Disabled = message.GetMaxRemovalShare(), message.GetStatic(), message.GetDisabled()
	into.Schedule = readSchedule(&v, message.GetSchedule())
	into.ExclusiveGroup = message.GetExclusiveGroup()
	into.Value, into.ValueTolerance = message.GetValue(), message.GetValueTolerance()
	into.MaxSourceHours = durationOf(&v, "max_source_age", message.GetMaxSourceAge(), maxSourceAge).Hours()
	if into.ExclusiveGroup != "" {
		v.Merge("", audience.ValidSlug("exclusive_group", into.ExclusiveGroup))
	}
	checkText(&v, "platform_name", into.PlatformName, maxPlatformName)
	checkText(&v, "purpose", into.Purpose, audience.MaxPurposeBytes)
	if share := into.MaxRemovalShare; math.IsNaN(share) || share < 0 || share > 1 {
		v.Add("max_removal_share", "is %v; use a share from 0 to 1, where 0 means 0.3", share)
	}
	if share := into.ValueTolerance; math.IsNaN(share) || share < 0 || share > 1 {
		v.Add("value_tolerance", "is %v; use a share from 0 to 1, where 0 means %v", share, audience.DefaultValueTolerance)
	}
	return v.Err()
}

func writeAudience(a audience.Audience) *audiencev1.Audience {
	return &audiencev1.Audience{
		Name:            nameOf(audiencesCollection, a.ID),
		Segment:         nameOf(segmentsCollection, a.Segment),
		Destination:     nameOf(destinationsCollection, a.Destination),
		PlatformName:    a.PlatformName,
		PlatformId:      a.PlatformID,
		Purpose:         a.Purpose,
		MaxRemovalShare: a.MaxRemovalShare,
		Static:          a.Static,
		MadeOfFiles:     a.PlatformFiles,
		ExclusiveGroup:  a.ExclusiveGroup,
		Value:           a.Value,
		ValueTolerance:  a.ValueTolerance,
		MaxSourceAge:    durationpbOf(time.Duration(a.MaxSourceHours * float64(time.Hour))),
		Disabled:        a.Disabled,
		Schedule:        writeSchedule(a.Schedule),
		CreateTime:      timestampOf(a.CreateTime),
		UpdateTime:      timestampOf(a.UpdateTime),
		Etag:            a.Etag,
	}
}
