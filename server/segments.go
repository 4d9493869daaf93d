package server

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// Bounds of previews, evaluations and streams.
const (
	defaultSample     = 10
	maxSample         = 100
	maxEvaluatedUsers = 10_000
)

// segmentService keeps segments.
type segmentService struct {
	audiencev1.UnsafeSegmentServiceServer
	kind[audience.Segment, *audiencev1.Segment]
	segmenter Segmenter
	members   Members
	history   History
	live      Live
	explainer Explainer
	versions  Versions
	jobs      Jobs
	repeats   *repeats
	directory *directory
	now       func() time.Time
}

func newSegmentService(deps Deps, repeats *repeats, writing *sync.Mutex, directory *directory) *segmentService {
	s := &segmentService{
		segmenter: deps.Segmenter, members: deps.Members, history: deps.History, live: deps.Live, explainer: deps.Explainer,
		versions: deps.Versions, jobs: deps.Jobs, repeats: repeats, directory: directory, now: deps.Now,
	}
	s.kind = kind[audience.Segment, *audiencev1.Segment]{
		collection: segmentsCollection, field: "segment", store: deps.Segments, writing: writing,
		id:    func(segment audience.Segment) string { return string(segment.ID) },
		meta:  func(segment *audience.Segment) *audience.Meta { return &segment.Meta },
		make:  func(id string) audience.Segment { return audience.Segment{ID: audience.SegmentID(id)} },
		write: writeSegment, read: readSegment,
		check: func(ctx context.Context, after audience.Segment, _ *audience.Segment) error {
			return deps.Segmenter.CheckSegment(ctx, after)
		},
		users: func(ctx context.Context, segment audience.Segment) ([]string, error) {
			return usersOfSegment(ctx, deps, segment.ID)
		},
		fixed: map[string]bool{"name": true, "etag": true, "member_count": true, "version": true, "in_force_version": true, "create_time": true, "update_time": true},
	}
	return s
}

// usersOfSegment are the names of the segments whose expressions refer to a segment, of its audiences, and of the webhooks
// that follow it.
func usersOfSegment(ctx context.Context, deps Deps, id audience.SegmentID) ([]string, error) {
	var users []string
	segments, err := deps.Segments.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range segments {
		named, _, err := deps.Segmenter.References(other.Expression)
		if err != nil {
			return nil, err
		}
		if slices.Contains(named, id) {
			users = append(users, nameOf(segmentsCollection, other.ID))
		}
	}
	audiences, err := deps.Audiences.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range audiences {
		named, _, err := valueReferences(deps, other)
		if err != nil {
			return nil, err
		}
		if other.Segment == id || slices.Contains(named, id) {
			users = append(users, nameOf(audiencesCollection, other.ID))
		}
	}
	webhooks, err := deps.Webhooks.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range webhooks {
		if slices.Contains(other.Segments, id) {
			users = append(users, nameOf(webhooksCollection, other.ID))
		}
	}
	return users, nil
}

func (s *segmentService) CreateSegment(ctx context.Context, req *audiencev1.CreateSegmentRequest) (*audiencev1.CreateSegmentResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.CreateSegmentResponse, error) {
		segment, err := s.create(ctx, req.GetSegmentId(), req.GetSegment())
		s.directory.written()
		return &audiencev1.CreateSegmentResponse{Segment: segment}, err
	})
}

func (s *segmentService) GetSegment(ctx context.Context, req *audiencev1.GetSegmentRequest) (*audiencev1.GetSegmentResponse, error) {
	segment, err := s.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	message := writeSegment(segment)
	if err := s.complete(ctx, message); err != nil {
		return nil, err
	}
	return &audiencev1.GetSegmentResponse{Segment: message}, nil
}

func (s *segmentService) ListSegments(ctx context.Context, req *audiencev1.ListSegmentsRequest) (*audiencev1.ListSegmentsResponse, error) {
	segments, next, err := s.page(ctx, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &audiencev1.ListSegmentsResponse{NextPageToken: next}
	for _, segment := range segments {
		out.Segments = append(out.Segments, writeSegment(segment))
	}
	if err := s.complete(ctx, out.Segments...); err != nil {
		return nil, err
	}
	return out, nil
}

// complete adds to segments their version in force and its number of members.
func (s *segmentService) complete(ctx context.Context, segments ...*audiencev1.Segment) error {
	var sizes map[audience.Number]int64
	names, err := s.directory.consistent(ctx, func(*names) (err error) {
		sizes, err = s.members.SegmentSizes(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, segment := range segments {
		id, err := idOf("name", segmentsCollection, segment.GetName())
		if err != nil {
			return err
		}
		if inForce, found := names.Find(audience.SegmentID(id)); found {
			segment.InForceVersion, segment.MemberCount = new(int64(inForce.Version)), new(sizes[inForce.Number])
		}
	}
	return nil
}

func (s *segmentService) UpdateSegment(ctx context.Context, req *audiencev1.UpdateSegmentRequest) (*audiencev1.UpdateSegmentResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.UpdateSegmentResponse, error) {
		updated, err := s.update(ctx, req.GetSegment(), req.GetUpdateMask())
		if err != nil {
			return nil, err
		}
		segment, run, err := s.bring(ctx, updated.GetName())
		return &audiencev1.UpdateSegmentResponse{Segment: segment, Run: run}, err
	})
}

func (s *segmentService) DeleteSegment(ctx context.Context, req *audiencev1.DeleteSegmentRequest) (*audiencev1.DeleteSegmentResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.DeleteSegmentResponse, error) {
		err := s.delete(ctx, req.GetName(), req.GetEtag())
		s.directory.written()
		return &audiencev1.DeleteSegmentResponse{}, err
	})
}

func (s *segmentService) PreviewSegment(ctx context.Context, req *audiencev1.PreviewSegmentRequest) (*audiencev1.PreviewSegmentResponse, error) {
	sample, err := sampleSize(req.GetSampleSize())
	if err != nil {
		return nil, err
	}
	at, err := instantOf("evaluate_time", req.GetEvaluateTime())
	if err != nil {
		return nil, err
	}
	preview, err := s.segmenter.Preview(ctx, req.GetExpression(), at, sample)
	if err != nil {
		return nil, err
	}
	out := &audiencev1.PreviewSegmentResponse{
		MemberCount: preview.Members, UserCount: preview.Users, EvaluateTime: timestampOf(preview.At),
	}
	for _, user := range preview.Sample {
		out.SampleUserIds = append(out.SampleUserIds, string(user))
	}
	for _, clause := range preview.Clauses {
		out.Clauses = append(out.Clauses, &audiencev1.ClauseCount{Clause: clause.Clause, UserCount: clause.Users})
	}
	return out, nil
}

func (s *segmentService) EvaluateSegments(ctx context.Context, req *audiencev1.EvaluateSegmentsRequest) (*audiencev1.EvaluateSegmentsResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.EvaluateSegmentsResponse, error) {
		users, err := usersOf(req.GetUserIds(), maxEvaluatedUsers)
		if err != nil {
			return nil, err
		}
		slices.Sort(users)
		if users = slices.Compact(users); len(users) == 0 {
			users = nil // everybody
		}
		run, err := s.jobs.Evaluate(ctx, users)
		return &audiencev1.EvaluateSegmentsResponse{Run: writeRun(run)}, err
	})
}

// sampleSize is how many users to show.
func sampleSize(asked int32) (int, error) {
	if asked < 0 || asked > maxSample {
		return 0, audience.Invalid("sample_size", "is %d; 0 means %d, the most is %d", asked, defaultSample, maxSample)
	}
	return cmp.Or(int(asked), defaultSample), nil
}

func readSegment(into *audience.Segment, message *audiencev1.Segment) error {
	into.Title, into.Description = message.GetTitle(), message.GetDescription()
	into.Expression, into.Disabled = message.GetExpression(), message.GetDisabled()
	into.Group, into.Priority = message.GetGroup(), int(message.GetPriority())
	var v audience.Violations
	if into.Group != "" {
		v.Merge("", audience.ValidSlug("group", into.Group))
	} else if into.Priority != 0 {
		v.Add("priority", "is %d, but the segment is in no group; name its group", into.Priority)
	}
	checkText(&v, "title", into.Title, maxTitleBytes)
	checkText(&v, "description", into.Description, maxDescriptionBytes)
	if into.Expression == "" {
		v.Add("expression", `is empty; say who belongs to the segment, e.g. did("purchase", "30d")`)
	}
	return v.Err()
}

func writeSegment(segment audience.Segment) *audiencev1.Segment {
	return &audiencev1.Segment{
		Name:        nameOf(segmentsCollection, segment.ID),
		Title:       segment.Title,
		Description: segment.Description,
		Expression:  segment.Expression,
		Disabled:    segment.Disabled,
		Group:       segment.Group,
		Priority:    int32(segment.Priority),
		Version:     int64(segment.Version),
		CreateTime:  timestampOf(segment.CreateTime),
		UpdateTime:  timestampOf(segment.UpdateTime),
		Etag:        segment.Etag,
	}
}
