-- The shared dictionary, and who is busy with what.
--
--   v                   raised whenever anybody has to look again: a message, a worker that came or went
--   m, m<n>             number of the present message, and its text; that of the one before is kept for those who read it
--   w<pid>              a worker: "GENERATION EXITING ERROR", of constant length, so that writing it can't fail; an error
--                       begins with "@V ", the v that the worker had before it
--   c<pid>/<name>/<k>   requests under way on the slots 16k … 16k+15 of an upstream, uint32 each; slot -1 is the
--                       sum of those whose peer the present message does not have at all
--
-- Only worker <pid> writes its w and c keys, whole and absolute: nothing can drift, and what a dead worker left is
-- dropped with its keys. Nothing is ever stored by pushing something else out (safe_set).

local CHUNK = 16
local uint32s = ffi.typeof("const uint32_t *")
local dict = ngx.shared[DICT]
local worker = { pid = nil, others = {}, generation = 0, error = "", faulty = 0, exiting = false }

pcall(ffi.cdef, "int kill(int pid, int signal);")

-- store is dict:safe_set of bytes; fetch gets the counts of a key into `fetched` and says whether they are there; and
-- version is dict:get "v". No Lua string is made of counts: it would be a new one each time. They call what
-- lua-resty-core calls, as that has declared it; where that is not as it was until 0.1.32, its own functions do it.
local fetched = ffi.new("uint32_t[?]", CHUNK)
local function store(key, bytes, size)
    return dict:safe_set(key, ffi_string(bytes, size))
end
local function fetch(key)
    local text = dict:get(key)
    if type(text) ~= "string" or #text ~= CHUNK * 4 then
        return false
    end
    ffi.copy(fetched, text, CHUNK * 4)
    return true
end
local function version()
    return dict:get("v")
end
local probe = "probe" .. ngx.worker.pid()
pcall(function()
    local zone = C.ngx_http_lua_ffi_shdict_udata_to_zone(dict[1])
    local why, forcible = ffi.new("char *[1]"), ffi.new("int[1]")
    local kind, into, size_of, number = ffi.new("int[1]"), ffi.new("unsigned char *[1]"), ffi.new("size_t[1]"), ffi.new("double[1]")
    local flags, stale, buffer = ffi.new("int[1]"), ffi.new("int[1]"), ffi.cast("unsigned char *", fetched)
    local function direct_store(key, bytes, size)
        if C.ngx_http_lua_ffi_shdict_store(zone, 4, key, #key, 4, bytes, size, 0, 0, 0, why, forcible) == 0 then
            return true
        end
        return nil, ffi_string(why[0])
    end
    local function direct_fetch(key)
        into[0], size_of[0], kind[0] = buffer, CHUNK * 4, 0
        return C.ngx_http_lua_ffi_shdict_get(zone, key, #key, kind, into, size_of, number, flags, 0, stale, why) == 0 and kind[0] == 4
    end
    local function direct_version()
        into[0], size_of[0], kind[0] = buffer, CHUNK * 4, 0
        if C.ngx_http_lua_ffi_shdict_get(zone, "v", 1, kind, into, size_of, number, flags, 0, stale, why) == 0 and kind[0] == 3 then
            return number[0]
        end
        return nil
    end
    local bytes = ffi.new("unsigned char[?]", CHUNK * 4, 1, 0, 2)
    assert(direct_store(probe, bytes, CHUNK * 4) and dict:get(probe) == ffi_string(bytes, CHUNK * 4))
    assert(direct_fetch(probe) and into[0] == buffer and size_of[0] == CHUNK * 4 and fetched[0] == 131073)
    dict:delete(probe)
    assert(not direct_fetch(probe))
    local low, is, high = dict:get("v") or 0, direct_version() or 0, dict:get("v") or 0 -- others may raise it just now
    assert(low <= is and is <= high)
    store, fetch, version = direct_store, direct_fetch, direct_version
end)
dict:delete(probe)

local function publish_worker()
    local what = worker.error ~= "" and format("@%.0f %s", worker.faulty, worker.error) or ""
    local text = format("%.0f %d %s", worker.generation, worker.exiting and 1 or 0, what)
    dict:safe_set("w" .. worker.pid, sub(text .. rep(" ", 255), 1, 255))
end

local quiet_until = 0

-- fault notes what went wrong, in the state that lbd reads and, every ten seconds at most, in the error log.
local function fault(what)
    what = gsub(sub(tostring(what), 1, 160), '[%c"\\\128-\255]', "?")
    local v = version() or 0
    if worker.pid and (what ~= worker.error or v ~= worker.faulty) then
        worker.error, worker.faulty = what, v
        pcall(publish_worker)
    end
    if ngx_now() >= quiet_until then
        quiet_until = ngx_now() + 10
        ngx.log(ngx.ERR, "bazbeans: ", what, " (Nginx's own server lines serve meanwhile)")
    end
end

-- forget drops what the worker left, for its process is no more.
local function forget(keys, pid)
    for i = 1, #keys do
        if match(keys[i], "^[wc](%d+)") == pid then
            dict:delete(keys[i])
        end
    end
end

-- look_around lists the other workers.
local function look_around()
    local others, keys = {}, dict:get_keys(0)
    for i = 1, #keys do
        local pid = match(keys[i], "^w(%d+)$")
        if pid and pid ~= worker.pid then
            others[#others + 1] = pid
        end
    end
    worker.others = others
end

-- new_number begins with the time, so that a dictionary which somebody emptied never counts the same again.
local function new_number()
    return floor(ngx_now() * 1000)
end

-- raise makes everybody look again.
local function raise()
    return dict:incr("v", 1, new_number())
end

-- register makes this process known. It first drops what a former process of the same number left, and those
-- that no longer live (ESRCH is 3 everywhere).
local function register()
    worker.pid = tostring(ngx.worker.pid())
    local keys = dict:get_keys(0)
    forget(keys, worker.pid)
    for i = 1, #keys do
        local pid = match(keys[i], "^w(%d+)$")
        if pid and C.kill(tonumber(pid), 0) == -1 and ffi.errno() == 3 then
            forget(keys, pid)
        end
    end
    publish_worker()
    raise()
end

-- counts of one upstream in this worker. They outlive every change of its peers.
local function new_counts(name)
    return { name = name, size = 0, keys = {}, theirs = {} }
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
        counts.bytes = ffi.cast("const unsigned char *", counts.own)
        counts.others_twos = ffi.cast("uint64_t *", counts.others)
        if former then
            ffi.copy(counts.own_base, former, bytes)
        end
    end
end

local function publish(counts, slot)
    local k = arshift(slot, 4)
    local key = counts.keys[k]
    if not key then
        key = "c" .. worker.pid .. "/" .. counts.name .. "/" .. k
        counts.keys[k] = key
    end
    local ok, err = store(key, counts.bytes + k * CHUNK * 4, CHUNK * 4)
    if not ok then
        fault("a count can't be published: " .. err)
    end
    if not worker.exiting and exiting() then
        worker.exiting = true
        publish_worker()
    end
end

local function their_key(counts, i, k)
    local of = counts.theirs[k]
    if not of or of.list ~= worker.others then
        of = { list = worker.others }
        for j = 1, #worker.others do
            of[j] = "c" .. worker.others[j] .. "/" .. counts.name .. "/" .. k
        end
        counts.theirs[k] = of
    end
    return of[i]
end

-- elsewhere is the number of requests under way on the slot in all other workers.
local function elsewhere(counts, slot)
    local k, n = arshift(slot, 4), 0
    for i = 1, #worker.others do
        if fetch(their_key(counts, i, k)) then
            n = n + fetched[slot - k * CHUNK]
        end
    end
    return n
end

-- Sums of the other workers' counts, for the methods that compare peers. They are exact where that takes few looks into
-- the dictionary, at most a millisecond old where it takes more, and 0 where it would take too many.
local EXACT, MOST_LOOKS, looking = 8, 128, {}
local more = ffi.cast("const uint64_t *", fetched) -- two counts are added at once: neither overflows

-- looks_of writes n looks out without a loop: at a loop within a request's way LuaJIT stops to compile it, and
-- interprets the rest of the request.
local function looks_of(n)
    local code = { "local fetch, more = ...\nreturn function(others, keys, at)\nlocal sum" }
    for i = 1, n do
        code[#code + 1] = gsub("if fetch(keys[I]) then\nsum = others + at[I]", "I", i)
        for j = 0, CHUNK / 2 - 1 do
            code[#code + 1] = gsub("sum[J] = sum[J] + more[J]", "J", j)
        end
        code[#code + 1] = "end"
    end
    code[#code + 1] = "end"
    return assert(loadstring(concat(code, "\n")))(fetch, more)
end

local function look_all(others, keys, at)
    for i = 1, #keys do
        if fetch(keys[i]) then
            local sum = others + at[i]
            for j = 0, CHUNK / 2 - 1 do
                sum[j] = sum[j] + more[j]
            end
        end
    end
end

local function few_looks(counts)
    return #worker.others * counts.listed <= EXACT * CHUNK
end

-- plan_looks lists the keys to look at, and where what they hold belongs.
local function plan_looks(counts)
    local keys, at, chunks = {}, {}, counts.listed / CHUNK
    if #worker.others * chunks <= MOST_LOOKS then
        for i = 1, #worker.others do
            for k = 0, chunks - 1 do
                keys[#keys + 1], at[#at + 1] = "c" .. worker.others[i] .. "/" .. counts.name .. "/" .. k, k * CHUNK / 2
            end
        end
    end
    counts.exact = few_looks(counts)
    if counts.exact then
        looking[#keys] = looking[#keys] or looks_of(#keys)
    end
    counts.look, counts.look_keys, counts.look_at = counts.exact and looking[#keys] or look_all, keys, at
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
    counts.look(counts.others_twos, counts.look_keys, counts.look_at)
end
