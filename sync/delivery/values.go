package delivery

import (
	"cmp"
	"context"
	"fmt"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/sync/destination"
)

// valued reports whether the audience is value-based: whatever is sent has a value beside the identifiers.
func (t *target) valued() bool { return t.audience.Value != "" }

// setValues has target and ledger compared by what members are worth now. Nobody can be added to a value-based audience without
// it; stops do without, for an expression that fails must not keep them.
func (d *Deliverer) setValues(ctx context.Context, t *target) error {
	if !t.valued() {
		return nil
	}
	query, err := d.Values(ctx, t.audience.Value)
	if err != nil {
		return fmt.Errorf("values of audience %s: %w", t.audience.ID, err)
	}
	t.scope.Values = audience.Values{Query: query, Tolerance: cmp.Or(t.audience.ValueTolerance, audience.DefaultValueTolerance)}
	return nil
}

// row is a user as the audience's platform takes him.
func (t *target) row(user audience.UserID, identifiers []audience.Identifier, value float64) destination.Row {
	return destination.Row{User: user, Identifiers: identifiers, Value: value, HasValue: t.valued()}
}

// restored is to which outcome a member belongs who is sent again because he may have been lost: to that of the plan, if his
// value had moved before.
func restored(row audience.SyncRow) kind {
	if row.Moved {
		return revaluation
	}
	return restoral
}
