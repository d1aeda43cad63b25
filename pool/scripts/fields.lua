-- HMGET of the same fields from each of some hashes, but for values that are too large. It only reads.
-- KEYS: hashes
-- ARGV: 1 how many bytes a value may have, then the fields
-- Returns: for each hash {error or '', {value, …}, {field that is too large, its bytes, …}}; the value of one that is
--          too large is ''
local most, fields = tonumber(ARGV[1]), {}
for i = 2, #ARGV do fields[i - 1] = ARGV[i] end

local function read(key)
  local large, at = {}, {}
  for i, field in ipairs(fields) do
    local n = redis.pcall('HSTRLEN', key, field)
    if type(n) == 'table' then return {n.err, {}, {}} end
    if n > most then
      large[#large + 1], large[#large + 2] = field, n
      at[i] = true
    end
  end
  if #large == 0 then return {'', redis.call('HMGET', key, unpack(fields)), large} end
  local values = {}
  for i, field in ipairs(fields) do values[i] = at[i] and '' or redis.call('HGET', key, field) end
  return {'', values, large}
end

local out = {}
for i, key in ipairs(KEYS) do out[i] = read(key) end
return out
