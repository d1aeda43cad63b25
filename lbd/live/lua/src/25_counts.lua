-- What each worker counts in, and how the others see it.

-- counts of one upstream in this worker. They outlive every change of its peers.
local function new_counts(name)
    return { name = name, size = 0, keys = {}, cells = {}, theirs = {} }
end

-- room makes place for slots below size, and for -16 … -1.
local function room(counts, size)
    size = ceil(size / CHUNK) * CHUNK
    counts.listed = size -- of the present peers; what is below counts.size may still be busy
    if size > counts.size or not counts.own then
        local former, bytes = counts.own_base, (counts.size + CHUNK) * 4
        counts.size, counts.own_base = size, ffi.new("uint32_t[?]", size + CHUNK)
        counts.others_base = ffi.new("uint32_t[?]", size + CHUNK)
        counts.own, counts.others = counts.own_base + CHUNK, counts.others_base + CHUNK
        counts.others_twos = ffi.cast("uint64_t *", counts.others)
        if former then
            ffi.copy(counts.own_base, former, bytes)
        end
    end
end

local cells_from = 0

-- new_cell takes a cell for this worker: its number, nil when none is to be had. Then it does not try again for a second,
-- since a cell that a full dictionary can't list is lost.
local function new_cell()
    if not cells or ngx_now() < cells_from then
        return nil
    end
    local n = dict:rpop("free") or dict:incr("cells", 1, 0)
    if not n or n >= CELL_COUNT or not dict:lpush("l" .. worker.pid, n) then
        cells_from = ngx_now() + 1
        return nil
    end
    ffi.fill(cells + n, ffi.sizeof(cell_type))
    cells[n].owner = worker.number
    return n
end

-- publish_chunk publishes the counts of the slots 16k … 16k+15, in a new cell when there is none, or no longer: it was
-- taken for a dead worker's, or the dictionary was emptied.
local function publish_chunk(counts, k)
    local own, cell = counts.own + k * CHUNK, counts.cells[k]
    if cell and cell.owner == worker.number then
        ffi.copy(cell.busy, own, CHUNK * 4)
        return
    end
    local n = new_cell()
    if n then
        cell = cells + n
        ffi.copy(cell.busy, own, CHUNK * 4)
    end
    local known = counts.keys[k]
    local key = known or "c" .. worker.pid .. "/" .. counts.name .. "/" .. k
    local ok, err = dict:safe_set(key, n or ffi_string(own, CHUNK * 4))
    if not ok then
        counts.cells[k] = nil
        if n then
            dict:lpush("free", dict:lpop("l" .. worker.pid))
        end
        fault("a count can't be published: " .. err)
        return
    end
    counts.keys[k], counts.cells[k] = key, n and cell or nil
    if n or not known then
        raise()
    end
end

local function publish(counts, slot)
    local k = arshift(slot, 4)
    local cell = counts.cells[k]
    if cell and cell.owner == worker.number then
        cell.busy[slot - k * CHUNK] = counts.own[slot]
    else
        publish_chunk(counts, k)
    end
    if not worker.exiting and exiting() then
        worker.exiting = true
        publish_worker()
    end
end

-- publish_anew publishes all, after the dictionary has lost it.
local function publish_anew(counts)
    counts.cells = {}
    for k in pairs(counts.keys) do
        publish_chunk(counts, k)
    end
end

-- counts_of are the counts of a worker by the value of a c key: sixteen that change as it counts, or nil.
local function counts_of(value, pid)
    if type(value) == "number" then
        return cells and value < CELL_COUNT and cells[value].owner == tonumber(pid) and cells[value].busy or nil
    end
    return type(value) == "string" and #value == CHUNK * 4 and ffi.cast(uint32s, value) or nil
end

-- theirs_of lists where the other workers count what is on the slots 16k … 16k+15: their cells, and the keys of those
-- that have none.
local function theirs_of(counts, k)
    local of = counts.theirs[k]
    if not of or of.list ~= worker.others then
        of = { list = worker.others, keys = {} }
        for i = 1, #worker.others do
            local pid = worker.others[i]
            local key = "c" .. pid .. "/" .. counts.name .. "/" .. k
            local value = dict:get(key)
            if type(value) == "string" then
                insert(of.keys, key)
            else
                insert(of, counts_of(value, pid))
            end
        end
        counts.theirs[k] = of
    end
    return of
end

-- add_keys adds to sums what is under keys.
local function add_keys(sums, keys)
    for i = 1, #keys do
        local text = dict:get(keys[i])
        local busy = counts_of(text)
        if busy then
            for j = 0, CHUNK - 1 do
                sums[j] = sums[j] + busy[j]
            end
        end
    end
end

local scrap = ffi.new("uint32_t[?]", CHUNK)

-- elsewhere is the number of requests under way on the slot in all other workers.
local function elsewhere(counts, slot)
    local k, n = arshift(slot, 4), 0
    local of, at = theirs_of(counts, k), slot - k * CHUNK
    for i = 1, #of do
        n = n + of[i][at]
    end
    if #of.keys > 0 then
        ffi.fill(scrap, CHUNK * 4)
        add_keys(scrap, of.keys)
        n = n + scrap[at]
    end
    return n
end

-- Sums of the other workers' counts, for the methods that compare peers. They are exact where that takes few looks,
-- at most a millisecond old where it takes more, and 0 where it would take too many.
local EXACT, MOST_LOOKS, looking = 8, 128, {}

-- looks_of writes n looks out without a loop: at a loop within a request's way LuaJIT stops to compile it, and
-- interprets the rest of the request. Two counts are added at once: neither overflows.
local function looks_of(n)
    local code = { "return function(others, from, at)\nlocal sum, more" }
    for i = 1, n do
        code[#code + 1] = gsub("sum, more = others + at[I], from[I]", "I", i)
        for j = 0, CHUNK / 2 - 1 do
            code[#code + 1] = gsub("sum[J] = sum[J] + more[J]", "J", j)
        end
    end
    code[#code + 1] = "end"
    return assert(loadstring(concat(code, "\n")))()
end

local function look_all(others, from, at)
    for i = 1, #from do
        local sum, more = others + at[i], from[i]
        for j = 0, CHUNK / 2 - 1 do
            sum[j] = sum[j] + more[j]
        end
    end
end

local function look_up(counts)
    for k, keys in pairs(counts.look_keys) do
        add_keys(counts.others + k * CHUNK, keys)
    end
end

local function few_looks(counts)
    return #worker.others * counts.listed <= EXACT * CHUNK
end

-- plan_looks lists what to look at, and where it belongs.
local function plan_looks(counts)
    local from, at, chunks = {}, {}, counts.listed / CHUNK
    counts.look_keys, counts.keyed = {}, false
    if #worker.others * chunks <= MOST_LOOKS then
        for k = 0, chunks - 1 do
            local of = theirs_of(counts, k)
            for i = 1, #of do
                from[#from + 1], at[#at + 1] = ffi.cast(uint64s, of[i]), k * CHUNK / 2
            end
            if #of.keys > 0 then
                counts.look_keys[k], counts.keyed = of.keys, true
            end
        end
    end
    counts.exact = few_looks(counts)
    if counts.exact then
        looking[#from] = looking[#from] or looks_of(#from)
    end
    counts.look, counts.look_from, counts.look_at = counts.exact and looking[#from] or look_all, from, at
    counts.looked_for, counts.looked_in = worker.others, counts.listed
end

-- gather fills counts.others.
local function gather(counts, clock)
    if counts.looked_for ~= worker.others or counts.looked_in ~= counts.listed then
        plan_looks(counts)
    elseif counts.gathered == clock and not counts.exact then
        return
    end
    counts.gathered = clock
    ffi.fill(counts.others, counts.listed * 4)
    counts.look(counts.others_twos, counts.look_from, counts.look_at)
    if counts.keyed then
        look_up(counts)
    end
end
