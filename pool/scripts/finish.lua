-- Writes what a command came to, into its record and the node's hash, and takes it out of hand. Done again it changes
-- nothing. Only an interrupted one may come to something better: its agent lives after all.
-- KEYS: taken, command, recent, status, events
-- ARGV: 1 the command as it stands in taken, or '', 2 its id, 3 node, 4 type, 5 by, 6 now (RFC 3339),
--       7 now (Unix seconds), 8 TTL of the record in ms, 9 how many recent ones are known, 10 state,
--       11 reason of the event, 12 status of the node's hash, '': it stays, 13 details of the node's hash,
--       14 and on: field, value, … of the record
-- Returns: {'same'} it had ended before · {'ok'}
local bad = wrong('list', 'hash', 'list', 'hash', 'stream')
if bad then return bad end
if ARGV[1] ~= '' then redis.call('LREM', KEYS[1], 1, ARGV[1]) end
local was = redis.call('HGET', KEYS[2], 'state') or ''
local state = ARGV[10]
if was == state or (was ~= '' and was ~= 'queued' and was ~= 'running' and was ~= 'interrupted') then return {'same'} end
remember(KEYS[2], KEYS[3], {id = ARGV[2], node = ARGV[3], type = ARGV[4], by = ARGV[5], now = ARGV[6], ttl = ARGV[8], most = ARGV[9]})
redis.call('HSET', KEYS[2], 'state', state)
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], 'by', ARGV[5]) end
for i = 14, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
if ARGV[12] ~= '' and redis.call('EXISTS', KEYS[4]) == 1 then -- a node that was forgotten stays so
  redis.call('HSET', KEYS[4], 'status', ARGV[12], 'details', ARGV[13], 'timestamp', ARGV[7])
end
record(KEYS[5], {event = 'command_ended', id = ARGV[3], reason = ARGV[11], by = ARGV[5], now = ARGV[6], command = ARGV[2]})
return {'ok'}
