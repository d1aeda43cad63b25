// Package agent is a node's life in the pool: it registers with its address and port, sends heartbeats with what the
// machine is doing, freezes itself while it is unwell, takes commands and leaves with an event. A program of its own
// can import it to add health checks and handlers; the binary is Main.
//
// A command is judged by the node's own Policy before anything is done: Redis is not trusted to run anything (package
// trust). It decides nothing about traffic beyond its own node, never asks an outside host who it is, and runs no shell.
package agent
