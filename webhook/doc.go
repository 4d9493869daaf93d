// Package webhook speaks HTTP with systems that speak nothing else: a [Receiver] takes signed moves of users, a [Sender]
// tells receivers who enters and leaves segments.
//
// # Signatures
//
// Both ways alike: HMAC-SHA256, with a secret from a file, over the text of the header Kohorta-Timestamp, a point, and the
// body; in hex behind "v1=" in the header Kohorta-Signature. A file may hold two secrets, so that one can be renewed while
// the other still serves: what is sent is signed with each, what comes may be signed with either.
//
// # In
//
// A request is taken when its signature is right, not older than five minutes by the wall clock, and was not taken before:
// a claim, shared by all replicas, is laid on what was signed. Besides, each request is a move of its own in the durable
// history of moves, where a repeat does nothing, so that even a lost claim moves nobody twice.
//
// # Out
//
// Each webhook follows the stream of changes from a place of its own, which is durable: a follower takes what has come,
// sends it, and goes on once it was accepted. So a change is told at least once, a user's changes in order, and a receiver
// that is slow or away delays nobody else. The changes it refuses, each by itself, and what gets no answer in a number of
// attempts, become dead letters, and the follower goes on. Where a receiver takes nothing, whatever it is told, the
// follower waits for a person.
//
// The room knows no store, no segment's meaning and no gRPC: interfaces stand where they are needed, and cmd ties them.
package webhook
