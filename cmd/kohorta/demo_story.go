package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/examples"
	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/tabular"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
	"github.com/kohorta/kohorta/sync/sandbox"
)

// story is the demo while it is told: a client of the service, and the platforms whose true state proves the end.
type story struct {
	demoConfig
	*client
	platforms    *sandbox.Server
	platformsURL string
	show         *stage
	setClock     func(time.Time) error // of the service, now and when it is run again

	people []person  // everybody in the orders, by user id
	end    time.Time // an hour after the last order
}

// tell shows the job, step by step.
func (s *story) tell(ctx context.Context) error {
	for _, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"import the orders as events", s.importOrders},
		{"invent identifiers and consents for the customers", s.introduce},
		{"apply the example models and segments", s.applyExamples},
		{"train RFM: recency, frequency, monetary", s.trainRFM},
		{"train k-means on the same three", s.trainKMeans},
		{"evaluate all segments, fill Redis", s.evaluate},
		{"bind two segments to each platform, plan, sync", s.syncAll},
		{"a day later: a few new events", s.newEvents},
		{"sync the difference", s.syncAll},
		{"prove it: the platforms' own state against the segments", s.prove},
	} {
		s.show.step(step.title)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
	}
	return nil
}

func (s *story) importOrders(ctx context.Context) error {
	begin := time.Now()
	result, err := importFile(ctx, s.client, s.data, s.mapping, false, newByteProgress(s.show.progress))
	if err != nil {
		return err
	}
	s.show.say("%s order lines in %.1f s: %s events, %s refused", thousands(result.Rows), time.Since(begin).Seconds(), thousands(result.Accepted), thousands(result.Refused))
	for _, reason := range result.topReasons(3) {
		s.show.say("  refused: %s", reason)
	}
	if err := s.readPeople(); err != nil {
		return err
	}
	return s.setClock(s.end)
}

// readPeople finds everybody in the orders and when these end.
func (s *story) readPeople() error {
	reader, err := tabular.Open(s.data, s.mapping)
	if err != nil {
		return err
	}
	defer reader.Close()
	users := map[audience.UserID]bool{}
	var last time.Time
	for row, err := range reader.Rows() {
		if err != nil {
			return err
		}
		if row.Refused == nil && !row.Skipped {
			users[row.Event.User] = true
			if row.Event.Time.After(last) {
				last = row.Event.Time
			}
		}
	}
	for _, user := range slices.Sorted(maps.Keys(users)) {
		s.people = append(s.people, invent(user))
	}
	s.end = last.Add(time.Hour) // the demo's clock goes on from here, and should not reach the next day while it runs
	return nil
}

// introduce tells the service what it could know of the customers: the orders have no identifiers, so these are invented.
func (s *story) introduce(ctx context.Context) error {
	counts := map[string]int64{}
	for chunk := range slices.Chunk(s.people, 5_000) {
		request := &audiencev1.UpsertProfilesRequest{}
		for _, p := range chunk {
			request.Profiles = append(request.Profiles, p.profile())
			for what, is := range map[string]bool{"email": p.email != "", "phone": p.phone != "", "no consent": !p.consents, "neither": p.email == "" && p.phone == ""} {
				if is {
					counts[what]++
				}
			}
		}
		response, err := s.ingest.UpsertProfiles(ctx, request)
		if err != nil {
			return err
		}
		if response.GetInvalidCount() > 0 {
			return fmt.Errorf("%d profiles were refused", response.GetInvalidCount())
		}
	}
	s.show.say("%s customers. The orders name none of them: e-mails and phones are made up from the customer id,", thousands(int64(len(s.people))))
	s.show.say("always the same. %s with an e-mail, %s with a phone, %s with neither, %s without consent;",
		thousands(counts["email"]), thousands(counts["phone"]), thousands(counts["neither"]), thousands(counts["no consent"]))
	s.show.say("hashed at the door, never stored in the clear")
	return nil
}

// applyExamples creates the resources of examples/, with what only the demo knows: where the orders end, where the
// platforms answer.
func (s *story) applyExamples(ctx context.Context) error {
	files := []string{"models.yaml", "segments.yaml", "audiences.yaml"}
	if s.preset == "online-retail" {
		files = append(files, "online-retail.yaml")
	}
	wanted, err := readResources(examples.Files.ReadFile, files)
	if err != nil {
		return err
	}
	for _, r := range wanted["models"] {
		if config := r.message.(*audiencev1.Model).GetRfm(); config != nil {
			config.AsOf = timestamppb.New(s.end)
		}
	}
	for _, r := range wanted["destinations"] {
		r.message.(*audiencev1.Destination).BaseUrl = s.platformsURL
	}
	steps, err := planApply(ctx, s.client, wanted, false)
	if err != nil {
		return err
	}
	if err := doApply(ctx, steps); err != nil {
		return err
	}
	created := map[string][]string{}
	for _, step := range steps {
		plural, id, _ := strings.Cut(step.Name, "/")
		created[plural] = append(created[plural], id)
	}
	for _, kind := range kinds {
		if ids := created[kind.plural]; len(ids) > 0 {
			s.show.say("%-12s %s", kind.plural, strings.Join(ids, ", "))
		}
	}
	s.show.say("the orders end on %s: everything is evaluated as of then", s.end.Format(time.DateOnly))
	return nil
}

// follow waits for a run that was just started.
func (s *story) follow(ctx context.Context, run *audiencev1.Run, err error) (*audiencev1.Run, error) {
	if err != nil {
		return nil, err
	}
	return s.watch(ctx, s.show.progress, run.GetName())
}

func (s *story) evaluate(ctx context.Context) error {
	r, err := s.segments.EvaluateSegments(ctx, &audiencev1.EvaluateSegmentsRequest{})
	run, err := s.follow(ctx, r.GetRun(), err)
	if err != nil {
		return err
	}
	list, err := s.segments.ListSegments(ctx, &audiencev1.ListSegmentsRequest{})
	if err != nil {
		return err
	}
	var rows [][]string
	for _, segment := range list.GetSegments() {
		rows = append(rows, []string{shorten(segment.GetTitle(), 24), thousands(segment.GetMemberCount()), shorten(segment.GetExpression(), 60)})
	}
	s.show.table([]string{"segment", "members", "expression"}, rows, 1)
	s.show.say("%s of %s customers are in at least one segment", thousands(run.GetCounts()["changed"]), thousands(int64(len(s.people))))
	return nil
}

// lacking makes of a reason for not being sent what the user lacks.
var lacking = strings.NewReplacer("no_", "", "unidentifiable", "identifier", "_", " ")

// syncAll plans and syncs every audience.
func (s *story) syncAll(ctx context.Context) error {
	list, err := s.audiences.ListAudiences(ctx, &audiencev1.ListAudiencesRequest{})
	if err != nil {
		return err
	}
	var rows [][]string
	for _, target := range list.GetAudiences() {
		plan, err := s.audiences.PlanSync(ctx, &audiencev1.PlanSyncRequest{Name: target.GetName()})
		if err != nil {
			return err
		}
		started, err := s.audiences.StartSync(ctx, &audiencev1.StartSyncRequest{Name: target.GetName()})
		run, err := s.follow(ctx, started.GetRun(), err)
		if err != nil {
			return err
		}
		var left []string
		for _, reason := range slices.Sorted(maps.Keys(plan.GetPlan().GetSuppressedCounts())) {
			left = append(left, thousands(plan.GetPlan().GetSuppressedCounts()[reason])+" "+lacking.Replace(reason))
		}
		counts := run.GetCounts()
		result := fmt.Sprintf("%.1f s", run.GetEndTime().AsTime().Sub(run.GetCreateTime().AsTime()).Seconds())
		if run.GetState() != audiencev1.Run_STATE_SUCCEEDED {
			result = cell(run, "state")
		}
		confirmed := counts["additions.confirmed"] + counts["removals.confirmed"] + counts["changes.confirmed"]
		rows = append(rows, []string{
			strings.TrimPrefix(target.GetName(), "audiences/"), thousands(plan.GetPlan().GetMemberCount()),
			thousands(plan.GetPlan().GetAdditionCount()), thousands(plan.GetPlan().GetRemovalCount()), thousands(plan.GetPlan().GetUnchangedCount()),
			strings.Join(left, ", "), thousands(plan.GetPlan().GetRequestCount()),
			thousands(confirmed), result,
		})
	}
	s.show.table([]string{"plan: audience", "members", "add", "remove", "keep", "not sent, lacking", "requests", "confirmed", "took"}, rows, 1, 2, 3, 4, 6, 7, 8)
	return nil
}
