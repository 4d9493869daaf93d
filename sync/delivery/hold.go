package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/plan"
)

// approvable is how long a held plan can be approved, and how long the approval is good.
const approvable = 24 * time.Hour

// evidence is what the plan of a target is judged by.
func (d *Deliverer) evidence(ctx context.Context, t target) (plan.Evidence, error) {
	now := time.Now().UTC()
	source, err := d.Ledger.Source(ctx, now)
	if err != nil {
		return plan.Evidence{}, err
	}
	past, err := d.Ledger.PastSyncs(ctx, t.audience.Number, now.Add(-plan.Memory))
	if err != nil {
		return plan.Evidence{}, err
	}
	return plan.Evidence{
		Now: now, MaxRemovalShare: t.audience.MaxRemovalShare, MaxSourceAge: time.Duration(t.audience.MaxSourceHours * float64(time.Hour)),
		Expression: digest(t.segment.Expression), Source: source, Past: past,
	}, nil
}

func digest(expression string) string {
	sum := sha256.Sum256([]byte(expression))
	return hex.EncodeToString(sum[:8])
}

// holds decides whether the plan of a sync waits for a person, and keeps it if so. Approved says that a person has just
// approved what was held.
func (s *sending) holds(ctx context.Context, approved bool) (bool, error) {
	p := &s.report.Plan
	if len(p.Hold) == 0 {
		return false, nil
	}
	held, err := s.Ledger.HeldPlan(ctx, s.audience.Number)
	if err != nil {
		return false, err
	}
	now := time.Now().UTC()
	standing := held.State == audience.HeldApproved || approved && held.State == audience.HeldWaiting
	switch {
	case standing && now.Before(held.Expires) && plan.Covers(held.Plan, *p):
		if held.State == audience.HeldApproved {
			return false, nil
		}
		held.State = audience.HeldApproved
		return false, s.Ledger.PutHeldPlan(ctx, s.audience.Number, held)
	case approved && standing && !now.Before(held.Expires):
		p.Hold = append(p.Hold, "the plan that was approved has expired")
	case approved && standing:
		p.Hold = append(p.Hold, fmt.Sprintf("it would do more than the plan that was approved, which had %d additions, %d removals, %d changes",
			held.Plan.Additions, held.Plan.Removals, held.Plan.Changes))
	}
	return true, s.Ledger.PutHeldPlan(ctx, s.audience.Number, audience.HeldPlan{
		Run: s.run, State: audience.HeldWaiting, Plan: p.SyncPlan, Time: now, Expires: now.Add(approvable)})
}

// HeldPlan is the newest plan of an audience that was held; one without State when there never was any.
func (d *Deliverer) HeldPlan(ctx context.Context, id audience.AudienceID) (audience.HeldPlan, error) {
	a, err := d.Catalogue.Audience(ctx, id)
	if err != nil {
		return audience.HeldPlan{}, err
	}
	return d.Ledger.HeldPlan(ctx, a.Number)
}

// Drop decides against the held plan of an audience: it cannot be approved any more. ErrPrecondition when none waits.
func (d *Deliverer) Drop(ctx context.Context, id audience.AudienceID) error {
	a, err := d.Catalogue.Audience(ctx, id)
	if err != nil {
		return err
	}
	held, err := d.Ledger.HeldPlan(ctx, a.Number)
	if err != nil {
		return err
	}
	if held.State == "" || held.State == audience.HeldDropped || !time.Now().Before(held.Expires) {
		return fmt.Errorf("audience %s has no held plan to drop: %w", id, audience.ErrPrecondition)
	}
	held.State = audience.HeldDropped
	return d.Ledger.PutHeldPlan(ctx, a.Number, held)
}

// remember keeps what a sync went by, for the plans to come.
func (s *sending) remember(ctx context.Context) error {
	p := s.report.Plan
	return s.Ledger.RecordSync(ctx, s.audience.Number, audience.SyncRecord{
		Run: s.run, Time: time.Now().UTC(), Expression: s.evidence.Expression, Members: p.Members,
		Unidentifiable: p.Suppressed[plan.Unidentifiable], Source: s.evidence.Source})
}
