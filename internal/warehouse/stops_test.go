package warehouse

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kohorta/kohorta/internal/audience"
)

// TestMovedOutIsAStop: a person's word that a user is out of a segment takes her off its audiences as a stop does, while it stands.
func TestMovedOutIsAStop(t *testing.T) {
	s := open(t)
	for name, test := range map[string]struct {
		moves []audience.Move
		stop  bool
	}{
		"out of it":                 {[]audience.Move{{OutOf: []audience.SegmentID{"vip"}}}, true},
		"out of it for a time":      {[]audience.Move{{OutOf: []audience.SegmentID{"vip"}, Expires: time.Now().Add(time.Hour)}}, true},
		"out of it until yesterday": {[]audience.Move{{OutOf: []audience.SegmentID{"vip"}, Expires: time.Now().Add(-time.Hour)}}, false},
		"out of another":            {[]audience.Move{{OutOf: []audience.SegmentID{"other"}}}, false},
		"out of it, then released":  {[]audience.Move{{OutOf: []audience.SegmentID{"vip"}}, {Release: []audience.SegmentID{"vip"}}}, false},
		"out of it, then into it":   {[]audience.Move{{OutOf: []audience.SegmentID{"vip"}}, {Into: []audience.SegmentID{"vip"}}}, false},
		"never moved":               {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			user := audience.UserID(name)
			require.NoError(t, s.RecordDeliveries(t.Context(), scope.Audience, []audience.Delivery{{User: user, State: audience.DeliveryDelivered, Identifiers: []audience.Identifier{email}, Time: noon}}))
			for i, move := range test.moves {
				move.User, move.RequestID = user, strconv.Itoa(i)
				_, err := s.WriteMove(t.Context(), move, map[audience.SegmentID]audience.Number{"vip": scope.Segment, "other": scope.Segment + 1}, noon)
				require.NoError(t, err)
			}
			rows, err := all(s.SyncRows(t.Context(), scope, audience.SyncRange{Users: []audience.UserID{user}}))
			require.NoError(t, err)
			require.Len(t, rows, 1, "held, and no member")
			require.Equal(t, test.stop, rows[0].Stop)
		})
	}
}
