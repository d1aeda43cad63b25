-- Removes every trace of a node.
-- KEYS: all, active, frozen, heartbeat, status, rev, events, node_ips, commands, taken, recent
-- ARGV: 1 id, 2 channel, 3 now (RFC 3339), 4 by
-- Returns: {'none'} when there was no trace of it, else {'ok', rev}
local id = ARGV[1]
local n = redis.call('SREM', KEYS[1], id) + redis.call('SREM', KEYS[2], id) + redis.call('HDEL', KEYS[3], id)
  + redis.call('HDEL', KEYS[8], id) + redis.call('DEL', KEYS[4], KEYS[5], KEYS[9], KEYS[10], KEYS[11])
if n == 0 then return {'none'} end
return {'ok', announce({rev = KEYS[6], status = KEYS[5], active = KEYS[2], events = KEYS[7]},
  {event = 'node_removed', id = id, reason = 'forgotten', by = ARGV[4], now = ARGV[3], channel = ARGV[2]})}
