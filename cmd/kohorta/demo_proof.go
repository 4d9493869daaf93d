package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kohorta/kohorta/internal/audience"
	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// newEvents lets a day pass: three customers worth winning back buy again, a champion withdraws consent.
func (s *story) newEvents(ctx context.Context) error {
	lost, err := s.members(ctx, "segments/win-back")
	if err != nil {
		return err
	}
	champions, err := s.members(ctx, "segments/champions")
	if err != nil {
		return err
	}
	withdraws := slices.IndexFunc(s.people, func(p person) bool { return p.sendable() && slices.Contains(champions, string(p.user)) })
	if len(lost) < 3 || withdraws < 0 {
		return errors.New("these orders have too few customers to win back, or no champion who can be reached")
	}
	moving := lost[:3]
	before, err := s.memberships.BatchGetMembership(ctx, &audiencev1.BatchGetMembershipRequest{UserIds: moving})
	if err != nil {
		return err
	}

	at := s.end.Add(24 * time.Hour)
	if err := s.setClock(at); err != nil {
		return err
	}
	request := &audiencev1.IngestEventsRequest{}
	text := func(value string) *audiencev1.PropertyValue {
		return &audiencev1.PropertyValue{Kind: &audiencev1.PropertyValue_Text{Text: value}}
	}
	for i, user := range moving {
		request.Events = append(request.Events, &audiencev1.Event{
			UserId: user, EventId: fmt.Sprintf("demo-%d", i), Type: "purchase", Time: timestamppb.New(at), ValueMicros: 500e6,
			Properties: map[string]*audiencev1.PropertyValue{"category": text("Furniture"), "country": text("United Kingdom"), "order_id": text(fmt.Sprintf("demo-%d", i))},
		})
	}
	sent, err := s.ingest.IngestEvents(ctx, request)
	if err != nil {
		return err
	}
	after, err := s.memberships.BatchGetMembership(ctx, &audiencev1.BatchGetMembershipRequest{UserIds: moving, FreshnessToken: sent.GetFreshnessToken()})
	if err != nil {
		return err
	}
	s.people[withdraws].consents = false
	if _, err := s.ingest.SetConsent(ctx, &audiencev1.SetConsentRequest{
		UserId: string(s.people[withdraws].user), Consents: []*audiencev1.Consent{{Purpose: audience.DefaultPurpose, Granted: false}},
	}); err != nil {
		return err
	}
	s.show.say("three customers buy again, and a read right behind the events sees it;")
	s.show.say("%s, a champion, withdraws consent", s.people[withdraws].user)
	var rows [][]string
	for i := range moving {
		was, is := before.GetMemberships()[i].GetSegments(), after.GetMemberships()[i].GetSegments()
		rows = append(rows, []string{moving[i], missing(was, is), missing(is, was)})
	}
	s.show.table([]string{"customer", "has left", "has entered, as read from Redis"}, rows)
	return nil
}

// missing are the segments of one list that another has not, by id.
func missing(from, in []string) string {
	var ids []string
	for _, name := range from {
		if !slices.Contains(in, name) {
			ids = append(ids, strings.TrimPrefix(name, "segments/"))
		}
	}
	return strings.Join(ids, ", ")
}

// members lists a segment.
func (s *story) members(ctx context.Context, name string) ([]string, error) {
	var users []string
	for r, err := range received(s.segments.ListMembers(ctx, &audiencev1.ListMembersRequest{Name: name})) {
		if err != nil {
			return nil, err
		}
		users = append(users, r.GetUserIds()...)
	}
	return users, nil
}

// prove compares what each platform truly holds with who should be there: members with consent and an identifier, hashed
// here by the rules of the platform.
func (s *story) prove(ctx context.Context) error {
	people := map[string]person{}
	for _, p := range s.people {
		people[string(p.user)] = p
	}
	list, err := s.audiences.ListAudiences(ctx, &audiencev1.ListAudiencesRequest{})
	if err != nil {
		return err
	}
	var rows [][]string
	equal := true
	for _, target := range list.GetAudiences() {
		members, err := s.members(ctx, target.GetSegment())
		if err != nil {
			return err
		}
		onMeta := strings.HasSuffix(target.GetDestination(), "/meta")
		want := map[string]bool{}
		sendable := 0
		for _, user := range members {
			p := people[user]
			if !p.sendable() {
				continue
			}
			sendable++
			if onMeta {
				want[p.metaRow()] = true
			} else {
				for _, id := range p.tiktokIDs() {
					want[id] = true
				}
			}
		}
		held := s.held(target.GetPlatformId(), onMeta)
		verdict := "equal"
		if !maps.Equal(want, held) {
			verdict, equal = "DIFFERENT", false
		}
		what := "rows"
		if !onMeta {
			what = "identifiers"
		}
		rows = append(rows, []string{
			strings.TrimPrefix(target.GetName(), "audiences/"), thousands(int64(len(members))), thousands(int64(sendable)),
			fmt.Sprintf("%s %s", thousands(int64(len(want))), what), fmt.Sprintf("%s %s", thousands(int64(len(held))), what), verdict,
		})
	}
	s.show.table([]string{"audience", "members", "may be sent", "should hold", "holds", "row by row"}, rows, 1, 2, 3, 4)
	if !equal {
		return errors.New("a platform does not hold what it should")
	}
	return nil
}

// held is the platform's true state of an audience.
func (s *story) held(platformID string, onMeta bool) map[string]bool {
	held := map[string]bool{}
	if onMeta {
		for _, r := range s.platforms.Meta().Members(platformID) {
			var parts []string
			for _, key := range slices.Sorted(maps.Keys(r.Keys)) {
				parts = append(parts, key+"="+r.Keys[key])
			}
			held[strings.Join(parts, " ")] = true
		}
		return held
	}
	for _, m := range s.platforms.TikTok().Members(platformID) {
		held[m.Kind+"="+m.Hash] = true
	}
	return held
}
