package names

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// The sizes of what goes to and comes from the kernel's socket monitor, sock_diag(7).
const (
	diagRequest = 56 // struct inet_diag_req_v2
	diagMessage = 72 // struct inet_diag_msg
)

// monitorTCP asks the kernel for the TCP sockets in the given states. Unlike its tables in /proc, that costs nothing for
// connections that are over (TIME_WAIT), of which a busy load balancer has tens of thousands.
func monitorTCP(states []byte) ([]socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("list sockets: %w", os.NewSyscallError("socket", err))
	}
	defer unix.Close(fd)
	var all []socket
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		if all, err = dump(fd, family, states, all); err != nil {
			return nil, fmt.Errorf("list sockets: %w", err)
		}
	}
	return all, nil
}

// dump appends the sockets of one family to all.
func dump(fd int, family byte, states []byte, all []socket) ([]socket, error) {
	request := make([]byte, unix.SizeofNlMsghdr+diagRequest)
	binary.NativeEndian.PutUint32(request[0:], uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	body := request[unix.SizeofNlMsghdr:]
	body[0], body[1] = family, unix.IPPROTO_TCP
	var mask uint32
	for _, state := range states {
		mask |= 1 << state
	}
	binary.NativeEndian.PutUint32(body[4:], mask)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	buffer := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return nil, fmt.Errorf("parse the kernel's answer: %w", err)
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return all, nil
			case unix.NLMSG_ERROR:
				if len(m.Data) < 4 {
					return nil, errors.New("the kernel's answer is too short")
				}
				return nil, syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
			case unix.SOCK_DIAG_BY_FAMILY:
				if len(m.Data) < diagMessage {
					return nil, errors.New("the kernel's answer is too short")
				}
				all = append(all, diagnosed(m.Data))
			}
		}
	}
}

// diagnosed reads a struct inet_diag_msg: family, state, two bytes, then ports and addresses in network order, and after
// interface, cookie and expiry the queues and the user.
func diagnosed(m []byte) socket {
	size := 4
	if m[0] == unix.AF_INET6 {
		size = 16
	}
	addr := func(at, port int) netip.AddrPort {
		a, _ := netip.AddrFromSlice(slices.Clone(m[at : at+size]))
		return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(m[port:]))
	}
	return socket{
		local:  addr(8, 4),
		remote: addr(24, 6),
		state:  m[1],
		unread: uint64(binary.NativeEndian.Uint32(m[56:])),
		user:   int(binary.NativeEndian.Uint32(m[64:])),
	}
}
