-- An agent of ours leaves in order.
-- KEYS: active, heartbeat, status, rev, events, frozen
-- ARGV: 1 id, 2 channel, 3 now (RFC 3339), 4 now (Unix seconds), 5 instance, 6 reason, 7 number of the call, as for beat.lua
-- Returns: {'ok', rev}, or {'superseded', instance of the agent that has the id now}
local bad = wrong('set', 'string', 'hash', 'string', 'stream', 'hash')
if bad then return bad end
local current = redis.call('HGET', KEYS[3], 'instance')
if current and current ~= ARGV[5] then return {'superseded', current} end
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
-- What it had against itself ends with it, the drain above all: it left, and did not die unwell.
redis.call('HSET', KEYS[3], 'is_frozen', tostring(redis.call('HEXISTS', KEYS[6], ARGV[1]) == 1))
redis.call('HSET', KEYS[3], 'status', 'left', 'left', '1', 'details', ARGV[6], 'timestamp', ARGV[4], 'is_active', 'false',
  'call', ARGV[7])
return {'ok', announce({rev = KEYS[4], status = KEYS[3], active = KEYS[1], events = KEYS[5]},
  {event = 'node_removed', id = ARGV[1], reason = ARGV[6], by = 'agent', now = ARGV[3], channel = ARGV[2]})}
