-- Queues a command for a node and begins its record.
-- KEYS: all, active, commands, taken, command, recent, events
-- ARGV: 1 node, 2 command (JSON), 3 how many may wait, 4 id of the command, 5 type, 6 by, 7 now (RFC 3339),
--       8 expires (RFC 3339) or '', 9 TTL of the record in ms, 10 how many recent ones are known,
--       0: this is none of them
-- Returns: {'none'} no such node · {'full', how many wait} · {'same'} it was sent before ·
--          {'other', node} the id is that of a command to another node · {'ok'}
local bad = wrong('set', 'set', 'list', 'list', 'hash', 'list', 'stream')
if bad then return bad end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) + redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return {'none'} end
local before = redis.call('HGET', KEYS[5], 'node')
if before == ARGV[1] then return {'same'} end
if before then return {'other', before} end
local wait = redis.call('LLEN', KEYS[3]) + redis.call('LLEN', KEYS[4])
if wait >= tonumber(ARGV[3]) then return {'full', wait} end
remember(KEYS[5], KEYS[6], {id = ARGV[4], node = ARGV[1], type = ARGV[5], by = ARGV[6], now = ARGV[7], ttl = ARGV[9], most = ARGV[10]})
redis.call('HSET', KEYS[5], 'state', 'queued', 'expires', ARGV[8])
redis.call('RPUSH', KEYS[3], ARGV[2])
record(KEYS[7], {event = 'command_queued', id = ARGV[1], reason = ARGV[5], by = ARGV[6], now = ARGV[7], command = ARGV[4]})
return {'ok'}
