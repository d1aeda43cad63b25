package pool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// saying is what Redis says when it will not do something, and what an operator does about it.
type saying struct{ prefix, means, wayOut string }

// sayings are matched by the first word or words of Redis's own error; source: the replies in its src/server.c.
var sayings = []saying{
	{"NOAUTH", "it wants a password", "set username and password_file in the redis: block"},
	{"WRONGPASS", "it wants a password, and this one or its user is wrong", "set username and password_file in the redis: block"},
	{"NOPERM", "this user may not do that", "give it the command, the keys and the channel in its ACL: the lines are in docs/redis.md"},
	{"WRONGTYPE", "somebody has put something else in the place of a key of ours", "look what it is and who writes it, then redis-cli DEL it: a heartbeat or status comes back with the next beat, what else stood there is lost already"},
	{"OOM", "it is full: reads go on, writes are refused", "raise its maxmemory or remove what fills it, and leave maxmemory-policy at noeviction"},
	{"LOADING", "it is still loading its data", "wait: the next try may do"},
	{"MASTERDOWN", "it is a replica that has lost its master", "wait for the failover, or set replica-serve-stale-data yes"},
	{"READONLY", "it is a replica, and takes no writes", "name the master in redis.url, or its Sentinels in redis.sentinel; in a failover: wait"},
	{"NOREPLICAS", "it has fewer replicas than it wants for a write", "look at its replicas, or at min-replicas-to-write"},
	{"MISCONF", "it can't save to its disk and refuses writes", "look at its log and its disk"},
	{"CLUSTERDOWN", "the cluster has no node for our keys", "look at CLUSTER INFO; in a failover: wait"},
	{"MOVED", "it is a node of a Redis Cluster", "set redis.cluster.addrs, and key_prefix: '{bazbeans}'"},
	{"This instance has cluster support disabled", "it is no Redis Cluster", "take redis.cluster out of the config"},
	{"max number of clients reached", "it has no connection left", "raise its maxclients: three for each agent and each load balancer"},
	{"BUSY", "it is busy with somebody's script", "wait, or SCRIPT KILL"},
	{"unknown command", "it does not know that command", "use Redis 7 or later, or Valkey"},
}

// Explain turns an error of a call into one that names this Redis and the way out; nil stays nil. Callers ask again:
// every state of Redis that it names can end.
func (p *Pool) Explain(err error) error {
	if err == nil || errors.Is(err, ErrNoSuchNode) || errors.Is(err, context.Canceled) {
		return err
	}
	for _, s := range sayings {
		if redis.HasErrorPrefix(err, s.prefix) {
			return fmt.Errorf("redis at %s: %s: %w (%s)", p.where, s.means, err, s.wayOut)
		}
	}
	switch means, wayOut := unanswered(err); {
	case means != "":
		return fmt.Errorf("redis at %s: %s: %w (%s)", p.where, means, err, wayOut)
	case errors.Is(err, ErrTooLarge):
		return fmt.Errorf("redis at %s: %w (find it: redis-cli --bigkeys)", p.where, err)
	case isAnswer(err):
		return fmt.Errorf("redis at %s: %w", p.where, err)
	}
	return fmt.Errorf("redis at %s: %w (is it running? set --redis-url, or redis.url in the config)", p.where, err)
}

// RefusesWrites reports whether err says that Redis takes no write from anybody now: it is full, a replica, or can't save.
// Then it takes no heartbeat either, and what is missing from it proves nothing.
func RefusesWrites(err error) bool {
	for _, prefix := range []string{"OOM", "READONLY", "NOREPLICAS", "MISCONF"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// Denied reports whether err says that this user is not let in, or lacks a right: waiting does not mend it.
func Denied(err error) bool {
	return redis.HasErrorPrefix(err, "NOAUTH") || redis.HasErrorPrefix(err, "WRONGPASS") || redis.HasErrorPrefix(err, "NOPERM")
}

// unanswered says what is wrong when there is no answer, or none in Redis's language.
func unanswered(err error) (means, wayOut string) {
	var (
		unknown   x509.UnknownAuthorityError
		wrong     x509.HostnameError
		header    tls.RecordHeaderError
		handshake *handshakeError
		sentinel  *sentinelError
		timeout   net.Error
		op        *net.OpError
	)
	late := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
	switch {
	case errors.As(err, &sentinel):
		return "no Sentinel names a master", "is sentinel.master the name in their configuration, and are sentinel.addrs theirs?"
	case errors.As(err, &unknown):
		return "its certificate is signed by nobody this machine trusts", "set tls.ca"
	case errors.As(err, &wrong):
		return "its certificate is for another name", "set tls.server_name, or connect by a name that it holds"
	case errors.As(err, &header), late && errors.As(err, &handshake):
		return "it does not speak TLS on this port", "write redis:// and leave tls: out, or name its tls-port; or it is stopped"
	case errors.As(err, &op) && op.Op == "remote error": // an alert of TLS
		return "it refuses our side of TLS", "put a certificate that it trusts in tls.cert and tls.key"
	case late:
		return "no answer in time", "is it stopped, overloaded or cut off?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it closed the connection", "has it restarted, or reached its maxclients? a TLS port wants rediss://, and mostly a certificate in tls.cert and tls.key"
	}
	return "", ""
}

// isAnswer reports whether err is something that Redis said, so that it is there.
func isAnswer(err error) bool {
	var said redis.Error
	return errors.As(err, &said)
}
