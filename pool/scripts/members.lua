-- Reads a set of ids into which anybody may have put anything. It only reads.
-- KEYS: set
-- ARGV: 1 how many members are read at most, 2 how many bytes of each
-- Returns: {how many there are, {member, …}}: longer ones cut; none when there are too many
local n = redis.call('SCARD', KEYS[1])
if n > tonumber(ARGV[1]) then return {n, {}} end
local ids, most = redis.call('SMEMBERS', KEYS[1]), tonumber(ARGV[2])
for i, id in ipairs(ids) do
  if #id > most then ids[i] = string.sub(id, 1, most) end
end
return {n, ids}
