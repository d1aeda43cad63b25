-- Throws away what an agent has in hand and will never run, and says so.
-- KEYS: taken, events
-- ARGV: 1 what stands in taken, 2 node, 3 why, 4 by, 5 now (RFC 3339), 6 id of the command or ''
-- Returns: {'gone'} it was not there · {'ok'}
local bad = wrong('list', 'stream')
if bad then return bad end
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return {'gone'} end
record(KEYS[2], {event = 'command_refused', id = ARGV[2], reason = ARGV[3], by = ARGV[4], now = ARGV[5], command = ARGV[6]})
return {'ok'}
