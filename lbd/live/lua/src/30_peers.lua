-- An upstream's peers as the methods want them: primaries and backups in two arrays, in the order of the message.

local peer_array = ffi.typeof([=[struct {
    double weight, effective, current, slow_start, since, mark;
    int32_t slot, port, down, max_fails, fails, fail_timeout, max_conns, spare;
    double checked, accessed;
}[?]]=])

local upstreams = {}

-- random is xorshift32: the operator's math.random stays his.
local seed = ffi.new("uint32_t[1]", 2463534242 + ngx.worker.pid() * 2654435 + (ngx.now() * 1000) % 1000000)
local function random(n)
    local x = tobit(seed[0])
    x = bxor(x, lshift(x, 13))
    x = bxor(x, rshift(x, 17))
    x = bxor(x, lshift(x, 5))
    seed[0] = x
    return seed[0] % n
end

local function new_tier(listed)
    local t = { n = #listed, peers = peer_array(max(#listed, 1)), address = {}, range = ffi.new("double[?]", #listed + 1),
        total = 0, up = 0, equal = true, rough = false, ramp = 0, next = #listed > 0 and random(#listed) or 0 }
    local first
    for i = 0, t.n - 1 do
        local l, p = listed[i + 1], t.peers[i]
        p.slot, p.port, p.weight, p.effective = l.slot, l.port, l.weight, l.weight
        p.max_fails, p.fail_timeout, p.max_conns = l.max_fails, l.fail_timeout, l.max_conns
        p.slow_start, p.since, p.down = l.slow_start, l.since, l.down and 1 or 0
        t.address[i] = l.address
        t.range[i] = t.total
        t.total = t.total + l.weight
        if not l.down then
            t.up = t.up + 1
            first = first or l.weight
            t.equal = t.equal and l.weight == first
            if l.slow_start > 0 then
                t.ramp = max(t.ramp, l.since + l.slow_start)
            end
        end
    end
    return t
end

-- inherit takes over what is known about peers that stay: who failed, and whose turn it is.
local function inherit(t, u)
    local sum, kept = 0, 0
    for i = 0, t.n - 1 do
        local p = t.peers[i]
        local former, at = u.primary, u.where[p.slot]
        if at and at < 0 then
            former, at = u.backup, -1 - at
        end
        local q = at and former.peers[at]
        if q and q.port == p.port and former.address[at] == t.address[i] then
            p.fails, p.checked, p.accessed, p.current = q.fails, q.checked, q.accessed, q.current
            p.effective = min(q.effective, p.weight)
            t.rough = t.rough or p.effective < p.weight
            sum, kept = sum + q.current, kept + 1
        end
    end
    for i = 0, t.n - 1 do -- the turns add up to 0, else a new peer would wait for, or take, many of them
        t.peers[i].current = t.peers[i].current - sum / t.n
    end
    return kept > 0
end

local function same(a, b)
    if #a ~= #b then
        return false
    end
    for i = 1, #a do
        if a[i] ~= b[i] then
            return false
        end
    end
    return true
end

-- set_peers makes listed the peers of u.
local function set_peers(u, listed)
    if u.listed and same(u.listed, listed) then
        return
    end
    local primaries, backups, size = {}, {}, 0
    for i = 1, #listed do
        local l = listed[i]
        size = max(size, l.slot + 1)
        if not l.gone then
            local tier = l.backup and backups or primaries
            tier[#tier + 1] = l
        end
    end
    room(u.counts, size)
    local primary, backup, where = new_tier(primaries), new_tier(backups), {}
    primary.single = #primaries == 1 and #backups == 0
    if u.listed then
        inherit(primary, u)
        inherit(backup, u)
        primary.next, backup.next = u.primary.next, u.backup.next
    end
    for i = 0, primary.n - 1 do
        where[primary.peers[i].slot] = i
    end
    for i = 0, backup.n - 1 do
        where[backup.peers[i].slot] = -1 - i
    end
    if u.prepare then
        u.prepare(u, primary, primaries)
    end
    u.tries = primary.single and 1 or primary.up + backup.up
    u.primary, u.backup, u.where, u.listed = primary, backup, where, listed
end

-- present is the message in the dictionary, nil without one. A reader that is overtaken looks again.
local function present()
    for _ = 1, 100 do
        local m = dict:get("m")
        if not m then
            return nil
        end
        local text = dict:get("m" .. m)
        if text then
            return text, m
        end
    end
    error("the dictionary names a message that it does not hold")
end

local seen_version, seen_message, message = -1, nil, nil

-- refresh takes in what the dictionary holds since somebody raised v. When it throws, it is tried again.
local function refresh(version)
    local text, m = present()
    if m ~= seen_message then
        local fresh
        if text then
            local err
            fresh, err = decode(text, message)
            if not fresh then
                error("the dictionary holds a bad message: " .. err)
            end
        end
        for name, u in pairs(upstreams) do
            local ok, err = pcall(set_peers, u, fresh and fresh.peers[name] or u.seed)
            u.broken = not ok and err or nil
        end
        message, seen_message = fresh, m
    end
    look_around()
    worker.generation, worker.error = message and message.generation or 0, ""
    publish_worker()
    seen_version = version
end
