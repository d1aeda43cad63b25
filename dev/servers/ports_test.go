package servers_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// portsOnly tells this test binary, started by a test, to print ports and end.
const portsOnly = "BAZBEANS_TEST_PORTS"

func printPorts() {
	ports, err := servers.FreePorts(1500)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(ports)
}

// A port is handed out once, and to no other process either: tests of several packages run side by side, and a server
// that is down for a moment must find its port free.
func TestFreePortsAreOnesOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, port := range serverstest.Ports(t, 200) {
		text := fmt.Sprint(port)
		if seen[text] {
			t.Errorf("port %s twice", text)
		}
		seen[text] = true
	}
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), portsOnly+"=1")
	other.Stderr = t.Output()
	out, err := other.Output()
	theirs := strings.Fields(strings.Trim(string(out), "[]\n"))
	if err != nil || len(theirs) != 1500 {
		t.Fatalf("%d ports of another process, %v", len(theirs), err)
	}
	for _, port := range theirs {
		if seen[port] {
			t.Errorf("port %s is another process's, too", port)
		}
	}
}

// A port is free at once, also while other tests start programs: a child has copies of what is open until its exec.
func TestFreePortsAreFreeAtOnce(t *testing.T) {
	over := make(chan struct{})
	var starters sync.WaitGroup
	for range 2 {
		starters.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					_ = exec.Command("true").Run()
				}
			}
		})
	}
	defer starters.Wait()
	defer close(over)
	for range 1000 {
		port := serverstest.Ports(t, 1)[0]
		l, err := net.Listen("tcp", servers.Loopback(port))
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}
