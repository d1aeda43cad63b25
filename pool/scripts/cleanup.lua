-- Takes one dead node out of nodes:active; all else of it stays, so that it can come back.
-- KEYS: active, heartbeat, status, rev, events
-- ARGV: 1 id, 2 channel, 3 now (RFC 3339), 4 by
-- Returns: {'ok', rev}, or {'same'} when it lives or was not active
local bad = wrong('set', 'string', 'hash', 'string', 'stream')
if bad then return bad end
if redis.call('EXISTS', KEYS[2]) == 1 or redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return {'same'} end
redis.call('HSET', KEYS[3], 'status', 'dead', 'details', 'no heartbeat', 'is_active', 'false')
return {'ok', announce({rev = KEYS[4], status = KEYS[3], active = KEYS[1], events = KEYS[5]},
  {event = 'node_removed', id = ARGV[1], reason = 'no heartbeat', by = ARGV[4], now = ARGV[3], channel = ARGV[2]})}
