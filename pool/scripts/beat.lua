-- One heartbeat of our agent, which is also how it registers, freezes itself and comes back: it says what it is, and
-- the script makes Redis say the same.
-- KEYS: all, active, frozen, heartbeat, status, rev, events, node_ips
-- ARGV: 1 id, 2 channel, 3 now (RFC 3339), 4 now (Unix seconds), 5 claim ('1': take the id over), 6 instance (with
--       claim: its tail), 7 TTL in ms, 8 heartbeat JSON without its end, 9 the node's own reason to be frozen ('':
--       well), 10 data center, 11 address, 12 port, 13 weight, 14 labels (JSON), 15 agent version,
--       16 types of commands it knows (JSON), 17 seal key, 18 the operator's freeze that the agent last knew of (JSON) or '',
--       19 rev of the node when it knew of that, 0: not known, 20 number of the call, of this instance
-- Returns: {'ok', instance, rev of the node, '1' if active, operator's freeze (JSON) or '', '1' if Redis did not know the
--          node}, {'superseded', instance of the newer agent}, or {'late'} when a later call of this agent was first
local id, claim, instance, sick = ARGV[1], ARGV[5] == '1', ARGV[6], ARGV[9]
local bad = wrong('set', 'set', 'hash', 'string', 'hash', 'string', 'stream', 'hash')
if bad then return bad end
local function number(i) return tonumber(string.match(i or '', '^%d+')) or 0 end

local was = redis.call('HMGET', KEYS[5], 'instance', 'is_frozen', 'address', 'port', 'weight', 'labels', 'rev', 'data_center',
  'self_freeze', 'call')
if not claim and was[1] and was[1] ~= instance and number(was[1]) > number(instance) then
  return {'superseded', was[1]}
end
-- An agent that gave a call up may have it carried out all the same: after it has left, or frozen itself.
if not claim and was[1] == instance and number(was[10]) > number(ARGV[20]) then return {'late'} end
local raised, prev
if claim then
  raised, prev = raise(KEYS[6])
  instance = raised .. '/' .. instance
end

local was_all = redis.call('SADD', KEYS[1], id) == 0
local op = redis.call('HGET', KEYS[3], id)
-- A freeze that is gone was lifted, or lost: if the node is gone, too, or is older than when the freeze was known, Redis
-- went back to a time before it. To lift one never lowers the node's rev.
if not op and ARGV[18] ~= '' and (not was_all or number(was[7]) < number(ARGV[19])) then
  op = ARGV[18]
  redis.call('HSET', KEYS[3], id, op)
end
local active = not op and sick == ''
local was_alive = redis.call('EXISTS', KEYS[4]) == 1
local was_active
if active then was_active = redis.call('SADD', KEYS[2], id) == 0 else was_active = redis.call('SREM', KEYS[2], id) == 1 end

local frozen_text = tostring(not active)
redis.call('SET', KEYS[4], ARGV[8] .. ',"is_frozen":' .. frozen_text .. ',"is_active":' .. tostring(active)
  .. ',"instance":' .. cjson.encode(instance) .. '}', 'PX', ARGV[7])
redis.call('HSET', KEYS[5], 'timestamp', ARGV[4], 'data_center', ARGV[10], 'is_frozen', frozen_text,
  'is_active', tostring(active), 'self_freeze', sick, 'left', '', 'address', ARGV[11], 'port', ARGV[12],
  'weight', ARGV[13], 'labels', ARGV[14], 'agent', ARGV[15], 'instance', instance,
  'commands', ARGV[16], 'seal_key', ARGV[17], 'call', ARGV[20])
if ARGV[11] ~= '' then redis.call('HSET', KEYS[8], id, ARGV[11]) end

local moved = was[3] ~= ARGV[11] or was[4] ~= ARGV[12] or was[5] ~= ARGV[13] or was[6] ~= ARGV[14] or was[8] ~= ARGV[10]
local event
if claim or not was_all or not was_alive or moved then
  event = 'node_registered'
elseif was[2] ~= frozen_text then
  event = active and 'node_unfrozen' or 'node_frozen'
elseif was_active ~= active then
  event = active and 'node_registered' or 'node_frozen' -- Redis lost it, or somebody put a frozen node in
end

local rev = was[7] or '0'
if event then
  local reason = sick
  if op then
    local ok, f = pcall(cjson.decode, op)
    if ok and type(f) == 'table' and type(f.reason) == 'string' then reason = f.reason end
  end
  redis.call('HSET', KEYS[5], 'status', active and 'active' or 'frozen', 'details', reason)
  local fields
  if event == 'node_registered' then
    fields = ',"data_center":' .. cjson.encode(ARGV[10]) .. ',"node_port":' .. ARGV[12]
  end
  rev = announce({rev = KEYS[6], status = KEYS[5], active = KEYS[2], events = KEYS[7]},
    {event = event, id = id, reason = reason, by = 'agent', now = ARGV[3], channel = ARGV[2],
      fields = fields, rev = raised, prev = prev})
elseif not op and sick ~= '' and sick ~= was[9] then
  redis.call('HSET', KEYS[5], 'status', 'frozen', 'details', sick) -- another reason is no other state
end
return {'ok', instance, rev, active and '1' or '0', op or '', was_all and '0' or '1'}
