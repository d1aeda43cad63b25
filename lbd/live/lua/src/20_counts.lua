-- The shared dictionary, and who is busy with what.
--
--   v                   raised whenever anybody has to look again: a message, a worker that came or went
--   m, m<n>             number of the present message, and its text
--   p                   number of the one before it, which is kept for those who are reading it
--   w<pid>              a worker: "GENERATION EXITING ERROR", of constant length, so that writing it can't fail
--   c<pid>/<name>/<k>   requests under way on the slots 16k … 16k+15 of an upstream, uint32 each; slot -1 is the
--                       sum of those whose peer the present message does not have at all
--
-- Only worker <pid> writes its w and c keys, whole and absolute: nothing can drift, and what a dead worker left is
-- dropped with its keys. Nothing is ever stored by pushing something else out (safe_set).

local CHUNK = 16
local uint32s = ffi.typeof("const uint32_t *")
local dict = ngx.shared[DICT]
local worker = { pid = nil, others = {}, generation = 0, error = "", exiting = false }

pcall(ffi.cdef, "int kill(int pid, int signal);")

-- store is dict:safe_set of bytes, without a Lua string made of them. It calls what lua-resty-core calls, as that has
-- declared it; where that is not as it was until 0.1.32, safe_set itself does it.
local function store(key, bytes, size)
    return dict:safe_set(key, ffi_string(bytes, size))
end
pcall(function()
    local zone = C.ngx_http_lua_ffi_shdict_udata_to_zone(dict[1])
    local why, forcible = ffi.new("char *[1]"), ffi.new("int[1]")
    local function direct(key, bytes, size)
        if C.ngx_http_lua_ffi_shdict_store(zone, 4, key, #key, 4, bytes, size, 0, 0, 0, why, forcible) == 0 then
            return true
        end
        return nil, ffi_string(why[0])
    end
    local key = "probe" .. ngx.worker.pid()
    assert(direct(key, ffi.new("unsigned char[3]", 1, 0, 2), 3) and dict:get(key) == "\1\0\2")
    dict:delete(key)
    store = direct
end)

local function publish_worker()
    local text = format("%d %d %s", worker.generation, worker.exiting and 1 or 0, worker.error)
    dict:safe_set("w" .. worker.pid, sub(text .. rep(" ", 255), 1, 255))
end

local quiet_until = 0

-- fault notes what went wrong, in the state that lbd reads and, every ten seconds at most, in the error log.
local function fault(what)
    what = gsub(sub(tostring(what), 1, 160), '[%c"\\\128-\255]', "?")
    if what ~= worker.error and worker.pid then
        worker.error = what
        pcall(publish_worker)
    end
    if ngx.now() >= quiet_until then
        quiet_until = ngx.now() + 10
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
    return floor(ngx.now() * 1000)
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
    if size > counts.size or not counts.own then
        local former, bytes = counts.own_base, (counts.size + CHUNK) * 4
        counts.size, counts.own_base = size, ffi.new("uint32_t[?]", size + CHUNK)
        counts.others_base = ffi.new("uint32_t[?]", size + CHUNK)
        counts.own, counts.others = counts.own_base + CHUNK, counts.others_base + CHUNK
        counts.bytes = ffi.cast("const unsigned char *", counts.own)
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
    if not worker.exiting and ngx.worker.exiting() then
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
        local text = dict:get(their_key(counts, i, k))
        if text then
            n = n + ffi.cast(uint32s, text)[slot - k * CHUNK]
        end
    end
    return n
end

-- gather fills counts.others, where that takes few looks; else all are 0 and only this worker's requests count.
local GATHER = 24
local function gather(counts)
    local others, chunks = counts.others, counts.size / CHUNK
    local looks = #worker.others * chunks
    if looks > GATHER or looks == 0 then
        if counts.gathered then
            ffi.fill(others, counts.size * 4)
            counts.gathered = false
        end
        return
    end
    counts.gathered = true
    ffi.fill(others, counts.size * 4)
    for k = 0, chunks - 1 do
        for i = 1, #worker.others do
            local text = dict:get(their_key(counts, i, k))
            if text then
                local theirs = ffi.cast(uint32s, text)
                for j = 0, CHUNK - 1 do
                    others[k * CHUNK + j] = others[k * CHUNK + j] + theirs[j]
                end
            end
        end
    end
end
