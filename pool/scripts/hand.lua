-- What a node has in hand. What is too large to be a command is replaced by a few words, which are none either: else it
-- could not even be thrown away.
-- KEYS: taken
-- ARGV: 1 how many, 2 how many bytes one may have, 3 how many bytes in all; one is told, whatever its size
-- Returns: {'ok', the oldest, the next, …}
local bad = wrong('list')
if bad then return bad end
local all, bytes = {'ok'}, 0
for i = 0, tonumber(ARGV[1]) - 1 do
  local raw = redis.call('LRANGE', KEYS[1], i, i)[1]
  if not raw then break end
  if #raw > tonumber(ARGV[2]) then
    local words = string.format('(what was here had %d bytes)', #raw)
    redis.call('LINSERT', KEYS[1], 'BEFORE', raw, words)
    redis.call('LREM', KEYS[1], 1, raw)
    raw = words
  end
  bytes = bytes + #raw
  if i > 0 and bytes > tonumber(ARGV[3]) then break end
  all[#all + 1] = raw
end
return all
