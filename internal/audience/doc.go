// Package audience holds the nouns that all packages of Kohorta share: events, profiles, models, segments, audiences, runs, and
// the kinds of error callers branch on. It knows no database, no wire format and no other package.
//
// Values are validated at the edge: what a package receives from another has passed Validate already.
package audience
