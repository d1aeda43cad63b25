-- Puts what an agent took and did not begin to the head of its queue again, unless somebody removed it meanwhile.
-- KEYS: taken, commands
-- ARGV: 1 the command as it stands in taken
-- Returns: {'gone'} it is not in hand any more · {'ok'}
local bad = wrong('list', 'list')
if bad then return bad end
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return {'gone'} end
redis.call('LPUSH', KEYS[2], ARGV[1])
return {'ok'}
