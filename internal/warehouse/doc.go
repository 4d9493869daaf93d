// Package warehouse keeps what Kohorta knows in ClickHouse: events, profiles and consents, scores, membership and its
// log, the ledger of deliveries, resources and runs. Nouns come in and go out; queries other rooms compose are run as
// they are. It knows no Redis, no gRPC, and not what an expression means.
//
// A Store is the one writer of its database: that is what makes "a repeat counts once" exact. Large reads are streams in
// UserID order with constant memory. What a method has returned without error for is in ClickHouse.
package warehouse
