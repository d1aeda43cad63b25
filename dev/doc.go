// Package dev runs a whole small site in one process, for the demo and for developers: a Redis, sample applications
// with their agents, a real Nginx with its own prefix, and lbd. It is the binary bbdev, and a Site that tests can
// start. Everything stays on loopback and below one folder; the machine's own Nginx and Redis are not touched.
//
// It is for trying and developing: the embedded Redis keeps nothing, and what is measured here shares the machine with
// what measures it. Nothing of lbd, agent or ctl may import it.
package dev
