-- Removes a load balancer that will not come back, and says who did it. Nothing of any node changes: there is no revision.
-- KEYS: lbs, events, its ack, its last word
-- ARGV: 1 id, 2 now (RFC 3339), 3 by
-- Returns: {'none'} it was not known · {'ok'}
local bad = wrong('set', 'stream')
if bad then return bad end
local known = redis.call('SREM', KEYS[1], ARGV[1]) == 1
redis.call('DEL', KEYS[3], KEYS[4])
if not known then return {'none'} end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'event', 'lb_forgotten', 'lb', ARGV[1], 'timestamp', ARGV[2],
  'reason', '', 'by', ARGV[3])
return {'ok'}
