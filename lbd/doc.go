// Package lbd is the load balancer daemon: it keeps the upstreams of one Nginx in step with the node pool.
//
// The line, from a fact in Redis to what Nginx serves, and where each step stands:
//
//	wake      loop.go, wake.go   events, expiries, resyncs, templates: all only mean "look again"
//	snapshot  look.go            the whole pool, two round trips
//	resolve   look.go            node -> address, through the chain
//	render    plan.go            who serves (guard.go), then view + templates -> files in memory
//	test, install, reload, verify   apply.go -> package lbd/nginx
//	ack       ack.go             what is proven to be served, said in Redis
//
// Everything up to the plan only reads; only apply writes, and lbd's end changes no traffic. A program that needs a
// resolver of its own calls Main with a Kind.
package lbd
