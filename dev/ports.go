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
	flag      string
	what      string // uses it
	ip        string
	preferred int // where people look for it
	to        *int
}

func (o *Options) ports() []port {
	return []port{
		{"redis-port", "Redis", "127.0.0.1", 6379, &o.RedisPort},
		{"http-port", "Nginx", "127.0.0.1", 8080, &o.HTTPPort},
		{"status-port", "lbd's status", "127.0.0.1", 9180, &o.StatusPort},
		{"node-port", "the applications", nodeAddr(1).String(), 8000, &o.NodePort},
	}
}

// claim replaces each port 0 by a free one, and returns an error that names those of the others that are taken.
func (o *Options) claim() error {
	var errs []error
	for _, p := range o.ports() {
		var err error
		if *p.to == 0 {
			*p.to, err = servers.FreePort()
		} else {
			err = p.free()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// prefer replaces each port 0 by the preferred one, or the next that is free, and returns what there is to say of it.
func (o *Options) prefer() (news []string, err error) {
	for _, p := range o.ports() {
		if *p.to != 0 {
			continue
		}
		if *p.to, err = firstFree(p.ip, p.preferred); err != nil {
			return nil, err
		}
		if *p.to != p.preferred {
			news = append(news, fmt.Sprintf("port %d is taken: %s will be on %d", p.preferred, p.what, *p.to))
		}
	}
	return news, nil
}

// free returns an error that names the port and the way out when it can't be listened on.
func (p *port) free() error {
	err := listens(p.ip, *p.to)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = errors.New("another program has it")
	}
	if err != nil {
		return fmt.Errorf("port %d for %s: %w (stop that program, or choose another port with --%s)", *p.to, p.what, err, p.flag)
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
