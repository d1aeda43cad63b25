package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
)

// lowestPort is the lowest port handed out: below it live services that
// people start by hand (8000, 8080, 9180 and their like).
const lowestPort = 15000

var given = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

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
// never handed out before by this process.
//
// They lie below the kernel's range for outgoing connections. From that range
// (what listening on :0 gives) a port is not safe while its server restarts:
// a client's connection may take it as its own end, and a client that dials
// it in vain may even connect to itself.
func FreePorts(n int) ([]int, error) {
	given.Lock()
	defer given.Unlock()
	end := outgoingPorts()
	var ports []int
	for range 200 * n {
		if len(ports) == n {
			return ports, nil
		}
		port := lowestPort + rand.IntN(end-lowestPort)
		if given.ports[port] {
			continue
		}
		l, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			continue
		}
		l.Close()
		given.ports[port] = true
		ports = append(ports, port)
	}
	if len(ports) == n {
		return ports, nil
	}
	return nil, fmt.Errorf("find %d free ports between %d and %d: only %d found", n, lowestPort, end-1, len(ports))
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
