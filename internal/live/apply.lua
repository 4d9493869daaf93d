-- Steps of the membership log for the users of one bucket. KEYS[1]: the bucket. ARGV: the version of the newest step,
-- then user, packed segments ("" for none) of each step, oldest first. Answers by how many users the bucket grew, or
-- nil when its marker is missing.
--
-- Steps carry whole memberships and come in the order of the log, so a bucket at version v holds exactly what the log
-- says up to v: an older batch has nothing to add and is passed over, an equal or overlapping one writes what is there.
-- Versions are compared as digits, since Lua's numbers are exact to 2^53 only.
local held = redis.call('HGET', KEYS[1], '')
if not held then return nil end
local version = ARGV[1]
if #version < #held or (#version == #held and version < held) then return 0 end
local before = redis.call('HLEN', KEYS[1])
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], '', version)
return redis.call('HLEN', KEYS[1]) - before
