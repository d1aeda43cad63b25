// Package agent is a node's life in the pool: it registers with its address and port, sends heartbeats with what the
// machine is doing, freezes itself while it is unwell, takes commands and leaves with an event. A program of its own
// can import it to add health checks and handlers; the binary is Main.
//
// It decides nothing about traffic beyond its own node, never asks an outside host who it is, and has no commands yet
// that touch the application (start, stop, exec, deploy_file): a Plugin brings them.
package agent
