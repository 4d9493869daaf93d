// Package live is the projection of membership that callers read: Redis holds the segments of every user, as recorded by the
// membership log in ClickHouse. Changes and whole memberships come in, memberships go out. It does not know why a user is a
// member.
//
// # Layout
//
// Users are in buckets of about 64, by the hash of their id. A bucket is one Redis hash: field = user id, value = the packed
// segments. Redis keeps a hash that small as a flat list (a listpack), and a user costs about 23 bytes, a quarter of a key
// per user. A user in no segment has no field. All buckets together are a generation; the meta key names the generation in
// force.
//
// # An answer is right or refused
//
// Redis may be wiped, restarted or evicted from at any moment, and a user who is missing then is not a user without
// segments. So every bucket exists from the time its generation is built, even without users, and holds a marker: the field
// "" (no user id is empty) with the version of the log up to which the bucket is right. A read asks for the marker and the
// user in one command. Without a marker the bucket is lost: the answer is an *audience.UnavailableError, and the meta key is
// deleted, so that Version reports the loss and the owner of the log calls Rebuild.
//
// # One writer
//
// Only the process that owns the membership log may call Apply and Rebuild. Any number of processes may read.
package live
