package pool

import (
	"fmt"
	"regexp"
	"strings"
)

// DefaultPrefix begins every key; on Redis Cluster write it as "{bazbeans}", so that all keys share a slot.
const DefaultPrefix = "bazbeans"

// Keys names every key of the pool. All of them begin with the prefix, and nothing else in this project spells a key.
type Keys struct{ prefix string }

func (k Keys) all() string              { return k.prefix + ":nodes:all" }     // set of registered ids
func (k Keys) active() string           { return k.prefix + ":nodes:active" }  // set of ids that may get traffic
func (k Keys) frozen() string           { return k.prefix + ":nodes:frozen" }  // hash id -> Freeze; operators' freezes
func (k Keys) nodeIPs() string          { return k.prefix + ":node_ips" }      // hash id -> address, for Python
func (k Keys) rev() string              { return k.prefix + ":rev" }           // the revision
func (k Keys) events() string           { return k.prefix + ":events" }        // bounded stream of events
func (k Keys) channel() string          { return k.prefix + ":lb_events" }     // the channel's default name
func (k Keys) lbs() string              { return k.prefix + ":lbs" }           // set of load balancers ever seen
func (k Keys) lb(id string) string      { return k.prefix + ":lb:" + id }      // hash, TTL: an Ack
func (k Keys) lbLast(id string) string  { return k.lb(id) + ":last" }          // string, TTL lastWordTTL: when it last spoke
func (k Keys) command(id string) string { return k.prefix + ":command:" + id } // hash, TTL: a Result
func (k Keys) status(id string) string  { return k.prefix + ":node:" + id + ":status" }
func (k Keys) heartbeat(id string) string {
	return k.prefix + ":node:" + id + ":heartbeat"
}
func (k Keys) commands(id string) string {
	return k.prefix + ":node:" + id + ":commands"
}

// taken holds what the agent took off the queue and has not ended, as it stood there, oldest first.
func (k Keys) taken(id string) string { return k.prefix + ":node:" + id + ":taken" }

// recent holds the ids of the node's last commands, newest first.
func (k Keys) recent(id string) string { return k.prefix + ":node:" + id + ":recent" }

// kind is the type of a key of the pool, as Redis's TYPE calls it; "" of any other key.
func (k Keys) kind(key string) string {
	name, ours := strings.CutPrefix(key, k.prefix+":")
	words := strings.Split(name, ":")
	last := words[len(words)-1]
	switch {
	case !ours:
		return ""
	case key == k.all(), key == k.active(), key == k.lbs():
		return "set"
	case key == k.frozen(), key == k.nodeIPs():
		return "hash"
	case key == k.rev():
		return "string"
	case key == k.events():
		return "stream"
	}
	// No id holds a colon.
	switch words[0] + " " + last {
	case "node status":
		return "hash"
	case "node heartbeat":
		return "string"
	case "node commands", "node taken", "node recent":
		return "list"
	}
	switch {
	case words[0] == "lb" && len(words) == 3:
		return "string"
	case words[0] == "lb", words[0] == "command":
		return "hash"
	}
	return ""
}

var idRule = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\z`)

// CheckID returns an error when id is not a node id: 1 to 128 letters, digits, dots, underscores and hyphens, the
// first a letter or a digit. Load balancers' ids follow the same rule.
func CheckID(id string) error {
	if idRule.MatchString(id) {
		return nil
	}
	return fmt.Errorf("id %s is not allowed: use 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter or digit", shown(id))
}

// shown quotes foreign text for an error message: escaped and cut, so that nothing in it reaches a terminal raw.
func shown(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q… (%d bytes)", s[:most], len(s))
	}
	return fmt.Sprintf("%q", s)
}
