package server

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

func (s *segmentService) CompareSegment(ctx context.Context, req *audiencev1.CompareSegmentRequest) (*audiencev1.CompareSegmentResponse, error) {
	sample, err := sampleSize(req.GetSampleSize())
	if err != nil {
		return nil, err
	}
	segment, err := s.compared(ctx, req)
	if err != nil {
		return nil, err
	}
	comparison, err := s.segmenter.Compare(ctx, segment, sample)
	if err != nil {
		return nil, audience.Within("segment", err)
	}
	out := &audiencev1.CompareSegmentResponse{EvaluateTime: timestampOf(comparison.At)}
	for _, c := range comparison.Segments {
		out.Segments = append(out.Segments, &audiencev1.SegmentComparison{
			Name: nameOf(segmentsCollection, c.ID), EnteringCount: c.Entering, LeavingCount: c.Leaving, StayingCount: c.Staying,
			EnteringUserIds: texts(c.EnteringSample), LeavingUserIds: texts(c.LeavingSample),
		})
	}
	return out, nil
}

// compared is the segment a request names, stored or new, with the definition the request gives, if any.
func (s *segmentService) compared(ctx context.Context, req *audiencev1.CompareSegmentRequest) (audience.Segment, error) {
	id, err := idOf("name", segmentsCollection, req.GetName())
	if err != nil {
		return audience.Segment{}, err
	}
	segment, err := s.store.Get(ctx, id)
	if req.GetSegment() == nil {
		return segment, err
	}
	if errors.Is(err, audience.ErrNotFound) {
		segment, err = audience.Segment{ID: audience.SegmentID(id)}, nil
	}
	if err == nil {
		err = audience.Within("segment", readSegment(&segment, req.GetSegment()))
	}
	return segment, err
}

func texts(users []audience.UserID) []string {
	out := make([]string, len(users))
	for i, user := range users {
		out[i] = string(user)
	}
	return out
}

func (s *segmentService) ListSegmentVersions(ctx context.Context, req *audiencev1.ListSegmentVersionsRequest) (*audiencev1.ListSegmentVersionsResponse, error) {
	segment, err := s.find(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	p, err := pageOf(req.GetPageSize(), req.GetPageToken(), "versions", strconv.Itoa(int(segment.Number)))
	if err != nil {
		return nil, err
	}
	versions, err := s.versions.Versions(ctx, segment)
	if err != nil {
		return nil, err
	}
	names, err := s.directory.current(ctx)
	if err != nil {
		return nil, err
	}
	inForce, _ := names.Find(segment.ID)
	if after, err := strconv.Atoi(p.after); err == nil {
		versions = slices.DeleteFunc(versions, func(v audience.SegmentVersion) bool { return v.Version >= after })
	}
	versions, next := cut(p, versions, func(v audience.SegmentVersion) string { return strconv.Itoa(v.Version) })
	out := &audiencev1.ListSegmentVersionsResponse{NextPageToken: next}
	for _, v := range versions {
		out.Versions = append(out.Versions, &audiencev1.SegmentVersion{
			Version: int64(v.Version), Expression: v.Expression, Group: v.Group, Priority: int32(v.Priority),
			CreateTime: timestampOf(v.DefineTime), InForce: inForce.Version == v.Version,
		})
	}
	return out, nil
}

func (s *segmentService) RollbackSegment(ctx context.Context, req *audiencev1.RollbackSegmentRequest) (*audiencev1.RollbackSegmentResponse, error) {
	return once(ctx, s.repeats, req, func() (*audiencev1.RollbackSegmentResponse, error) {
		if err := s.rollback(ctx, req.GetName(), req.GetVersion()); err != nil {
			return nil, err
		}
		segment, run, err := s.bring(ctx, req.GetName())
		return &audiencev1.RollbackSegmentResponse{Segment: segment, Run: run}, err
	})
}

// rollback gives a segment the definition of an earlier version.
func (s *segmentService) rollback(ctx context.Context, name string, version int64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	segment, err := s.find(ctx, "name", name)
	if err != nil {
		return err
	}
	versions, err := s.versions.Versions(ctx, segment)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(versions, func(v audience.SegmentVersion) bool { return int64(v.Version) == version })
	switch {
	case at < 0:
		return audience.Invalid("version", "there is no version %d of %s; ListSegmentVersions has those there are", version, name)
	case at == 0:
		return audience.Invalid("version", "%d is the newest version of %s; name an earlier one", version, name)
	}
	segment.Expression, segment.Group, segment.Priority = versions[at].Expression, versions[at].Group, versions[at].Priority
	if err := s.check(ctx, segment, &segment); err != nil { // what it refers to may have gone
		return renamed("version", err)
	}
	_, err = s.store.Update(ctx, segment)
	return err
}

// bring starts bringing the newest definition of a segment into force, unless it is already, and returns the segment with
// the run that does it.
func (s *segmentService) bring(ctx context.Context, name string) (*audiencev1.Segment, *audiencev1.Run, error) {
	segment, err := s.find(ctx, "name", name)
	if err != nil {
		return nil, nil, err
	}
	names, err := s.directory.current(ctx)
	if err != nil {
		return nil, nil, err
	}
	message := writeSegment(segment)
	inForce, found := names.Find(segment.ID)
	if !found {
		return message, nil, nil
	}
	message.InForceVersion = new(int64(inForce.Version))
	if !segment.Disabled && inForce.Version == segment.Version {
		return message, nil, nil
	}
	run, err := s.jobs.Evaluate(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	return message, writeRun(run), nil
}
