-- What each worker counts in, and how the others see it.

-- counts of one upstream in this worker. They outlive every change of its peers.
local function new_counts(name)
    return { name = name, size = 0, keys = {}, cells = {}, theirs = {}, planned = false }
end

-- room makes place for slots below size, and for -16 … -1.
local function room(counts, size)
    size = ceil(size / CHUNK) * CHUNK
    counts.planned = false
    counts.listed = size -- of the present peers; what is below counts.size may still be busy
    if size > counts.size or not counts.own then
        local former, bytes = counts.own_base, (counts.size + CHUNK) * 4
        counts.size, counts.own_base = size, ffi.new("uint32_t[?]", size + CHUNK)
        counts.others_base = ffi.new("uint32_t[?]", size + CHUNK)
        counts.own, counts.others = counts.own_base + CHUNK, counts.others_base + CHUNK
        counts.others_twos = cast("uint64_t *", counts.others)
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
    fill(cells + n, ffi.sizeof(cell_type))
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
    return type(value) == "string" and #value == CHUNK * 4 and cast(uint32s, value) or nil
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
        fill(scrap, CHUNK * 4)
        add_keys(scrap, of.keys)
        n = n + scrap[at]
    end
    return n
end

-- Sums of the other workers' counts, for the methods that compare peers. They are exact where that takes few looks,
-- at most a millisecond old where it takes more, and 0 where it would take too many.
local EXACT, MOST_LOOKS, looking = 8, 128, {}

-- looks_of writes out, without a loop, how numbers[k + 1] lists are added up for the slots 16k … 16k+15: at a loop within a
-- request's way LuaJIT stops to compile it, and interprets the rest of the request. Two counts are added at once: neither
-- overflows.
local function looks_of(numbers)
    local code, last = { "return function(sums, from)" }, 0
    for k = 1, #numbers do
        local first = last + 1
        last = last + numbers[k]
        for i = first, last do
            code[#code + 1] = gsub("local cI = from[I]", "I", i)
        end
        for j = 0, numbers[k] > 0 and CHUNK / 2 - 1 or -1 do
            local terms = {}
            for i = first, last do
                terms[#terms + 1] = "c" .. i .. "[" .. j .. "]"
            end
            code[#code + 1] = "sums[" .. (k - 1) * CHUNK / 2 + j .. "] = " .. concat(terms, " + ")
        end
    end
    code[#code + 1] = "end"
    return assert(loadstring(concat(code, "\n")))()
end

-- plan_looks lists what to look at, and where it belongs. look is how, where it is exact and all have cells.
local function plan_looks(counts)
    local from, numbers, chunks = {}, {}, counts.listed / CHUNK
    counts.look_keys = {}
    if #worker.others * chunks <= MOST_LOOKS then
        for k = 0, chunks - 1 do
            local of = theirs_of(counts, k)
            for i = 1, #of do
                from[#from + 1] = cast(uint64s, of[i])
            end
            numbers[k + 1] = #of
            if #of.keys > 0 then
                counts.look_keys[k] = of.keys
            end
        end
    end
    counts.exact, counts.look = #worker.others * chunks <= EXACT, false
    if counts.exact and not next(counts.look_keys) then
        local shape = concat(numbers, " ")
        looking[shape] = looking[shape] or looks_of(numbers)
        counts.look = looking[shape]
    end
    counts.look_from, counts.look_numbers, counts.gathered, counts.planned = from, numbers, -1, true
    fill(counts.others, counts.listed * 4)
end

local function look_all(counts)
    local sums, from, numbers, at = counts.others_twos, counts.look_from, counts.look_numbers, 0
    fill(counts.others, counts.listed * 4)
    for k = 1, #numbers do
        for i = at + 1, at + numbers[k] do
            for j = 0, CHUNK / 2 - 1 do
                sums[j] = sums[j] + from[i][j]
            end
        end
        at, sums = at + numbers[k], sums + CHUNK / 2
    end
    for k, keys in pairs(counts.look_keys) do
        add_keys(counts.others + k * CHUNK, keys)
    end
end

-- few_looks says whether the sums are exact.
local function few_looks(counts)
    if not counts.planned then
        plan_looks(counts)
    end
    return counts.exact
end

-- gather fills counts.others.
local function gather(counts, clock)
    local exact = few_looks(counts)
    if counts.look then
        counts.look(counts.others_twos, counts.look_from)
    elseif exact or counts.gathered ~= clock then
        counts.gathered = clock
        look_all(counts)
    end
end
