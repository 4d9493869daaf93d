package live

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kohorta/kohorta/internal/audience"
)

// Store is the projection in one Redis. It is safe for concurrent use; see the package comment for who may write.
type Store struct {
	redis redis.UniversalClient
	keys  keys
	log   *slog.Logger
	reads coalescer

	inForce atomic.Pointer[sighting]

	rebuild sync.Mutex // one Rebuild at a time

	write  sync.Mutex        // guards what follows; held through each Apply
	swept  bool              // the buckets a crashed writer left are gone
	aside  bool              // a rebuild is writing its generation
	late   []audience.Change // applied while aside; the new generation needs them too
	missed missed
}

// sighting is a generation as found in the meta key. It is read again by a read that finds a bucket missing, and by every
// read once it is old: a generation can be abandoned with all its buckets there.
type sighting struct {
	generation
	at time.Time
}

const oldSighting = time.Second

// retryAfter is how long a caller should leave Redis, or a rebuild, to recover.
const retryAfter = time.Second

// Open connects. Redis need not answer yet: reads are refused until it does and a generation has been built.
func Open(ctx context.Context, c Config, log *slog.Logger) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	options, err := c.options()
	if err != nil {
		return nil, err
	}
	prefix := c.Prefix
	if prefix == "" {
		prefix = "kohorta"
	}
	s := &Store{redis: redis.NewUniversalClient(options), keys: keys{prefix}, log: log}
	s.checkSettings(ctx)
	return s, nil
}

// Close waits for reads under way and closes the connections.
func (s *Store) Close() error {
	s.reads.wait()
	return s.redis.Close()
}

// Ping reports whether Redis answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.translate(ctx, s.redis.Ping(ctx).Err())
}

// checkSettings warns when Redis would not keep buckets as flat lists, which costs several times the memory, or would evict
// some of them: a bucket lost is noticed, and everything built again. Managed services that forbid CONFIG are taken to keep
// the defaults, which are right.
func (s *Store) checkSettings(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, retryAfter)
	defer cancel()
	const encoding, eviction = "hash-max-listpack-entries", "maxmemory-policy"
	if is, err := s.redis.ConfigGet(ctx, encoding).Result(); err == nil {
		if entries, err := strconv.Atoi(is[encoding]); err == nil && entries < mostUsers {
			s.log.Warn("redis stores buckets at several times the memory", "setting", encoding, "is", entries, "want", mostUsers)
		}
	}
	if is, err := s.redis.ConfigGet(ctx, eviction).Result(); err == nil && strings.HasPrefix(is[eviction], "allkeys") { // others spare what never expires
		s.log.Warn("redis may evict buckets", "setting", eviction, "is", is[eviction], "want", "noeviction")
	}
}

// Version is the version of the membership log with which a replay must begin: all before it is applied, and itself perhaps
// in part. The error is an audience.ErrPrecondition as well as an *audience.UnavailableError when nothing is built or it was
// lost: time to Rebuild. When Redis cannot answer, it is only the latter.
func (s *Store) Version(ctx context.Context) (uint64, error) {
	meta, err := s.redis.HGetAll(ctx, s.keys.meta()).Result()
	if err != nil {
		return 0, s.translate(ctx, err)
	}
	version, err := strconv.ParseUint(meta[metaVersion], 10, 64)
	if err != nil {
		return 0, unbuilt(audience.ErrPrecondition)
	}
	servers, err := s.servers(ctx)
	if err != nil {
		return 0, err
	}
	if servers != meta[metaServers] {
		if err := s.abandon(ctx, meta[metaGeneration]); err != nil {
			return 0, err
		}
		return 0, unbuilt(audience.ErrPrecondition)
	}
	return version, nil
}

// servers identifies the masters of a cluster: a node that restarted, or a replica promoted in its place, may have lost its
// last writes without losing a marker. A single server needs no such check: what it loses, it loses of all keys alike, the
// version included, and the log is replayed from there. "" then.
func (s *Store) servers(ctx context.Context) (string, error) {
	cluster, ok := s.redis.(*redis.ClusterClient)
	if !ok {
		return "", nil
	}
	var mu sync.Mutex
	var ids []string
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		info, err := node.InfoMap(ctx, "server").Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, info["Server"]["run_id"])
		return nil
	})
	slices.Sort(ids)
	sum := sha256.Sum256([]byte(strings.Join(ids, " ")))
	return hex.EncodeToString(sum[:8]), s.translate(ctx, err)
}

// errHole says that a bucket has no marker: its generation was replaced, or Redis lost it.
var errHole = errors.New("a bucket is missing")

// inGeneration runs f on the generation in force, and again if that was replaced meanwhile. A generation that is in force and
// misses a bucket is abandoned.
func (s *Store) inGeneration(ctx context.Context, f func(generation) error) error {
	g, err := s.current(ctx)
	if err != nil {
		return err
	}
	for {
		if err := f(g); !errors.Is(err, errHole) {
			return s.translate(ctx, err)
		}
		now, err := s.load(ctx)
		if err != nil {
			return err
		}
		if g == now {
			if err := s.abandon(ctx, g.id); err != nil {
				return err
			}
			return unbuilt(nil)
		}
		g = now
	}
}

// current is the generation in force, or was a moment ago.
func (s *Store) current(ctx context.Context) (generation, error) {
	if seen := s.inForce.Load(); seen != nil && time.Since(seen.at) < oldSighting {
		return seen.generation, nil
	}
	return s.load(ctx)
}

// load reads the generation in force.
func (s *Store) load(ctx context.Context) (generation, error) {
	answer, err := s.redis.HMGet(ctx, s.keys.meta(), metaGeneration, metaBuckets).Result()
	if err != nil {
		return generation{}, s.translate(ctx, err)
	}
	id, _ := answer[0].(string)
	text, _ := answer[1].(string)
	buckets, err := strconv.ParseUint(text, 10, 32)
	if err != nil || buckets == 0 {
		return generation{}, unbuilt(nil)
	}
	g := generation{id: id, buckets: uint32(buckets)}
	s.inForce.Store(&sighting{g, time.Now()})
	return g, nil
}

// abandonScript deletes the meta key unless it names another generation by now.
const abandonScript = `
if redis.call('HGET', KEYS[1], 'generation') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0`

// abandon has a damaged generation rebuilt: see Version.
func (s *Store) abandon(ctx context.Context, id string) error {
	s.log.Warn("redis has lost memberships; they must be built again")
	s.inForce.Store(nil)
	return s.translate(ctx, s.redis.Eval(ctx, abandonScript, []string{s.keys.meta()}, id).Err())
}

// unbuilt is the answer while there is no complete generation.
func unbuilt(cause error) error {
	return &audience.UnavailableError{What: "membership in redis", RetryAfter: retryAfter, Err: cause}
}

// translate turns the driver's errors into those of internal/audience. Whatever goes wrong with Redis (away, loading, failing
// over, out of memory, wrong password) means to a caller that it cannot answer now.
func (s *Store) translate(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, audience.ErrUnavailable) {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("ask redis: %w", context.Cause(ctx))
	}
	return &audience.UnavailableError{What: "redis", RetryAfter: retryAfter, Err: err}
}

// Buckets is how many buckets the generation last seen has; 0 before any was.
func (s *Store) Buckets() int {
	if g := s.inForce.Load(); g != nil {
		return int(g.buckets)
	}
	return 0
}
