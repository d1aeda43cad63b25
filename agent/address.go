package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/cli"
)

// address is what the node registers: the one it was given, or the source address of a connection to Redis.
func (a *Agent) address(ctx context.Context) (netip.Addr, error) {
	if a.cfg.Address != "" {
		return parseAddress(a.cfg.Address)
	}
	ctx, cancel := context.WithTimeout(ctx, a.callLimit)
	defer cancel()
	return a.locate(ctx)
}

// sourceTo connects to the first of the addresses (separated by commas; Sentinel and Cluster have several) that
// answers, and returns the address that this machine has on that connection. Each is waited for as long as its share of
// ctx's time: a host that is gone does not even refuse. The error is a *cli.Error when no further try can help.
func sourceTo(ctx context.Context, addrs string) (netip.Addr, error) {
	var errs []error
	list := strings.Split(addrs, ",")
	for i, addr := range list {
		var d net.Dialer
		if end, ok := ctx.Deadline(); ok {
			d.Timeout = time.Until(end) / time.Duration(len(list)-i)
		}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		local, _ := conn.LocalAddr().(*net.TCPAddr)
		conn.Close()
		if local == nil {
			return netip.Addr{}, needAddress(addr, "has no IP address")
		}
		return usable(local.AddrPort().Addr(), addr)
	}
	return netip.Addr{}, errors.Join(errs...)
}

// atHome reports whether this machine has that address; yes, if it can't tell.
func atHome(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(all, func(has net.Addr) bool {
		n, ok := has.(*net.IPNet)
		return ok && n.IP.Equal(a.AsSlice())
	})
}

// usable refuses what no other host could send to.
func usable(source netip.Addr, redis string) (netip.Addr, error) {
	switch source = source.Unmap(); {
	case source.IsLoopback():
		return netip.Addr{}, needAddress(redis, "is a loopback one")
	case source.Zone() != "":
		return netip.Addr{}, needAddress(redis, "has an address with a zone")
	}
	return source, nil
}

// addressless returns an error when it is plain from where Redis is that its connection can't tell an address.
func addressless(redis string) error {
	if strings.HasPrefix(redis, "/") {
		return needAddress(redis, "is a unix socket")
	}
	host, _, err := net.SplitHostPort(redis)
	if err != nil {
		return nil // several addresses: dialling will tell
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() || host == "localhost" {
		return needAddress(redis, "is a loopback one")
	}
	return nil
}

func needAddress(redis, why string) error {
	return cli.Usagef("the connection to redis at %s %s, so it does not tell this node's address: set --address IP (address in the config)", redis, why)
}
