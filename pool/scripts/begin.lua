-- Lets an agent run a command that it has in hand, once.
-- KEYS: taken, command, recent
-- ARGV: 1 the command as it stands in taken, 2 its id, 3 node, 4 type, 5 by, 6 now (RFC 3339), 7 instance of the agent,
--       8 TTL of the record in ms, 9 how many recent ones are known
-- Returns: {'ok'} run it · {'gone'} it is not in hand any more · {'before', state, instance} it was begun before
local bad = wrong('list', 'hash', 'list')
if bad then return bad end
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return {'gone'} end
local was = redis.call('HMGET', KEYS[2], 'state', 'instance')
local state, instance = was[1] or '', was[2] or ''
if state == 'running' and instance == ARGV[7] then return {'ok'} end -- asked again: the first answer was lost
if state ~= '' and state ~= 'queued' then return {'before', state, instance} end
remember(KEYS[2], KEYS[3], {id = ARGV[2], node = ARGV[3], type = ARGV[4], by = ARGV[5], now = ARGV[6], ttl = ARGV[8], most = ARGV[9]})
redis.call('HSET', KEYS[2], 'state', 'running', 'started', ARGV[6], 'instance', ARGV[7],
  'by', ARGV[5]) -- as the agent knows it: a signature may say more than the sender
return {'ok'}
