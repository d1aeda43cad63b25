package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// lowestPort is the lowest port handed out: below it live services that
// people start by hand (8000, 8080, 9180 and their like).
const lowestPort = 15000

// blockSize is how many ports a process takes for itself at once. While it
// lives it listens on the first of them, for nothing but that no other process
// takes the block.
const blockSize = 50

var given = struct {
	sync.Mutex
	guards []net.Listener
	left   []int // of the blocks, not handed out yet
}{}

// FreePort returns a TCP port that is free on 127.0.0.1 and that this process
// has not handed out before. See [FreePorts].
func FreePort() (int, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

// FreePorts returns n different ports, free on 127.0.0.1 when it looked and
// never handed out before by this process; as long as it lives no other
// process is given them, also while nobody listens there.
//
// They lie below the kernel's range for outgoing connections. From that range
// (what listening on :0 gives) a port is not safe while its server restarts:
// a client's connection may take it as its own end, and a client that dials
// it in vain may even connect to itself.
func FreePorts(n int) ([]int, error) {
	given.Lock()
	defer given.Unlock()
	var ports []int
	for len(ports) < n {
		if len(given.left) == 0 {
			if err := takeBlock(); err != nil {
				return nil, fmt.Errorf("find %d free ports: %w", n, err)
			}
		}
		port := given.left[0]
		given.left = given.left[1:]
		// It is asked, not tried: a listener of ours would outlive its Close in a child that is just being started,
		// until its exec.
		c, err := net.Dial("tcp", Loopback(port))
		switch {
		case err == nil:
			c.Close() // somebody's
		case errors.Is(err, syscall.ECONNREFUSED):
			ports = append(ports, port)
		default:
			return nil, fmt.Errorf("find %d free ports: %w", n, err)
		}
	}
	return ports, nil
}

// takeBlock makes a block of ports this process's own.
func takeBlock() error {
	end := outgoingPorts()
	for _, i := range rand.Perm((end - lowestPort) / blockSize) {
		first := lowestPort + i*blockSize
		guard, err := net.Listen("tcp", Loopback(first))
		if err != nil {
			continue // another's
		}
		given.guards = append(given.guards, guard)
		for port := first + 1; port < first+blockSize; port++ {
			given.left = append(given.left, port)
		}
		return nil
	}
	return fmt.Errorf("all blocks of %d ports between %d and %d are taken", blockSize, lowestPort, end-1)
}

// Loopback is 127.0.0.1 with a port, as net.Dial and Nginx's listen take it.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// outgoingPorts returns the first port that the kernel may give to an outgoing
// connection: 32768 on Linux unless set otherwise.
func outgoingPorts() int {
	first := 32768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		fmt.Sscan(string(text), &first)
	}
	if first < lowestPort+1000 { // a machine that keeps nothing free below it
		return 65536
	}
	return first
}
