// Package names is a DNS server on loopback with which free Nginx from 1.27.3
// on follows a set of peers without a reload: Nginx asks each second for the
// SRV records of an upstream (`server … service=… resolve`), and takes what it
// is told into the upstream's shared memory.
//
// A [Zone] answers, and knows from the questions and from the kernel's socket
// tables when Nginx goes by an answer. [Connections] counts what is under way.
// [Directives] and [Server] are the lines of Nginx's configuration that belong
// to it.
//
// It knows nothing of pools, plans and reloads, writes no file, asks nobody,
// and is no resolver for anything else: any other question is refused.
package names
