-- What a node has in hand. What is too large to be a command is replaced by a few words, which are none either: else it
-- could not even be thrown away.
-- KEYS: taken
-- ARGV: 1 how many, 2 how many bytes one may have, 3 how many bytes in all; one is told, whatever its size
-- Returns: {'ok', the oldest, the next, …}, or {'more', …} if that is not all
local bad = wrong('list')
if bad then return bad end
local all, bytes, most = {'ok'}, 0, tonumber(ARGV[1])
for i = 0, most do
  local raw = redis.call('LRANGE', KEYS[1], i, i)[1]
  if not raw then break end
  if i == most then
    all[1] = 'more'
    break
  end
  if #raw > tonumber(ARGV[2]) then
    local words = string.format('(what was here had %d bytes)', #raw)
    redis.call('LINSERT', KEYS[1], 'BEFORE', raw, words)
    redis.call('LREM', KEYS[1], 1, raw)
    raw = words
  end
  bytes = bytes + #raw
  if i > 0 and bytes > tonumber(ARGV[3]) then
    all[1] = 'more'
    break
  end
  all[#all + 1] = raw
end
return all
