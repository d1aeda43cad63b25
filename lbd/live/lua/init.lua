-- Runs in the master, as root, before Nginx binds its sockets (not with `nginx -t`). A socket that nobody listens at
-- any more would keep Nginx from starting, and so would a folder that is gone: the first is removed, the second made.
-- A socket that answers is left alone: at a reload and an upgrade of the binary it is Nginx's own.
--
-- A request's way through our code has more constants than LuaJIT takes in one piece of machine code (500), and what it does
-- not compile it interprets, at twice the cost. The limit holds for all Lua of this Nginx, and does no harm there; an
-- init_worker_by_lua may set another.
pcall(function()
    require("jit.opt").start("maxirconst=1000")
end)
pcall(function()
    local ffi = require "ffi"
    local path = @PATH@
    pcall(require, "ngx.balancer") -- while files can surely be read
    pcall(ffi.cdef, "int mkdir(const char *path, unsigned int mode);")
    pcall(ffi.cdef, "int socket(int domain, int type, int protocol);")
    pcall(ffi.cdef, "int connect(int fd, const void *address, unsigned int length);")
    pcall(ffi.cdef, "int close(int fd);")
    pcall(ffi.cdef, "int unlink(const char *path);")
    local C, at = ffi.C, 1
    while true do
        local slash = string.find(path, "/", at + 1, true)
        if not slash then
            break
        end
        at = slash
        C.mkdir(string.sub(path, 1, slash - 1), string.find(path, "/", slash + 1, true) and 493 or 448) -- 0755, 0700
    end
    local fd = C.socket(1, 1, 0) -- AF_UNIX, SOCK_STREAM
    if fd < 0 then
        return
    end
    local address = ffi.new("unsigned char[110]")
    ffi.copy(address, ffi.os == "Linux" and "\1\0" or "\110\1", 2)
    ffi.copy(address + 2, path)
    local answers = C.connect(fd, address, 3 + #path) == 0
    local refused = not answers and ffi.errno() == (ffi.os == "Linux" and 111 or 61) -- ECONNREFUSED
    C.close(fd)
    if refused then
        C.unlink(path)
    end
end)
