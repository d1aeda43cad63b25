-- bazbeans: balances by the peers that lbd puts in, and counts what is under way.
--
-- The files of this folder are one chunk, in the order of their names, and share the locals below. The chunk stands
-- in the configuration (see nginx.go) and runs once in each worker. No file is read, nothing of the operator's
-- Lua is touched, and every way in from Nginx is under pcall.

local M = {}
local ffi, bit, base, balancer = require "ffi", require "bit", require "resty.core.base", require "ngx.balancer"
local C, cast, fill, ffi_string = ffi.C, ffi.cast, ffi.fill, ffi.string
local pcall, tonumber = pcall, tonumber
local arshift, band, bnot, bxor, lshift, rshift, tobit = bit.arshift, bit.band, bit.bnot, bit.bxor, bit.lshift, bit.rshift, bit.tobit
local byte, find, format, gmatch, gsub = string.byte, string.find, string.format, string.gmatch, string.gsub
local match, next, rep, sub = string.match, next, string.rep, string.sub
local ceil, floor, max, min = math.ceil, math.floor, math.max, math.min
local concat, insert, remove = table.concat, table.insert, table.remove
local get_request, last_failure = base.get_request, balancer.get_last_failure
local set_peer, more_tries = balancer.set_current_peer, balancer.set_more_tries
local loadstring = loadstring or load
local is_internal, ngx_now, exiting = ngx.req.is_internal, ngx.now, ngx.worker.exiting
local DICT, CELLS = "bazbeans_1", "bazbeans_cells_1"
