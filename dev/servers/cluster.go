package servers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Cluster is a Redis Cluster on loopback: three masters, and a replica for
// each AddReplica. Its nodes are patient with one another, for a busy machine is
// no fault of Redis: who wants a dead one replaced says so with NodeTimeout.
type Cluster struct {
	Nodes []*Redis

	dir  string
	args []string
	tls  *Certificates
}

// quick is after what time its nodes take one another for dead while they get
// to know each other: by it they also ask one another for news.
const quick = 500 * time.Millisecond

// slots is how many there are in every Redis Cluster.
const slots = 16384

// StartCluster starts three masters that share the slots, below dir, and
// returns when each of them says that the cluster works. args go to each node.
func StartCluster(ctx context.Context, dir string, certs *Certificates, args ...string) (*Cluster, error) {
	c := &Cluster{dir: dir, args: args, tls: certs}
	const masters = 3
	for i := range masters {
		r, err := c.startNode(ctx)
		if err != nil {
			return nil, errors.Join(err, c.Kill())
		}
		first, last := i*slots/masters, (i+1)*slots/masters-1
		if _, err := r.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)); err != nil {
			return nil, errors.Join(fmt.Errorf("start redis cluster: %w", err), c.Kill())
		}
		// Without it all masters have epoch 0, and no replica may follow any of them until they have sorted that out.
		if _, err := r.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return nil, errors.Join(fmt.Errorf("start redis cluster: %w", err), c.Kill())
		}
	}
	if err := c.meet(ctx); err != nil {
		return nil, errors.Join(err, c.Kill())
	}
	return c, nil
}

func (c *Cluster) startNode(ctx context.Context) (*Redis, error) {
	bus, err := FreePort()
	if err != nil {
		return nil, fmt.Errorf("start redis cluster: %w", err)
	}
	r, err := StartRedis(ctx, RedisOptions{Dir: filepath.Join(c.dir, "node"+strconv.Itoa(len(c.Nodes)+1)), TLS: c.tls,
		Args: append([]string{"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", millis(quick),
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"}, c.args...)})
	if err != nil {
		return nil, err
	}
	r.bus = bus
	c.Nodes = append(c.Nodes, r)
	return r, nil
}

// meet makes all nodes known to one another and waits until each of them finds
// the cluster whole.
func (c *Cluster) meet(ctx context.Context) error {
	if err := c.set(quick); err != nil {
		return err
	}
	for _, r := range c.Nodes[1:] {
		if _, err := c.Nodes[0].Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(r.port), strconv.Itoa(r.bus)); err != nil {
			return fmt.Errorf("start redis cluster: %w", err)
		}
	}
	for _, r := range c.Nodes {
		if err := r.proc.waitReady(ctx, func() error {
			info, err := r.Do("CLUSTER", "INFO")
			if err == nil && (!strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", len(c.Nodes)))) {
				err = errors.New(info)
			}
			return err
		}); err != nil {
			return fmt.Errorf("start redis cluster: %s: %w; its log ends:\n%s", r.Addr(), err, r.LogTail())
		}
	}
	return c.set(patience)
}

// NodeTimeout is for how long a node may give no answer before the others take
// it for dead, from now on. At the start, and after AddReplica, it is a minute.
func (c *Cluster) NodeTimeout(ctx context.Context, d time.Duration) error {
	asked := time.Now()
	if err := c.set(d); err != nil {
		return err
	}
	// By it they also ask one another, and silence counts from a question on.
	for _, r := range c.Nodes {
		if err := r.proc.waitReady(ctx, func() error { return r.heard(asked) }); err != nil {
			return fmt.Errorf("node timeout of %s: %w", r.Addr(), err)
		}
	}
	return nil
}

// heard returns nil once r has had an answer of each other node since then.
func (r *Redis) heard(since time.Time) error {
	nodes, err := r.Do("CLUSTER", "NODES") // see ownerPort
	if err != nil {
		return err
	}
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		if len(f) < 8 || strings.Contains(f[2], "myself") {
			continue
		}
		if pong, err := strconv.ParseInt(f[5], 10, 64); err != nil || pong < since.UnixMilli() {
			return fmt.Errorf("no answer yet: %s", line)
		}
	}
	return nil
}

func (c *Cluster) set(d time.Duration) error {
	for _, r := range c.Nodes {
		if _, err := r.Do("CONFIG", "SET", "cluster-node-timeout", millis(d)); err != nil {
			return fmt.Errorf("set node timeout of %s: %w", r.Addr(), err)
		}
	}
	return nil
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// AddReplica starts a replica of the master, and returns it when it has the
// master's data.
func (c *Cluster) AddReplica(ctx context.Context, master *Redis) (*Redis, error) {
	id, err := master.Do("CLUSTER", "MYID")
	if err != nil {
		return nil, fmt.Errorf("start replica: %w", err)
	}
	r, err := c.startNode(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.meet(ctx); err != nil {
		return nil, err
	}
	if _, err := r.Do("CLUSTER", "REPLICATE", id); err != nil {
		return nil, fmt.Errorf("start replica: %w", err)
	}
	return r, r.proc.waitReady(ctx, r.replicates)
}

// replicates returns nil when r is a replica that has its master's data.
func (r *Redis) replicates() error {
	info, err := r.Do("INFO", "replication")
	if err == nil && !strings.Contains(info, "master_link_status:up") {
		err = errors.New(info)
	}
	return err
}

// Owner is the master that has the key's slot, as the first node that answers
// sees it.
func (c *Cluster) Owner(key string) (*Redis, error) {
	for _, asked := range c.Nodes {
		slot, err := asked.Do("CLUSTER", "KEYSLOT", key)
		if err != nil {
			continue
		}
		nodes, err := asked.Do("CLUSTER", "NODES")
		if err != nil {
			continue
		}
		if port := ownerPort(nodes, slot); port != "" {
			for _, r := range c.Nodes {
				if strconv.Itoa(r.port) == port {
					return r, nil
				}
			}
		}
	}
	return nil, fmt.Errorf("no node of the cluster has the slot of %s", key)
}

// ownerPort finds it in the answer to CLUSTER NODES, whose lines are: id,
// host:port@bus, flags, master, ping, pong, epoch, link, and ranges of slots.
func ownerPort(nodes, slot string) string {
	n, _ := strconv.Atoi(slot)
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		if len(f) < 9 || !strings.Contains(f[2], "master") || strings.Contains(f[2], "fail") {
			continue
		}
		for _, slots := range f[8:] {
			var first, last int
			if got, _ := fmt.Sscanf(slots, "%d-%d", &first, &last); got == 2 && first <= n && n <= last {
				addr, _, _ := strings.Cut(f[1], "@")
				return addr[strings.LastIndex(addr, ":")+1:]
			}
		}
	}
	return ""
}

// Addrs is host:port of each node.
func (c *Cluster) Addrs() (addrs []string) {
	for _, r := range c.Nodes {
		addrs = append(addrs, r.Addr())
	}
	return addrs
}

// Kill ends all nodes at once.
func (c *Cluster) Kill() error { return killAll(c.Nodes) }

// LogTail returns the last lines of every node's log.
func (c *Cluster) LogTail() string { return logTails(c.Nodes) }

func killAll(servers []*Redis) error {
	var errs []error
	for _, r := range servers {
		errs = append(errs, r.Kill())
	}
	return errors.Join(errs...)
}

func logTails(servers []*Redis) string {
	var all strings.Builder
	for _, r := range servers {
		fmt.Fprintf(&all, "%s:\n%s\n", r.Addr(), r.LogTail())
	}
	return all.String()
}
