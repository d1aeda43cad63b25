package dev

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/bazbeans/bazbeans/dev/servers"
)

// port is one of the ports in the options.
type port struct {
	flag  string
	what  string // uses it
	ip    string
	usual int // where people look for it
	to    *int
}

func (o *Options) ports() []port {
	return []port{
		{"redis-port", "Redis is", "127.0.0.1", 6379, &o.RedisPort},
		{"http-port", "Nginx is", "127.0.0.1", 8080, &o.HTTPPort},
		{"status-port", "lbd's status is", "127.0.0.1", 9180, &o.StatusPort},
		{"node-port", "the applications are", nodeAddr(1).String(), 8000, &o.NodePort},
	}
}

// claim replaces each port 0 by a free one, and returns what there is to say of usual ports that were not. The error
// names all ports that were asked for and are taken.
func (o *Options) claim() (moved []string, err error) {
	var errs []error
	for _, p := range o.ports() {
		var err error
		switch {
		case *p.to != 0:
			err = p.free()
		case !o.UsualPorts:
			*p.to, err = servers.FreePort()
		default:
			if *p.to, err = firstFree(p.ip, p.usual); *p.to != p.usual {
				moved = append(moved, fmt.Sprintf("port %d is taken: %s on %d", p.usual, p.what, *p.to))
			}
		}
		errs = append(errs, err)
	}
	return moved, errors.Join(errs...)
}

// free returns an error that names the port and the way out when it can't be listened on.
func (p *port) free() error {
	err := listens(p.ip, *p.to)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = errors.New("another program listens there")
	}
	if err != nil {
		return fmt.Errorf("--%s %d: %w (stop that program, or choose another port)", p.flag, *p.to, err)
	}
	return nil
}

// firstFree returns the first port from `from` on that can be listened on.
func firstFree(ip string, from int) (int, error) {
	const tries = 100
	var err error
	for n := from; n < from+tries; n++ {
		if err = listens(ip, n); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("find a free port from %d to %d: %w", from, from+tries-1, err)
}

func listens(ip string, n int) error {
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(n)))
	if err != nil {
		return err
	}
	return ln.Close()
}
