// Package load sends HTTP/1.1 requests on a fixed schedule and counts what
// became of each one, the way a client behind a load balancer feels it.
//
// The loop is open: request n is due at start + n/rate whatever happened to
// those before it, and its latency runs from that moment. A server that stalls
// therefore shows in the latency of all requests that were due meanwhile, and
// not as a pause of the generator.
//
// The client is our own, on plain connections, because the ones at hand repeat
// requests without a word. It keeps connections alive and treats their loss as
// browsers and HTTP libraries do (RFC 9110, section 9.2.2; RFC 9112, 9.3.1):
//
//   - closed while idle, seen before a byte was written: opened again and
//     counted as reopened, no harm done;
//   - closed after the request was written and before a byte of the answer, on
//     a connection that had served requests before: a GET is repeated once on a
//     fresh connection and counted as repeated; a POST may have had its effect,
//     so it has failed;
//   - everything else (no connection, time-out, an answer cut short, a status
//     that is not 2xx) is a failure with its reason.
//
// [Backend] is the sample application at the other end. There is no TLS, no
// HTTP/2, no pipelining, no redirect: it measures load balancers on this host.
package load
