-- hash … consistent: the ring of Nginx's ketama, 160 points for each unit of weight, of crc32(HOST \0 PORT PREVIOUS).

local RING_POINTS = 1048576 -- built within a request, in some 50 ms; lbd does not send more weight than that

local crc_table = ffi.new("uint32_t[256]")
for i = 0, 255 do
    local c = i
    for _ = 1, 8 do
        c = band(c, 1) == 1 and bxor(rshift(c, 1), 0xedb88320) or rshift(c, 1)
    end
    crc_table[i] = c
end

local function crc_byte(crc, b)
    return bxor(tobit(crc_table[band(bxor(crc, b), 255)]), rshift(crc, 8))
end

local function crc_text(crc, text)
    for i = 1, #text do
        crc = crc_byte(crc, byte(text, i))
    end
    return crc
end

-- sort orders the points by radix, 11 bits a pass; equal ones keep their order.
local function sort(points, owners, n)
    local points2, owners2 = ffi.new("uint32_t[?]", n), ffi.new("uint16_t[?]", n)
    local starts = ffi.new("uint32_t[2049]")
    for pass = 0, 2 do
        local shift = pass * 11
        fill(starts, 2049 * 4)
        for i = 0, n - 1 do
            local b = band(rshift(points[i], shift), 2047) + 1
            starts[b] = starts[b] + 1
        end
        for b = 1, 2047 do
            starts[b] = starts[b] + starts[b - 1]
        end
        for i = 0, n - 1 do
            local b = band(rshift(points[i], shift), 2047)
            local to = starts[b]
            starts[b] = to + 1
            points2[to], owners2[to] = points[i], owners[i]
        end
        points, points2, owners, owners2 = points2, points, owners2, owners
    end
    return points, owners
end

local function same_ring(t, former)
    if not former or not former.ring or former.n ~= t.n then
        return false
    end
    for i = 0, t.n - 1 do
        local p, q = t.peers[i], former.peers[i]
        if t.address[i] ~= former.address[i] or p.port ~= q.port or p.weight ~= q.weight then
            return false
        end
    end
    return true
end

-- prepare_ring builds the ring, unless the former one is still right: a peer that is down stays on it.
local function prepare_ring(u, t)
    if same_ring(t, u.primary) then
        t.ring = u.primary.ring
        return
    end
    local all = t.total * 160
    if all > RING_POINTS then
        error("upstream " .. u.name .. ": a consistent hash over a weight of " .. t.total .. " in all is too large")
    end
    local points, owners, n = ffi.new("uint32_t[?]", max(all, 1)), ffi.new("uint16_t[?]", max(all, 1)), 0
    for i = 0, t.n - 1 do
        local p = t.peers[i]
        local base, previous = crc_text(crc_byte(crc_text(-1, t.address[i]), 0), tostring(p.port)), 0
        for _ = 1, p.weight * 160 do
            local crc = crc_byte(crc_byte(base, band(previous, 255)), band(rshift(previous, 8), 255))
            crc = crc_byte(crc_byte(crc, band(rshift(previous, 16), 255)), rshift(previous, 24))
            previous = bnot(crc)
            points[n], owners[n] = previous, i
            n = n + 1
        end
    end
    points, owners = sort(points, owners, n)
    local last = 0
    for i = 1, n - 1 do
        if points[i] ~= points[last] then
            last = last + 1
            points[last], owners[last] = points[i], owners[i]
        end
    end
    t.ring = { points = points, owners = owners, n = min(n, last + 1) }
end

local function consistent(u, t, stamp, clock, rec)
    local ring = t.ring
    if not rec.key then
        rec.key = key_of(u)
        local crc = ngx.crc32_long(rec.key) % 4294967296
        local i, j = 0, ring.n
        while i < j do
            local k = floor((i + j) / 2)
            if crc > ring.points[k] then
                i = k + 1
            else
                j = k
            end
        end
        rec.hash = i
    end
    local now = floor(clock)
    while rec.draws <= 20 and rec.key ~= "" do
        local i = ring.owners[rec.hash % ring.n]
        if usable(u, t.peers[i], stamp, now) then
            return i
        end
        rec.hash = rec.hash + 1
        rec.draws = rec.draws + 1
    end
    return round_robin(u, t, stamp, clock)
end
