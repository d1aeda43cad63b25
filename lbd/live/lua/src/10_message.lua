-- The message: what lbd sends and what a seed holds. lbd/live/message.go has its form.
-- decode() is the only door: what it lets in can't make a request fail later.

local MESSAGE_BYTES, MESSAGE_PEERS, MAX_SLOT = 4194304, 10000, 16383
local HEAD = "^bazbeans 1 (%d+) ([%w._-]+)\n"
local PEER = "^peer (%d+) (%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+)$"

pcall(ffi.cdef, "int inet_pton(int family, const char *text, void *address);")
local AF_INET6 = ffi.os == "Linux" and 10 or ffi.os == "OSX" and 30 or 28
local scratch = ffi.new("unsigned char[16]")

-- whole reads a decimal number as Go prints it, within bounds; else nil.
local function whole(text, low, high)
    if #text > 15 or #text > 1 and byte(text) == 48 then
        return nil
    end
    local n = tonumber(text)
    return n >= low and n <= high and n or nil
end

-- host gives the address as Nginx takes it in "host:port"; else nil.
local function host(text)
    if #text > 45 or not match(text, "^[%x.:]+$") then
        return nil
    elseif find(text, ":", 1, true) then
        return C.inet_pton(AF_INET6, text, scratch) == 1 and "[" .. text .. "]" or nil
    end
    return C.inet_pton(2, text, scratch) == 1 and text or nil
end

-- parse_peer reads one line. The table is shared by all who know the line: nobody writes to it.
local function parse_peer(line)
    local slot, id, address, port, weight, max_fails, fail_timeout, max_conns, slow_start, since, flags =
        match(line, PEER)
    if not slot then
        return nil
    end
    local p = {
        slot = whole(slot, 0, MAX_SLOT),
        address = host(address),
        port = whole(port, 1, 65535),
        weight = whole(weight, 1, 65535),
        max_fails = whole(max_fails, 0, 1000000),
        fail_timeout = whole(fail_timeout, 0, 100000000),
        max_conns = whole(max_conns, 0, 1000000),
        slow_start = whole(slow_start, 0, 1000000),
        since = whole(since, 0, 100000000000),
    }
    if not (p.slot and p.address and p.port and p.weight and p.max_fails and p.fail_timeout and p.max_conns and
            p.slow_start and p.since and #id <= 128 and match(id, "^[%w._-]+$")) then
        return nil
    end
    p.key = id .. " " .. address .. " " .. port
    if flags ~= "-" then
        if not match(flags, "^d?b?g?$") then
            return nil
        end
        p.down, p.backup, p.gone = find(flags, "d") ~= nil, find(flags, "b") ~= nil, find(flags, "g") ~= nil
    end
    return p
end

-- decode returns {generation, peers = {name → list}, lines = {line → peer}}, or nil and why not. Lines of the
-- message known before are not read again: a change of one peer of a thousand costs about the change.
local function decode(text, known)
    if #text > MESSAGE_BYTES then
        return nil, "the message is larger than 4 MiB"
    end
    local generation, sum = match(text, HEAD)
    generation = generation and whole(generation, 0, 9007199254740991)
    if not generation or #sum > 128 then
        return nil, "line 1: not `bazbeans 1 GENERATION SUM`"
    end
    local known_lines = known and known.lines or {}
    local message = { generation = generation, peers = {}, lines = {} }
    local lines, all, list, slots = message.lines, 0, nil, nil
    local at, number = find(text, "\n", 1, true) + 1, 1
    while true do
        number = number + 1
        local stop = find(text, "\n", at, true)
        if not stop then
            return nil, "line " .. number .. ": the message ends without its `end` line"
        end
        local line = sub(text, at, stop - 1)
        at = stop + 1
        local p = known_lines[line] or parse_peer(line)
        if p then
            all = all + 1
            if not list then
                return nil, "line " .. number .. ": a peer before the first upstream"
            elseif all > MESSAGE_PEERS then
                return nil, "line " .. number .. ": more than " .. MESSAGE_PEERS .. " peers"
            elseif slots[p.slot] then
                return nil, "line " .. number .. ": the slot is taken by another peer of this upstream"
            end
            slots[p.slot] = true
            list[#list + 1] = p
            lines[line] = p
        else
            local name = match(line, "^upstream ([%w_][%w._-]*)$")
            local count = match(line, "^end (%d+)$")
            if name and #name <= 128 then
                if message.peers[name] then
                    return nil, "line " .. number .. ": the upstream is there twice"
                end
                list, slots = {}, {}
                message.peers[name] = list
            elseif count then
                if tonumber(count) ~= all or at <= #text then
                    return nil, "line " .. number .. ": `end` does not close the message, or its count is wrong"
                end
                return message
            else
                return nil, "line " .. number .. ": not a line of a message"
            end
        end
    end
end
