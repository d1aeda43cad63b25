-- The methods. Each picks a place in the tier, -1 when nobody is left, by the same rules as Nginx 1.22 to 1.30
-- (ngx_http_upstream_round_robin.c and its siblings), so that a change of engines moves no client and no share.

-- usable: up, not tried before in this request, not failed too often, room for one more.
local function usable(u, p, stamp, now)
    return p.down == 0 and p.mark ~= stamp
        and not (p.max_fails > 0 and p.fails >= p.max_fails and now - p.checked <= p.fail_timeout)
        and not (p.max_conns > 0 and u.counts.own[p.slot] >= p.max_conns)
end

-- share is the part of its weight that a peer has so long after it came: slow start. Never nothing, so that it is tried.
local function share(p, clock)
    if p.slow_start == 0 then
        return 1
    end
    return min(1, max(0.01, (clock - p.since) / p.slow_start))
end

-- smooth is Nginx's smooth weighted round robin over those that ask says yes to.
local function smooth(u, t, stamp, clock)
    local now, best, most, total, rough = floor(clock), -1, 0, 0, false
    for i = 0, t.n - 1 do
        local p = t.peers[i]
        if usable(u, p, stamp, now) then
            local w = p.effective * share(p, clock)
            p.current = p.current + w
            total = total + w
            if p.effective < p.weight then
                p.effective = p.effective + 1
                rough = true
            end
            if best < 0 or p.current > most then
                best, most = i, p.current
            end
        end
    end
    t.rough = rough
    if best >= 0 then
        t.peers[best].current = most - total
    end
    return best
end

local function next_turn(u, t, stamp, now)
    local i = t.next
    for _ = 1, t.n do
        if i >= t.n then
            i = 0
        end
        if usable(u, t.peers[i], stamp, now) then
            t.next = i + 1
            return i
        end
        i = i + 1
    end
    return -1
end

local function round_robin(u, t, stamp, clock)
    if not t.equal or t.rough or clock < t.ramp then
        return smooth(u, t, stamp, clock)
    end
    -- All weigh the same: smooth round robin is then plain turns, whose cost does not grow with n.
    local i = t.next
    if i < t.n and usable(u, t.peers[i], stamp, floor(clock)) then
        t.next = i + 1
        return i
    end
    return next_turn(u, t, stamp, floor(clock))
end

-- least_conn_equal is least_conn of peers that weigh the same: the least busy, and of those the first from the tier's
-- next turn on: the least of the numbers busy · TURNS + turns until it is next. Among the few peers that most upstreams
-- have, all of them usable, a function without a loop finds it: at a loop within a request's way LuaJIT stops to compile
-- it, and interprets the rest of the request.
local TURNS, STRAIGHT, scans = 16384, 16, {}
local function scan_of(n)
    local code = { "local min, turn = ...\nreturn function(own, others, slots, at)\nlocal least = 1e15" }
    for i = 0, n - 1 do
        code[#code + 1] = gsub("least = min(least, (own[slots[I]] + others[slots[I]]) * N + turn[at + I])", "[IN]", { I = i, N = TURNS })
    end
    code[#code + 1] = "return least\nend"
    local turn = ffi.new("double[?]", 2 * n + 1)
    for i = 0, 2 * n do
        turn[i] = i % n
    end
    return assert(loadstring(concat(code, "\n")))(min, turn)
end

local function scan_on(u, t, stamp, now, own, others)
    local n, least, failing = t.n, 1e15, false
    for i = 0, n - 1 do
        local p = t.peers[i]
        if usable(u, p, stamp, now) then
            least = min(least, (own[p.slot] + others[p.slot]) * TURNS + (i + n - t.next) % n)
        end
        failing = failing or p.fails > 0
    end
    t.failing = failing
    return least
end

local function least_conn_equal(u, t, stamp, clock, rec)
    local n, least, own, others = t.n, 0, u.counts.own, u.counts.others
    if n <= STRAIGHT and t.all and not t.failing and rec.tries == 0 then
        local scan = scans[n]
        if not scan then
            scan = scan_of(n)
            scans[n] = scan
        end
        least = scan(own, others, t.slots, n - t.next)
    else
        least = scan_on(u, t, stamp, floor(clock), own, others)
    end
    if least == 1e15 then
        return -1
    end
    local over = t.next + band(least, TURNS - 1) - n
    local best = over + band(arshift(over, 31), n) -- over, and n more where that is below 0
    t.next = best + 1
    return best
end

local function least_conn(u, t, stamp, clock, rec)
    gather(u.counts, clock)
    if t.equal and not t.rough and clock >= t.ramp then
        return least_conn_equal(u, t, stamp, clock, rec)
    end
    local own, others, now = u.counts.own, u.counts.others, floor(clock)
    local best, busy, weight = -1, 0, 1
    for i = 0, t.n - 1 do
        local p = t.peers[i]
        if usable(u, p, stamp, now) then
            local c, w = own[p.slot] + others[p.slot], p.weight * share(p, clock)
            if best < 0 or c * weight < busy * w then
                best, busy, weight = i, c, w
            end
        end
    end
    if best < 0 then
        return -1
    end
    -- Among equals it is round robin, as in smooth.
    local first, most, total, rough = best, nil, 0, false
    for i = first, t.n - 1 do
        local p = t.peers[i]
        local w = p.weight * share(p, clock)
        if usable(u, p, stamp, now) and (own[p.slot] + others[p.slot]) * weight == busy * w then
            local e = p.effective * share(p, clock)
            p.current = p.current + e
            total = total + e
            if p.effective < p.weight then
                p.effective = p.effective + 1
            end
            if not most or p.current > most then
                best, most = i, p.current
            end
        end
    end
    for i = 0, t.n - 1 do
        rough = rough or t.peers[i].effective < t.peers[i].weight
    end
    t.rough = rough
    t.peers[best].current = most - total
    return best
end

-- place is the peer that point x of all weights falls on: hash and random count those that are down, too.
local function place(t, x)
    if t.step then
        return floor(x / t.step)
    end
    local i, j = 0, t.n
    while j - i > 1 do
        local k = floor((i + j) / 2)
        if x < t.range[k] then
            j = k
        else
            i = k
        end
    end
    return i
end

-- accept draws for a peer in its slow start.
local function accept(p, clock)
    return clock >= p.since + p.slow_start or random(1000) < 1000 * share(p, clock)
end

local function random_one(u, t, stamp, clock, rec)
    local now = floor(clock)
    while rec.draws <= 20 do
        local i = place(t, random(t.total))
        if usable(u, t.peers[i], stamp, now) and accept(t.peers[i], clock) then
            return i
        end
        rec.draws = rec.draws + 1
    end
    return round_robin(u, t, stamp, clock)
end

-- less_busy is what random two takes of two.
local function less_busy(u, t, a, b, clock)
    local p, q, counts, x, y = t.peers[a], t.peers[b], u.counts, 0, 0
    if few_looks(counts) then
        gather(counts, clock)
        x, y = counts.others[p.slot], counts.others[q.slot]
    else
        x, y = elsewhere(counts, p.slot), elsewhere(counts, q.slot)
    end
    x, y = x + counts.own[p.slot], y + counts.own[q.slot]
    return y * p.weight > x * q.weight and a or b
end

local function random_two_on(u, t, stamp, clock, rec, former)
    local now = floor(clock)
    while rec.draws <= 20 do
        local i = place(t, random(t.total))
        if i ~= former and usable(u, t.peers[i], stamp, now) and accept(t.peers[i], clock) then
            if former >= 0 then
                return less_busy(u, t, former, i, clock)
            end
            former = i
        end
        rec.draws = rec.draws + 1
    end
    return round_robin(u, t, stamp, clock)
end

local function random_two(u, t, stamp, clock, rec)
    local now, i, j = floor(clock), place(t, random(t.total)), place(t, random(t.total))
    local one = usable(u, t.peers[i], stamp, now) and accept(t.peers[i], clock)
    if one and i ~= j and usable(u, t.peers[j], stamp, now) and accept(t.peers[j], clock) then
        return less_busy(u, t, i, j, clock)
    end
    rec.draws = rec.draws + 1
    return random_two_on(u, t, stamp, clock, rec, one and i or -1)
end

local function ip_hash_on(u, t, stamp, clock, rec)
    local now, hash, key = floor(clock), rec.hash, rec.key
    while rec.draws <= 20 do
        for k = 1, #key do
            hash = (hash * 113 + byte(key, k)) % 6271
        end
        local i = place(t, hash % t.total)
        if usable(u, t.peers[i], stamp, now) then
            rec.hash = hash
            return i
        end
        rec.draws = rec.draws + 1
    end
    return round_robin(u, t, stamp, clock)
end

local function ip_hash(u, t, stamp, clock, rec)
    if not rec.key then
        rec.hash, rec.key = 89, ngx.var.binary_remote_addr
        if #rec.key == 4 then
            rec.key = sub(rec.key, 1, 3)
        elseif #rec.key ~= 16 then
            rec.key = "\0\0\0" -- a client at a unix socket
        end
    end
    if rec.draws == 0 and #rec.key == 3 then -- the first draw of what ip_hash_on does
        local a, b, c = byte(rec.key, 1, 3)
        local hash = (((rec.hash * 113 + a) % 6271 * 113 + b) % 6271 * 113 + c) % 6271
        local i = place(t, hash % t.total)
        if usable(u, t.peers[i], stamp, floor(clock)) then
            rec.hash = hash
            return i
        end
    end
    return ip_hash_on(u, t, stamp, clock, rec)
end

-- key_of evaluates the key of `hash`: an array of literals and variables in turn.
local function key_of(u)
    local parts, key = u.key, ""
    for i = 1, #parts, 2 do
        local value = ngx.var[parts[i + 1]] or ""
        key = #key + #parts[i] > 0 and key .. parts[i] .. value or value
    end
    return key .. u.tail
end

local function hash(u, t, stamp, clock, rec)
    rec.key = rec.key or key_of(u)
    local now, key = floor(clock), rec.key
    while rec.draws <= 20 and key ~= "" do
        local crc = ngx.crc32_long(rec.round > 0 and rec.round .. key or key)
        rec.round = rec.round + 1
        rec.hash = rec.hash + band(rshift(crc, 16), 0x7fff)
        local i = place(t, rec.hash % t.total)
        if usable(u, t.peers[i], stamp, now) then
            return i
        end
        rec.draws = rec.draws + 1
    end
    return round_robin(u, t, stamp, clock)
end
