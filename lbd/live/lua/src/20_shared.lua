-- What the workers share: a dictionary, and cells of raw memory for who is busy with what.
--
--   v                   raised whenever anybody has to look again: a message, a worker that came or went, a new cell
--   m, m<n>             number of the present message, and its text; that of the one before is kept for those who read it
--   w<pid>              a worker: "GENERATION EXITING ERROR", of constant length, so that writing it can't fail; an error
--                       begins with "@V ", the v that the worker had before it
--   c<pid>/<name>/<k>   the number of the cell with the requests under way on the slots 16k … 16k+15 of an upstream; slot
--                       -1 is the sum of those whose peer the present message does not have at all. Where no cell is
--                       to be had: the counts themselves, uint32 each
--   l<pid>              the cells of a worker
--   cells, free         the last cell that was new, and those to be used again
--   lock                the worker that takes a message in
--
-- Only worker <pid> writes its w and c keys and its cells, whole and absolute: nothing can drift, and what a dead worker
-- left is dropped with its keys. Nothing is ever stored by pushing something else out (safe_set).
--
-- The first cell holds v once more, for the requests: a load of memory costs them next to nothing, a look into the
-- dictionary a mutex that the processors hand to one another.
--
-- A count is a plain store to memory, and each request loads v after it. What makes that safe is that whoever raises v
-- has the kernel put a memory barrier between the two on every processor (membarrier): after it he sees the count, or the
-- request sees that v was raised. Where the kernel doesn't, requests take v from the dictionary, by way of its mutex.

local CHUNK, CELL_COUNT = 16, 16384
local uint32s, uint64s = ffi.typeof("const uint32_t *"), ffi.typeof("const uint64_t *")
local dict = ngx.shared[DICT]
local worker = { pid = nil, number = 0, others = {}, generation = 0, error = "", faulty = 0, exiting = false }

pcall(ffi.cdef, "int kill(int pid, int signal);")

-- cells is the second half of a zone in which nothing is stored otherwise: Nginx takes a zone's pages from the front.
-- The zone outlives reloads. nil where it is not there, or not laid out as ngx_shm_zone_t has been from the first.
local cell_type = ffi.typeof("struct { uint32_t busy[16], owner, spare[15]; }")
local cells = nil
pcall(function()
    local zone = cast("const struct { void *data; char *address; size_t size, length; const char *name; } *",
        C.ngx_http_lua_ffi_shdict_udata_to_zone(ngx.shared[CELLS][1]))
    local size = CELL_COUNT * ffi.sizeof(cell_type)
    assert(zone.size == 2 * size and zone.length == #CELLS and ffi_string(zone.name, zone.length) == CELLS)
    cells = cast(ffi.typeof("$ *", cell_type), zone.address + size)
end)

-- membarrier is Linux's system call, nil where this process can't have it.
local membarrier = nil
pcall(function()
    local number = assert(({ x64 = 324, arm64 = 283 })[ffi.os == "Linux" and ffi.arch])
    ffi.cdef 'long bazbeans_membarrier(long number, int command, unsigned int flags, int cpu) __asm__("syscall");'
    local REGISTER, BARRIER = 4, 2 -- MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED and MEMBARRIER_CMD_GLOBAL_EXPEDITED
    assert(C.bazbeans_membarrier(number, REGISTER, 0, 0) == 0 and C.bazbeans_membarrier(number, BARRIER, 0, 0) == 0)
    membarrier = function()
        return C.bazbeans_membarrier(number, BARRIER, 0, 0)
    end
end)

-- current is what v is now, as requests compare it.
local word = cells and cast("double *", cells)
local current = word and membarrier and function()
    return word[0]
end or function()
    return dict:get("v")
end

local function publish_worker()
    local what = worker.error ~= "" and format("@%.0f %s", worker.faulty, worker.error) or ""
    local text = format("%.0f %d %s", worker.generation, worker.exiting and 1 or 0, what)
    dict:safe_set("w" .. worker.pid, sub(text .. rep(" ", 255), 1, 255))
end

local quiet_until = 0

-- fault notes what went wrong, in the state that lbd reads and, every ten seconds at most, in the error log.
local function fault(what)
    what = gsub(sub(tostring(what), 1, 160), '[%c"\\\128-\255]', "?")
    local v = dict:get("v") or 0
    if worker.pid and (what ~= worker.error or v ~= worker.faulty) then
        worker.error, worker.faulty = what, v
        pcall(publish_worker)
    end
    if ngx_now() >= quiet_until then
        quiet_until = ngx_now() + 10
        ngx.log(ngx.ERR, "bazbeans: ", what, " (Nginx's own server lines serve meanwhile)")
    end
end

-- forget drops what the worker left, for its process is no more. A list gives each of its cells to one taker.
local function forget(keys, pid)
    for i = 1, #keys do
        if match(keys[i], "^[wc](%d+)") == pid then
            dict:delete(keys[i])
        end
    end
    while true do
        local n = dict:rpop("l" .. pid)
        if not n then
            break
        elseif cells then
            cells[n].owner = 0
            dict:lpush("free", n)
        end
    end
end

-- ended reports whether a process is no more (ESRCH is 3 everywhere).
local function ended(pid)
    return C.kill(tonumber(pid) or 0, 0) == -1 and ffi.errno() == 3
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

-- raise makes everybody look again. No two store the same number: of two who raise v at one moment either may be the last
-- to store his, and both are new to all others. (Without v, which only other Lua code can cause, it is a number below 0.)
local function raise()
    local v = dict:incr("v", 1, new_number())
    if word then
        word[0] = v or -new_number()
    end
    if membarrier then
        membarrier()
    end
end

-- register makes this process known. It first drops what a former process of the same number left, and those
-- that no longer live.
local function register()
    worker.pid, worker.number = tostring(ngx.worker.pid()), ngx.worker.pid()
    local keys = dict:get_keys(0)
    forget(keys, worker.pid)
    for i = 1, #keys do
        local pid = match(keys[i], "^w(%d+)$")
        if pid and ended(pid) then
            forget(keys, pid)
        end
    end
    publish_worker()
    raise()
end
