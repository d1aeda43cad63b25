-- An upstream's peers as the methods want them: primaries and backups in two arrays, in the order of the message.

local peer_array = ffi.typeof([=[struct {
    double weight, effective, current, slow_start, since, mark;
    int32_t slot, port, down, max_fails, fails, fail_timeout, max_conns, spare;
    double checked, accessed;
}[?]]=])

local upstreams = {}

-- random is xorshift32: the operator's math.random stays his.
local seed = ffi.new("uint32_t[1]", 2463534242 + ngx.worker.pid() * 2654435 + (ngx_now() * 1000) % 1000000)
local function random(n)
    local x = tobit(seed[0])
    x = bxor(x, lshift(x, 13))
    x = bxor(x, rshift(x, 17))
    x = bxor(x, lshift(x, 5))
    seed[0] = x
    return seed[0] % n
end

-- A seat is a node's address in an upstream, for as long as it is listed or busy: its slot, its requests under way in
-- this worker, and its place in a tier (false: it gets nothing). It is what a request holds on to.
local function take_seats(u, listed)
    local seats, moved = {}, false
    for i = 1, #listed do
        local l = listed[i]
        local key = l.key
        while seats[key] do -- listed twice: whatever it is for, counts stay apart
            key = key .. "'"
        end
        local seat = u.seats[key] or { slot = l.slot, busy = 0, listed = l, tier = false, at = 0 } -- all fields, as in take()
        moved = moved or seat.slot ~= l.slot and seat.busy > 0
        seat.slot, seat.listed = l.slot, l
        seats[key], seats[i] = seat, seat
    end
    for key, seat in pairs(u.seats) do
        if type(key) == "string" and seats[key] ~= seat then
            seat.tier = false
            if seat.busy > 0 then
                seat.slot, moved = -1, true
                while seats[key] do
                    key = key .. "'"
                end
                seats[key] = seat
            end
        end
    end
    return seats, moved
end

-- recount writes the counts anew from the seats.
local function recount(u, seats)
    local counts = u.counts
    fill(counts.own_base, (counts.size + CHUNK) * 4)
    for key, seat in pairs(seats) do
        if type(key) == "string" and seat.busy > 0 then
            counts.own[seat.slot] = counts.own[seat.slot] + seat.busy
        end
    end
    for key, seat in pairs(seats) do -- where requests are now, before where they were
        if type(key) == "string" and seat.busy > 0 then
            publish_chunk(counts, arshift(seat.slot, 4))
        end
    end
    for k in pairs(counts.keys) do
        publish_chunk(counts, k)
    end
end

-- new_tier makes the array, and takes over what is known of those that stay: who failed, and whose turn it is.
local function new_tier(seats)
    local n = #seats
    local t = { n = n, peers = peer_array(max(n, 1)), address = {}, range = ffi.new("double[?]", n + 1), seats = seats,
        slots = ffi.new("int32_t[?]", n + 1), total = 0, up = 0, equal = true, all = true, rough = false, failing = false, ramp = 0, next = n > 0 and random(n) or 0 }
    local first, turns = nil, 0
    for i = 0, n - 1 do
        local l, p, former = seats[i + 1].listed, t.peers[i], seats[i + 1].tier
        p.slot, p.port, p.weight, p.effective = l.slot, l.port, l.weight, l.weight
        p.max_fails, p.fail_timeout, p.max_conns = l.max_fails, l.fail_timeout, l.max_conns
        p.slow_start, p.since, p.down = l.slow_start, l.since, l.down and 1 or 0
        t.address[i], t.slots[i] = l.address, l.slot
        t.all = t.all and not l.down and l.max_conns == 0
        t.range[i] = t.total
        t.total = t.total + l.weight
        if former then
            local q = former.peers[seats[i + 1].at]
            p.fails, p.checked, p.accessed, p.current = q.fails, q.checked, q.accessed, q.current
            p.effective = min(q.effective, p.weight)
            t.rough, t.failing = t.rough or p.effective < p.weight, t.failing or p.fails > 0
            turns = turns + q.current
        end
        if not l.down then
            t.up = t.up + 1
            first = first or l.weight
            t.equal = t.equal and l.weight == first
            if l.slow_start > 0 then
                t.ramp = max(t.ramp, l.since + l.slow_start)
            end
        end
    end
    if n > 0 and t.total == n * t.peers[0].weight then
        t.step = t.peers[0].weight
        for i = 1, n - 1 do
            t.step = t.peers[i].weight == t.step and t.step or nil
        end
    end
    for i = 0, n - 1 do -- the turns add up to 0, else a new peer would wait for, or take, many of them
        t.peers[i].current = t.peers[i].current - turns / n
    end
    return t
end

local function sit(t)
    for i = 1, t.n do
        t.seats[i].tier, t.seats[i].at = t, i - 1
    end
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
    local size = 0
    for i = 1, #listed do
        size = max(size, listed[i].slot + 1)
    end
    room(u.counts, size)
    local seats, moved = take_seats(u, listed)
    u.moved = u.moved or moved -- until it is recounted: what follows may fail
    local primaries, backups = {}, {}
    for i = 1, #listed do
        local l = listed[i]
        if not l.gone then
            local tier = l.backup and backups or primaries
            tier[#tier + 1] = seats[i]
        end
    end
    local primary, backup = new_tier(primaries), new_tier(backups)
    primary.single = #primaries == 1 and #backups == 0
    if u.listed then
        primary.next, backup.next = min(u.primary.next, primary.n), min(u.backup.next, backup.n)
    end
    u.broken = nil
    if u.prepare then
        local ok, err = pcall(u.prepare, u, primary)
        u.broken = not ok and err or nil
    end
    for i = 1, #listed do
        seats[i].tier = false
    end
    sit(primary)
    sit(backup)
    if u.moved then
        recount(u, seats)
        u.moved = false
    end
    u.tries = primary.single and 1 or primary.up + backup.up
    u.primary, u.backup, u.seats, u.listed = primary, backup, seats, listed
end

-- present is the message in the dictionary, nil without one. A reader that is overtaken looks again.
local function present()
    for _ = 1, 100 do
        local m = dict:get("m")
        if not m then
            return nil
        end
        local text = dict:get("m" .. m)
        if type(text) == "string" then
            return text, m
        end
    end
    error("the dictionary names a message that it does not hold", 0)
end

local seen_version, seen_v, seen_message, message, looked = -1, nil, nil, nil, 0

-- refresh takes in what the dictionary holds since somebody raised v; now is what current() was before. When it throws, it
-- is tried again, within a second at the latest.
local function refresh(now)
    local raised = dict:get("v")
    if not dict:get("w" .. worker.pid) then -- somebody emptied the dictionary, or took this worker for dead
        publish_worker()
        for _, u in pairs(upstreams) do
            publish_anew(u.counts)
        end
    end
    local text, m = present()
    if m ~= seen_message and (m or not message) then -- else it was emptied: what is known is newer than the seed
        local fresh
        if text then
            local err
            fresh, err = decode(text, message)
            if not fresh then
                error("the dictionary holds a bad message: " .. err, 0)
            end
        end
        for name, u in pairs(upstreams) do
            set_peers(u, fresh and fresh.peers[name] or u.seed)
        end
        message, seen_message = fresh, m
        worker.generation, worker.error = fresh and fresh.generation or 0, ""
    end
    look_around()
    for _, u in pairs(upstreams) do
        u.counts.planned = false
    end
    publish_worker()
    seen_version, seen_v = now, raised
end

-- lost looks into the dictionary: who empties it raises nothing.
local function lost()
    return dict:get("v") ~= seen_v
end

-- lost_since is lost for requests, which look once a second.
local function lost_since(second)
    looked = second
    return lost()
end
