// Package lua is the live engine inside Nginx: Lua code for lua-nginx-module
// 0.10.23 and later that balances by peers taken in over a unix socket, with
// no reload, and counts the requests under way on each of them. It builds the
// text of the configuration that carries the code, finds what it built there,
// and speaks with the code's control server.
//
// It knows nothing of lbd, of Redis or of a plan, and it touches no file. What
// is in a message is package live's matter.
// docs/live-lua.md says how the code works and what it counts.
package lua
