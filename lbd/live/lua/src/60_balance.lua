-- One request: begin, retry, end. A request is known by its address, which an internal redirect keeps and ngx.ctx
-- does not survive; a subrequest also by the connection that it shares with its main request.

local BUSY, RUNNING = ngx.ERROR - 2, 1 -- NGX_BUSY: Nginx answers 502 "no live upstreams"
local uintptr = ffi.typeof("uintptr_t")
local open, spare, ids, subrequests, stamp = {}, false, {}, 0, 0

-- key_of_request is the request's address.
local function key_of_request(r)
    return tonumber(cast(uintptr, r))
end

-- main_request names the request that this one is part of: a subrequest shares its connection, whoever made it, and does
-- not always share its variables.
local function main_request()
    return ngx.var.connection .. " " .. ngx.var.connection_requests
end

-- direct gives a function of the Lua module as lua-resty-core calls it, with the request alone; slow where there is none.
local function direct(name, slow)
    local same, fast = pcall(function()
        local f = C[name]
        assert(tonumber(f(get_request())) == tonumber(slow()))
        return f
    end)
    return same and fast or slow
end

local in_subrequest = direct("ngx_http_lua_ffi_is_subrequest", function()
    return ngx.is_subrequest and 1 or 0
end)
local internal = direct("ngx_http_lua_ffi_req_is_internal", function()
    return is_internal() and 1 or 0
end)
local status_of = direct("ngx_http_lua_ffi_get_resp_status", function()
    return ngx.status
end)

local methods = {
    round_robin = round_robin, least_conn = least_conn, random = random_one, ["random two"] = random_two,
    ["random two least_conn"] = random_two, ip_hash = ip_hash, hash = hash, consistent = consistent,
}

-- failed says whether the try that is back places before the last in $upstream_status ended without an answer. Nginx
-- tells a balancer so at the next try only, and after the last there is none.
local function failed(back)
    local status = ngx.var.upstream_status
    if not status or back == 0 and sub(status, -3) ~= "502" and sub(status, -3) ~= "504" then
        return false
    end
    local time, n = {}, 0
    for word in gmatch(ngx.var.upstream_header_time or "", "[%d.-]+") do
        n = n + 1
        time[n] = word
    end
    local at = n - back
    n = 0
    for word in gmatch(status, "[%d-]+") do
        n = n + 1
        if n == at then
            return time[at] == "-" and (word == "502" or word == "504")
        end
    end
    return false
end

-- failed_last is failed(0) of the log phase. It looks first at what costs nothing: an answer below 500 that was not
-- made by an error page has not failed. (It may be a stale one from the cache: that try goes unnoticed.)
local function failed_last(r)
    return (status_of(r) >= 500 or internal(r) == 1) and failed(0)
end

-- enter and leave count a request in and out.
local function enter(rec, seat)
    local counts, slot = rec.u.counts, seat.slot
    rec.seat, seat.busy = seat, seat.busy + 1
    counts.own[slot] = counts.own[slot] + 1
    publish(counts, slot)
end

local function leave(rec)
    local seat = rec.seat
    if seat then
        local counts, slot = rec.u.counts, seat.slot
        rec.seat, seat.busy = false, seat.busy - 1
        counts.own[slot] = counts.own[slot] - 1
        publish(counts, slot)
    end
    return seat
end

-- finish ends a try: the count, and what Nginx's free_round_robin_peer notes of the peer.
local function finish(rec, bad)
    local u, seat = rec.u, leave(rec)
    local t = seat and seat.tier
    if not t or t.single then
        return
    end
    local p = t.peers[seat.at]
    if bad then
        local now = ngx.time()
        p.fails, p.accessed, p.checked, t.failing = p.fails + 1, now, now, true
        if p.max_fails > 0 then
            p.effective = max(0, p.effective - floor(p.weight / p.max_fails))
            t.rough = t.rough or p.effective < p.weight
            if p.fails >= p.max_fails then
                ngx.log(ngx.WARN, "upstream server temporarily disabled: ", t.address[seat.at], ":", p.port, " of ", u.name)
            end
        end
    elseif p.fails > 0 and p.accessed < p.checked then
        p.fails = 0
    end
end

-- take gives a record. All are made here, with all their fields, so that they lie alike in memory: LuaJIT compiles the
-- way to a field for one layout.
local function take()
    local rec = spare
    if rec then
        spare = rec.next
        return rec
    end
    return { u = false, seat = false, tries = 0, tried = {}, draws = 0, hash = 0, round = 0, key = false, id = false, next = false }
end

-- redraw forgets what the methods that draw have drawn: they begin anew, and pass over the peers that were tried.
local function redraw(rec)
    rec.draws, rec.hash, rec.round, rec.key = 0, 0, 0, false
end

local function release(key, rec)
    open[key] = nil
    if rec.id then
        local of = ids[rec.id]
        for i = #of, 1, -1 do
            if of[i] == key then
                remove(of, i)
            end
        end
        if #of == 0 then
            ids[rec.id] = nil
        end
        rec.id, subrequests = false, subrequests - 1
    end
    if rec.key or rec.draws > 0 then
        redraw(rec)
    end
    rec.tries, rec.next, spare = 0, spare, rec
end

-- request_of gives the record of this request and upstream, with the try before this one ended.
local function request_of(u, r, key)
    local rec = open[key]
    if rec then
        local failure = last_failure()
        if failure then
            finish(rec, failure == "failed")
            return rec
        end
        -- Another upstream of the same request (error_page, X-Accel-Redirect), or one whose end we weren't told.
        finish(rec, failed(1))
        release(key, rec)
    end
    rec = take()
    rec.u = u
    open[key] = rec
    if in_subrequest(r) == 1 then
        rec.id = main_request()
        local of = ids[rec.id] or {}
        of[#of + 1] = key
        ids[rec.id], subrequests = of, subrequests + 1
    end
    return rec
end

-- mark tells the methods which peers this request has tried.
local function mark(rec)
    for i = 1, rec.tries do
        local seat = rec.tried[i]
        if seat.tier then
            seat.tier.peers[seat.at].mark = stamp
        end
    end
end

-- full asks the other workers, too.
local function full(u, p)
    return p.max_conns > 0 and u.counts.own[p.slot] + elsewhere(u.counts, p.slot) >= p.max_conns
end

-- pick_of finds a place in a tier, and passes over those that are full elsewhere; -1 when none is left.
local function pick_of(u, t, pick, rec, clock)
    while t.up > 0 do
        local i = pick(u, t, stamp, clock, rec)
        if i < 0 or not full(u, t.peers[i]) then
            return i
        end
        t.peers[i].mark = stamp
    end
    return -1
end

local function choose_on(u, rec, clock, at)
    local t = u.primary
    if at >= 0 then
        t.peers[at].mark = stamp
        at = pick_of(u, t, u.pick, rec, clock)
    end
    if at < 0 then
        t = u.backup
        at = pick_of(u, t, u.pick == least_conn and least_conn or round_robin, rec, clock)
    end
    return at >= 0 and t or nil, at
end

-- choose finds a tier and a place in it, nil when no peer is left. Loops are in functions of their own, here and below:
-- LuaJIT compiles the way that most requests take only when it has none.
local function choose(u, rec, clock)
    local t, i = u.primary, -1
    stamp = stamp + 1
    if t.single then
        return t.up == 1 and not full(u, t.peers[0]) and t or nil, 0
    end
    if rec.tries > 0 then
        mark(rec)
    end
    if t.up > 0 then
        i = u.pick(u, t, stamp, clock, rec)
        if i >= 0 and not full(u, t.peers[i]) then
            return t, i
        end
    end
    return choose_on(u, rec, clock, i)
end

-- set_tries makes the number of tries that of the peers there are. Nginx has counted its own server lines, and cut
-- that down to proxy_next_upstream_tries, which no balancer may read; but it says when a number is above that.
local function set_tries(u)
    local change = u.tries - u.lines
    if change < 0 then
        local _, limited = more_tries(1073741823)
        if limited then
            local present = u.lines
            while present > 0 do -- with a limit, tries below 0 are refused: the first that is not is the number at hand
                local _, refused = more_tries(-present)
                if not refused then
                    break
                end
                present = present - 1
            end
            change = min(u.tries, present) - present
        end
    end
    more_tries(change)
end

-- step_in counts the request at a peer and hands that to Nginx, then makes sure that nobody has changed the peers
-- meanwhile, else returns nil: whoever reads the counts after a change sees every request that went by the set before.
local function step_in(u, rec)
    local clock = ngx_now()
    local t, i = choose(u, rec, clock)
    if t then
        local p = t.peers[i]
        local ok, err = set_peer(t.address[i], p.port)
        if not ok then
            error("peer " .. t.address[i] .. ": " .. tostring(err))
        end
        enter(rec, t.seats[i + 1])
        if p.fails > 0 and floor(clock) - p.checked > p.fail_timeout then
            p.checked = floor(clock)
        end
    end
    local now = current()
    if now ~= seen_version or floor(clock) ~= looked and lost_since(floor(clock)) then
        local ok, err = pcall(refresh, now)
        if ok then
            leave(rec)
            redraw(rec)
            return nil
        end
        fault(err) -- and this request goes by the last set that was good
    end
    if not t then
        return BUSY
    end
    rec.tries = rec.tries + 1
    rec.tried[rec.tries] = rec.seat
    if rec.tries == 1 and u.tries ~= u.lines then
        set_tries(u)
    end
    return RUNNING
end

local function step_in_again(u, rec)
    for _ = 1, 100 do
        local result = step_in(u, rec)
        if result then
            return result
        end
    end
    error("the peers change faster than a request can begin")
end

local function balance(u)
    local r = get_request()
    local rec = request_of(u, r, key_of_request(r))
    if u.broken and (seen_version ~= current() or lost()) then
        refresh(current())
    end
    if u.broken then
        error(u.broken, 0)
    end
    return step_in(u, rec) or step_in_again(u, rec)
end

local function abandon()
    local key = key_of_request(get_request())
    local rec = open[key]
    if rec then
        leave(rec)
        release(key, rec)
    end
end

-- M.balance sets the peer, and returns false where it does not know the upstream. When anything goes wrong it sets none,
-- and Nginx takes one of its own server lines.
function M.balance(name)
    local u = upstreams[name]
    if not u then
        return false
    end
    local ok, what = pcall(balance, u)
    if not ok then
        fault(what)
        pcall(abandon)
    elseif what == BUSY then
        ngx.exit(BUSY)
    end
    return true
end

local function done()
    local r = get_request()
    local key = key_of_request(r)
    local rec = open[key]
    if rec then
        finish(rec, failed_last(r))
        release(key, rec)
        if not worker.exiting and exiting() then
            worker.exiting = true
            publish_worker()
        end
    end
    if subrequests > 0 and in_subrequest(r) == 0 then
        local of = ids[main_request()]
        while of and #of > 0 do
            local sub_key = of[#of]
            finish(open[sub_key], false)
            release(sub_key, open[sub_key])
        end
    end
end

-- M.done ends the request's counts. It belongs in the log phase of every request.
function M.done()
    local ok, what = pcall(done)
    if not ok then
        fault(what)
    end
end

-- M.upstream makes an upstream known, once in each worker: its method, and the peers that it has while the
-- dictionary holds no message that names it. Their number is that of the server lines beside it.
function M.upstream(name, method, seed_lines)
    if not worker.pid then
        register()
    end
    local seed = assert(decode(seed_lines, nil))
    local u = { name = name, counts = new_counts(name), seats = {}, seed = assert(seed.peers[name]), lines = 0 }
    local key, ring = match(method, "^hash (%S+) ?(%w*)$")
    if key then
        u.key, u.tail = {}, match(key, "[^$]*$")
        local from = 1
        for literal, variable, stop in gmatch(key, "([^$]*)$([%a_][%w_]*)()") do
            u.key[#u.key + 1], u.key[#u.key + 2], from = literal, variable, stop
        end
        u.tail = sub(key, from)
        method = ring == "consistent" and ring or "hash"
    end
    u.pick = assert(methods[method], method)
    u.prepare = method == "consistent" and prepare_ring or nil
    for i = 1, #u.seed do
        if not u.seed[i].down and not u.seed[i].gone then
            u.lines = u.lines + 1
        end
    end
    set_peers(u, message and message.peers[name] or u.seed)
    for _ = 1, random(16) do -- or all workers would begin with the same peer
        stamp = stamp + 1
        round_robin(u, u.primary, stamp, ngx_now())
    end
    upstreams[name] = u
end

-- M.upstreams are those made known.
M.upstreams = upstreams

-- M.looks_at is where a request looks for v.
M.looks_at = word and membarrier and "memory" or "dictionary"
