package live

import (
	"math/bits"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/kohorta/kohorta/internal/audience"
)

// The keys, all of them:
//
//	kohorta:meta       hash: generation in force, its buckets, the version applied, users held, servers
//	kohorta:m:<g>:<b>  hash: bucket b of generation g; "" → version, user id → packed segments
//	kohorta:once:<id>  string: a claim on something to be done once; expires
//	kohorta:stops      channel: users who may have to be stopped
//
// No command or script uses two of them, so they may be anywhere in a Redis Cluster.
type keys struct{ prefix string }

func (k keys) meta() string { return k.prefix + ":meta" }

func (k keys) once(id string) string { return k.prefix + ":once:" + id }

func (k keys) stops() string { return k.prefix + ":stops" }

// members is the prefix of all buckets, generation that of the buckets of one generation.
func (k keys) members() string { return k.prefix + ":m:" }

func (k keys) generation(g generation) string { return k.members() + g.id + ":" }

func (k keys) bucket(g generation, bucket uint32) string {
	return k.prefix + ":m:" + g.id + ":" + strconv.FormatUint(uint64(bucket), 36)
}

// Fields of the meta key.
const (
	metaGeneration = "generation"
	metaBuckets    = "buckets"
	metaVersion    = "version"
	metaUsers      = "users"
	metaServers    = "servers"
)

// marker is the field of a bucket that holds its version.
const marker = ""

// generation is one complete set of buckets. Its id is never used again: see Store.nextGeneration.
type generation struct {
	id      string
	buckets uint32
}

// bucketOf spreads users evenly over any number of buckets: the high word of hash × buckets.
func (g generation) bucketOf(user audience.UserID) uint32 {
	high, _ := bits.Mul64(xxhash.Sum64String(string(user)), uint64(g.buckets))
	return uint32(high)
}
