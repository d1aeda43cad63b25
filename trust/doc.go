// Package trust makes commands trustworthy on a Redis that is not: an operator signs what a node is to do (Ed25519), the
// node runs what the signed bytes say and nothing beside them, and what is secret in it may be sealed to that node
// (HPKE, RFC 9180, with X25519).
//
// It does not decide which commands need a signature, and it does not remember which it has seen: a caller that runs
// orders must refuse an id that it has run (package agent does). It imports nothing but the standard library.
package trust
