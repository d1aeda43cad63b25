-- The control server: lbd speaks here, over a unix socket that only root may reach.

local function answer(status, text, kind)
    ngx.status = status
    ngx.header.content_type = kind or "text/plain"
    ngx.header.content_length = #text
    ngx.print(text)
end

local function body()
    ngx.req.read_body()
    local text = ngx.req.get_body_data()
    if not text and ngx.req.get_body_file() then
        local file = assert(io.open(ngx.req.get_body_file(), "rb"))
        text = file:read("*a")
        file:close()
    end
    return text or ""
end

-- busy_of lists {upstream → {slot → requests}} of one worker as JSON.
local function busy_of(keys, pid)
    local of = {}
    for i = 1, #keys do
        local owner, name, k = match(keys[i], "^c(%d+)/(.+)/(-?%d+)$")
        local value = owner == pid and dict:get(keys[i])
        local counts = value and counts_of(value, pid)
        if counts then
            for j = 0, CHUNK - 1 do
                if counts[j] > 0 then
                    of[name] = of[name] or {}
                    insert(of[name], format('"%d":%d', k * CHUNK + j, counts[j]))
                end
            end
        end
    end
    local all = {}
    for name, list in pairs(of) do
        insert(all, format('"%s":{%s}', name, concat(list, ",")))
    end
    return concat(all, ",")
end

local function state()
    local keys, workers = dict:get_keys(0), {}
    for i = 1, #keys do
        local pid = match(keys[i], "^w(%d+)$")
        local text = pid and dict:get(keys[i])
        if text then
            local generation, exiting, what = match(text, "^(%d+) (%d) (.-) *$")
            local seen, fresh = match(what, "^@(%d+) (.*)$")
            if seen then -- since then it has been told to look again
                what = tonumber(seen) == dict:get("v") and fresh or ""
            end
            insert(workers, format('{"pid":%s,"generation":%s,"error":"%s","exiting":%s,"busy":{%s}}', pid, generation, what,
                exiting == "1", busy_of(keys, pid)))
        end
    end
    local _, now = pcall(present)
    local generation, sum = match(now or "", HEAD)
    return format('{"version":1,"generation":%s,"sum":"%s","free":%d,"workers":[%s]}\n', generation or 0, sum or "",
        dict:free_space(), concat(workers, ","))
end

-- put takes a message in. All that can fail comes before the one store that makes it the present one. before is until when
-- lbd waits, in milliseconds since 1970: what a worker that was held up takes later would undo what came meanwhile.
local function put(text, before)
    local fresh, err = decode(text, message)
    if not fresh then
        return 400, err .. "\n"
    end
    ngx.update_time()
    if before and ngx_now() * 1000 >= before then
        return 409, "it comes too late: nobody waits for it any more\n"
    end
    local former = dict:get("m")
    local m = max((tonumber(former) or 0) + 1, new_number())
    local keys, present_key = dict:get_keys(0), "m" .. tostring(former)
    for i = 1, #keys do -- the one before the present, and what a worker left that was killed here
        if match(keys[i], "^m%d+$") and keys[i] ~= present_key then
            dict:delete(keys[i])
        end
    end
    local ok, why = dict:safe_set("m" .. m, text)
    if ok and dict:get("lock") ~= worker.pid then
        dict:delete("m" .. m)
        return 409, "it took too long: another change is under way\n"
    elseif ok then
        ok, why = dict:safe_set("m", m)
    end
    if not ok then
        dict:delete("m" .. m)
        return 507, "the shared dictionary can't take the message: " .. why .. "\n"
    end
    raise()
    refresh(current())
    return 200, state(), "application/json"
end

-- lock is for one change at a time. A worker may be killed or stopped in the middle: the lock of the first is anybody's,
-- that of the other ends after two seconds, before lbd gives up.
local function lock()
    local holder = dict:get("lock")
    if holder and ended(holder) then
        dict:delete("lock")
    end
    return dict:safe_add("lock", worker.pid, 2)
end

local raised_for = nil

-- finish_raise raises v for one who did not come to it: a worker that was killed or stopped within put or raise, or one
-- that does not know of the memory. Whoever answers vouches for all. It is done once for a message: a bad one stays
-- unseen.
local function finish_raise()
    local m = dict:get("m")
    if word and word[0] ~= dict:get("v") or m ~= seen_message and m ~= raised_for then
        raised_for = m
        raise()
    end
end

local function control()
    local route = ngx.req.get_method() .. " " .. ngx.var.uri
    if not worker.pid then
        register()
    end
    finish_raise()
    if seen_version ~= current() or lost() or not dict:get("w" .. worker.pid) then -- emptied twice there is no v either time
        local ok, err = pcall(refresh, current())
        if not ok then
            fault(err)
        end
    end
    if route == "PUT /peers" then
        local text = body()
        local free, why = lock()
        if not free then
            return why == "exists" and 503 or 507, "no lock for a change: " .. why .. "\n"
        end
        local ok, status, reply, kind = pcall(put, text, tonumber(ngx.var.arg_before))
        if dict:get("lock") == worker.pid then
            dict:delete("lock")
        end
        if not ok then
            error(status, 0)
        end
        return status, reply, kind
    elseif route == "GET /peers" then
        local text = present()
        return text and 200 or 404, text or "no message yet\n"
    elseif route == "GET /state" then
        return 200, state(), "application/json"
    elseif route == "POST /forget" then
        for pid in gmatch(ngx.var.arg_pid or "", "%d+") do
            forget(dict:get_keys(0), pid)
        end
        raise()
        refresh(current())
        return 200, state(), "application/json"
    end
    return 404, "PUT or GET /peers, GET /state, POST /forget?pid=N,…\n"
end

function M.control()
    local ok, status, text, kind = pcall(control)
    if not ok then
        fault(status)
        status, text = 500, tostring(status) .. "\n"
    end
    answer(status, text, kind)
end
