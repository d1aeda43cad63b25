-- An operator's freeze: at once, without the node's agent, and until an operator lifts it.
-- KEYS: all, active, frozen, status, rev, events, commands, taken
-- ARGV: 1 id, 2 channel, 3 now (RFC 3339), 4 now (Unix seconds), 5 by, 6 reason, 7 the freeze (JSON by, at, reason),
--       8 '1': the agent carries out a queued command, and later ones stay,
--       9 '' or how the reason of an operator's freeze begins that may be replaced
-- Returns: {'none'} no such node · {'others', the freeze (JSON)} it stays, nothing was done ·
--          {'same', rev} was frozen by an operator already; a new reason replaces the old, none keeps it · {'ok', rev}
local id = ARGV[1]
local bad = wrong('set', 'set', 'hash', 'hash', 'string', 'stream', 'list', 'list')
if bad then return bad end
if redis.call('SISMEMBER', KEYS[1], id) + redis.call('SISMEMBER', KEYS[2], id) == 0 then return {'none'} end
local theirs = others(KEYS[3], id, ARGV[9])
if theirs then return {'others', theirs} end
local was = redis.call('HMGET', KEYS[4], 'is_frozen', 'rev', 'details', 'self_freeze')
local had = redis.call('HEXISTS', KEYS[3], id) == 1
-- A freeze that is there before ours is the node's own: an unfreeze must not lift it.
if not had and was[1] == 'true' and (was[4] or '') == '' then
  redis.call('HSET', KEYS[4], 'self_freeze', was[3] or 'frozen before')
end
local replaced = false
if had and ARGV[6] ~= '' then
  replaced = true
  if redis.call('HSTRLEN', KEYS[3], id) < 4096 then -- ours has some 600 bytes
    local ok, f = pcall(cjson.decode, redis.call('HGET', KEYS[3], id))
    replaced = not ok or type(f) ~= 'table' or f.by ~= ARGV[5] or f.reason ~= ARGV[6]
  end
end
if not had or ARGV[6] ~= '' then
  redis.call('HSET', KEYS[3], id, ARGV[7])
  redis.call('HSET', KEYS[4], 'details', ARGV[6])
end
redis.call('HSET', KEYS[4], 'status', 'frozen', 'timestamp', ARGV[4], 'is_frozen', 'true', 'is_active', 'false')
local was_active = redis.call('SREM', KEYS[2], id) == 1
if ARGV[8] ~= '1' then
  unqueue(KEYS[7])
  unqueue(KEYS[8])
end
if had and not was_active and was[1] == 'true' then
  if replaced then -- no change of the node: only the stream has it
    redis.call('XADD', KEYS[6], 'MAXLEN', '~', 10000, '*', 'event', 'freeze_replaced', 'node_id', id, 'timestamp', ARGV[3],
      'reason', ARGV[6], 'by', ARGV[5], 'rev', was[2] or '0')
  end
  return {'same', was[2] or '0'}
end
return {'ok', announce({rev = KEYS[5], status = KEYS[4], active = KEYS[2], events = KEYS[6]},
  {event = 'node_frozen', id = id, reason = ARGV[6], by = ARGV[5], now = ARGV[3], channel = ARGV[2]})}
