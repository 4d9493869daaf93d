// Package live is the projection of membership that callers read: Redis holds, for every user, the segments the user is
// in, as the membership log in ClickHouse says. Changes and whole memberships come in; memberships go out. It does not
// know why a user is a member.
//
// # Layout
//
// Users stand in buckets of about 64, by the hash of their id. A bucket is one Redis hash: field = user id, value = the
// packed segments. So small, Redis keeps a hash as a flat list (a listpack) and a user costs about 23 bytes, a quarter of
// what a key of his own would. A user in no segment has no field. All buckets together are a generation; the meta key
// names the generation in force.
//
// # An answer is right or refused
//
// Redis may be wiped, restarted or evicted from at any moment, and a user who is missing then is not a user without
// segments. So every bucket exists from the building of its generation on, also without users, and holds a marker: the
// field "" (no user id is empty) with the version of the log up to which the bucket is right. A read asks for the marker
// and the user in one command. No marker: the bucket is lost, the answer is an *audience.UnavailableError, and the meta
// key is taken away, so that Version reports the loss and the owner of the log calls Rebuild.
//
// # One writer
//
// Apply and Rebuild are for the one process that owns the membership log. Readers are any number of processes.
package live
