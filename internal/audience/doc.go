// Package audience holds the nouns every room of Kohorta shares: events, profiles, models, segments, audiences, runs, and
// the kinds of error callers branch on. It knows no database, no wire format and no other room.
//
// Values are plain and validated at the edge: what a room receives from another room has passed Validate already.
package audience
