package dev

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/bazbeans/bazbeans/dev/servers"
)

// port is one of the ports in the options. It is held by a listener of ours from when it is chosen until its user
// starts, so that two sites that start at once do not choose the same.
type port struct {
	flag  string
	what  string // uses it
	ips   []string
	usual int  // where people look for it
	to    *int // the option
	held  []net.Listener
}

func (o *Options) ports() []*port {
	local := []string{"127.0.0.1"}
	var nodes []string
	for i := range o.Nodes {
		nodes = append(nodes, nodeAddr(i+1).String())
	}
	return []*port{
		{flag: "redis-port", what: "Redis is", ips: local, usual: 6379, to: &o.RedisPort},
		{flag: "http-port", what: "Nginx is", ips: local, usual: 8080, to: &o.HTTPPort},
		{flag: "status-port", what: "lbd's status is", ips: local, usual: 9180, to: &o.StatusPort},
		{flag: "node-port", what: "the applications are", ips: nodes, usual: 8000, to: &o.NodePort},
	}
}

// claim chooses the port if none was asked for, and holds it. moved is what there is to say when that is not the usual
// one.
func (p *port) claim(usual bool) (moved string, err error) {
	asked := *p.to
	const tries = 100
	for i := range tries {
		switch {
		case asked != 0:
		case usual:
			*p.to = p.usual + i
		default:
			if *p.to, err = servers.FreePort(); err != nil {
				return "", err
			}
		}
		if err = p.hold(); err == nil || asked != 0 {
			break
		}
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = errors.New("another program listens there")
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("--%s %d: %w (stop that program, or choose another port)", p.flag, *p.to, err)
	case asked == 0 && usual && *p.to != p.usual:
		moved = fmt.Sprintf("port %d is taken: %s on %d", p.usual, p.what, *p.to)
	}
	return moved, nil
}

// hold listens on the port at all addresses that it is for.
func (p *port) hold() error {
	for _, ip := range p.ips {
		ln, err := net.Listen("tcp", net.JoinHostPort(ip, strconv.Itoa(*p.to)))
		if err != nil {
			p.release()
			return err
		}
		p.held = append(p.held, ln)
	}
	return nil
}

// release lets the port go, for its user to listen there.
func (p *port) release() {
	for _, ln := range p.held {
		ln.Close()
	}
	p.held = nil
}

// claim claims all ports; the error names each that was asked for and is taken.
func (s *Site) claim() error {
	var errs []error
	for _, p := range s.ports {
		moved, err := p.claim(s.opts.UsualPorts)
		if moved != "" {
			s.moved = append(s.moved, moved)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// release lets one of the ports go, or with "" all of them.
func (s *Site) release(flag string) {
	for _, p := range s.ports {
		if flag == "" || p.flag == flag {
			p.release()
		}
	}
}
