-- Shared by all scripts: it stands before each of them. Numbers are doubles here; revisions (about 2^41) fit.

-- wrong says which of KEYS has another type than it should have. Each script asks before it writes anything: a command
-- that fails half-way would leave the other half done.
local function wrong(...)
  for i, want in ipairs({...}) do
    local is = redis.call('TYPE', KEYS[i])
    is = is.ok or is
    if is ~= 'none' and is ~= want then
      return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. is .. ' and should be a ' .. want)
    end
  end
end

-- raise lifts the revision to max(rev + 1, Redis TIME in ms), so that it never runs backwards, not even after a
-- flush or a failover. What is no number, or a day ahead of the clock, is not one of ours and counts as 0.
-- Returns: the new and the former revision, as decimal text.
local function raise(key)
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  local digits = string.match(redis.call('GET', key) or '', '^%d+$')
  local prev = tonumber(digits or '0') or 0
  if prev > now + 86400000 then prev = 0 end
  local rev = math.max(prev + 1, now)
  local text = string.format('%.0f', rev)
  redis.call('SET', key, text)
  return text, string.format('%.0f', prev)
end

-- announce raises the revision, writes it into the node's hash, and says what happened on the channel (the original
-- system's JSON) and in the bounded stream. e: event, id, reason, by, now, channel, fields (more JSON, from a comma on),
-- rev and prev when the revision was raised already.
-- k: rev, status, active, events (key names). Returns: the new revision as text.
local function announce(k, e)
  local rev, prev = e.rev, e.prev
  if not rev then rev, prev = raise(k.rev) end
  if redis.call('EXISTS', k.status) == 1 then redis.call('HSET', k.status, 'rev', rev) end
  local count = redis.call('SCARD', k.active)
  local names = ''
  if count == 0 then
    names = ',"active_nodes":[]'
  elseif count <= 1000 then
    local active = redis.call('SMEMBERS', k.active)
    table.sort(active)
    names = ',"active_nodes":' .. cjson.encode(active)
  end
  redis.call('PUBLISH', e.channel, '{"event":' .. cjson.encode(e.event) .. ',"node_id":' .. cjson.encode(e.id)
    .. ',"timestamp":' .. cjson.encode(e.now) .. ',"reason":' .. cjson.encode(e.reason) .. names
    .. ',"active_count":' .. count .. ',"rev":' .. rev .. ',"prev":' .. prev
    .. ',"by":' .. cjson.encode(e.by) .. (e.fields or '') .. '}')
  redis.call('XADD', k.events, 'MAXLEN', '~', 10000, '*', 'event', e.event, 'node_id', e.id, 'timestamp', e.now,
    'reason', e.reason, 'by', e.by, 'rev', rev)
  return rev
end

-- unqueue removes the freeze and unfreeze commands that wait in a node's queue, so that an older word cannot undo a
-- newer one. It looks at the first 1000.
local function unqueue(key)
  for _, raw in ipairs(redis.call('LRANGE', key, 0, 999)) do
    local ok, c = pcall(cjson.decode, raw)
    if ok and type(c) == 'table' and (c.type == 'freeze' or c.type == 'unfreeze') then
      redis.call('LREM', key, 1, raw)
    end
  end
end

-- others returns the freeze (JSON) that keeps a run of several steps from the node: an operator's whose reason does not
-- begin with prefix. A prefix of '' is for who may touch every freeze.
local function others(frozen, id, prefix)
  local raw = prefix ~= '' and redis.call('HGET', frozen, id)
  if not raw then return nil end
  local ok, f = pcall(cjson.decode, raw)
  if ok and type(f) == 'table' and type(f.reason) == 'string' and string.sub(f.reason, 1, #prefix) == prefix then
    return nil
  end
  return raw
end

-- remember begins the record of a command, unless there is one, and notes it among the node's recent ones.
-- c: id, node, type, by, now, ttl (ms), most (how many recent ones are kept, '0': this one is not noted).
local function remember(command, recent, c)
  if redis.call('EXISTS', command) == 0 then
    redis.call('HSET', command, 'node', c.node, 'type', c.type, 'by', c.by, 'queued', c.now)
    if c.most ~= '0' then
      redis.call('LPUSH', recent, c.id)
      redis.call('LTRIM', recent, 0, c.most - 1)
    end
  end
  redis.call('PEXPIRE', command, c.ttl)
  redis.call('PEXPIRE', recent, c.ttl)
end

-- record says in the bounded stream what became of a command. It is no change of the node: there is no revision.
local function record(events, e)
  redis.call('XADD', events, 'MAXLEN', '~', 10000, '*', 'event', e.event, 'node_id', e.id, 'timestamp', e.now,
    'reason', e.reason, 'by', e.by, 'command', e.command)
end
