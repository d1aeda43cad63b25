package harness

// network says how what Nginx sends to the nodes' addresses arrives at the backends.
type network struct {
	name       string // private, own or loopback
	anyAddress bool   // every address is local here; else Nginx is given others, see moved
	ipv6       bool   // with anyAddress: IPv6 too
	why        string // why it is not a better one; "" for the best
}

// The values of --network.
const (
	networkAuto     = "auto"     // the best one that can be had
	networkPrivate  = "private"  // a network namespace, made for this run, in which every address is local
	networkLoopback = "loopback" // none: the addresses in server lines are replaced by some of 127.0.0.1
	networkInside   = "inside"   // the run itself, in the namespace that was made for it
)

func loopback(why string) network { return network{name: networkLoopback, why: why} }
