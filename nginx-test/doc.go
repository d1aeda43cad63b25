// Package nginxtest proves the main job from outside: the binaries as users
// run them, a real redis-server, a real nginx and constant traffic. It knows
// no package of the product, only what contract and documents promise: flags,
// files, keys in Redis, HTTP, exit codes, and what a client of the site gets.
//
// compose.yml and site/ are of the container harness (package compose), and base
// makes other Debians for all of it.
//
// Each test is a story told to a site (see site_test.go). It waits for what
// shall become true, never for time to pass: where a story needs time, the
// traffic is its clock. There is no code here but tests, and the original
// system's stand-in for fleets that run both (python/original.py).
package nginxtest
