// Package pool says what a node is and how the pool of nodes is kept in Redis: keys, registration, heartbeats,
// freezes, events, commands and the acknowledgements of the load balancers. The keys and the event JSON are those
// of the original Python system, so that both may work on one fleet.
//
// It does not decide what a node's address is (package resolvers), and it knows nothing of Nginx.
//
// Every state change is one Lua script below scripts/: it changes the sets and the hash, raises the revision and
// publishes the event, or does nothing at all: it looks at the types of its keys before it writes to any. Whatever is read back is typed at the door: an id, address, port or
// weight that is not what it should be is a Fault of that node and never an error of the whole look.
package pool
