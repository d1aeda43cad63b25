-- Queues a command for a node.
-- KEYS: all, active, commands
-- ARGV: 1 id, 2 command (JSON), 3 how many may wait
-- Returns: {'none'} no such node · {'full'} · {'ok', how many wait now}
local bad = wrong('set', 'set', 'list')
if bad then return bad end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) + redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return {'none'} end
if redis.call('LLEN', KEYS[3]) >= tonumber(ARGV[3]) then return {'full'} end
return {'ok', redis.call('RPUSH', KEYS[3], ARGV[2])}
