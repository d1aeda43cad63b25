-- An operator's unfreeze: lifts the operator's freeze, and any freeze of a Python node (its agent is told through its
-- queue, too). What our agent froze for its health stays.
-- KEYS: all, active, frozen, status, rev, events, commands, heartbeat, taken
-- ARGV: 1 id, 2 channel, 3 now (RFC 3339), 4 now (Unix seconds), 5 by, 6 command that tells a Python agent (JSON),
--       7 '1': the agent carries out a queued command, and later ones stay,
--       8 '' or how the reason of the one freeze begins that may be lifted
-- Returns: {'none'} no such node · {'others', the freeze (JSON)} it stays, nothing was done ·
--          {'same', rev} was not frozen · {'ok', rev} ·
--          {'self', rev, reason, '1' if an operator's freeze was lifted}: its own freeze stays
local id = ARGV[1]
local bad = wrong('set', 'set', 'hash', 'hash', 'string', 'stream', 'list', 'string', 'list')
if bad then return bad end
if redis.call('SISMEMBER', KEYS[1], id) + redis.call('SISMEMBER', KEYS[2], id) == 0 then return {'none'} end
local theirs = others(KEYS[3], id, ARGV[8])
if theirs then return {'others', theirs} end
local was = redis.call('HMGET', KEYS[4], 'is_frozen', 'self_freeze', 'details', 'rev', 'agent')
local op = redis.call('HDEL', KEYS[3], id) == 1
if not op and was[1] ~= 'true' then return {'same', was[4] or '0'} end

local beat = redis.call('GET', KEYS[8])
local ours = was[5] and was[5] ~= ''
if beat then
  local ok, b = pcall(cjson.decode, beat)
  ours = ok and type(b) == 'table' and type(b.agent) == 'string'
end
if ARGV[7] ~= '1' then
  unqueue(KEYS[7])
  unqueue(KEYS[9])
end
local own = was[2] or ''
-- A freeze without an operator's record is the node's own, or was put on a Python node by its own tools: no run's.
if (ours and (own ~= '' or not op)) or (not op and ARGV[8] ~= '') then
  if own == '' then own = was[3] or '' end
  if op then
    redis.call('HSET', KEYS[4], 'details', own)
    redis.call('XADD', KEYS[6], 'MAXLEN', '~', 10000, '*', 'event', 'freeze_lifted', 'node_id', id, 'timestamp', ARGV[3],
      'reason', 'its own freeze stays', 'by', ARGV[5], 'rev', was[4] or '0')
  end
  return {'self', was[4] or '0', own, op and '1' or '0'}
end
if not ours then redis.call('RPUSH', KEYS[7], ARGV[6]) end
-- A dead node must not look active to Python's updater, which knows of no heartbeats: when it lives again our agent's
-- beat puts it back, and Python's agent the command that waits for it.
local active = beat ~= false
if active then redis.call('SADD', KEYS[2], id) end
redis.call('HSET', KEYS[4], 'status', 'active', 'details', '', 'timestamp', ARGV[4], 'is_frozen', 'false',
  'self_freeze', '', 'is_active', tostring(active))
return {'ok', announce({rev = KEYS[5], status = KEYS[4], active = KEYS[2], events = KEYS[6]},
  {event = 'node_unfrozen', id = id, reason = '', by = ARGV[5], now = ARGV[3], channel = ARGV[2]})}
