package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// here makes every address local in the namespace that this process is in. It must have no other interface than lo: on
// one of a host that would cut it off.
func here() (network, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return network{}, err
	}
	if len(interfaces) != 1 || interfaces[0].Flags&net.FlagLoopback == 0 {
		return network{}, errors.New("this network has more interfaces than lo")
	}
	lo := interfaces[0].Index
	if err := linkUp(lo); err != nil {
		return network{}, fmt.Errorf("set lo up: %w", err)
	}
	if err := routeAll(unix.AF_INET, lo); err != nil {
		return network{}, fmt.Errorf("make all addresses local: %w", err)
	}
	n := network{name: networkPrivate, anyAddress: true}
	// A container's IPv6 is often switched off; where it can't be switched on, or is none, IPv6 addresses are replaced.
	for _, of := range []string{"all", "lo"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+of+"/disable_ipv6", []byte("0"), 0)
	}
	if err := routeAll(unix.AF_INET6, lo); err != nil {
		n.why = fmt.Sprintf("no IPv6 here (%v): IPv6 addresses stand for some of 127.0.0.1", err)
		return n, nil
	}
	n.ipv6 = true
	return n, nil
}

// again runs this program once more, with the same arguments and more, in a network namespace of its own, and returns
// its exit code. root is enough for that, or a user namespace; where neither may be had it is an error, and nothing ran.
func again(ctx context.Context, args []string, stdout, stderr io.Writer) (code int, err error) {
	user := os.Geteuid() != 0
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdout, cmd.Stderr = stdout, stderr
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	if user {
		// The same user as outside, who may set up the namespace's network and let Nginx bind low ports.
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE}
	}
	cmd.SysProcAttr = attr
	runtime.LockOSThread() // its end would send Pdeathsig
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("make a network namespace: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) // it may have ended
	defer stop()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func linkUp(index int) error {
	body := binary.NativeEndian.AppendUint16(nil, unix.AF_UNSPEC)
	body = binary.NativeEndian.AppendUint16(body, 0)
	body = binary.NativeEndian.AppendUint32(body, uint32(index))
	body = binary.NativeEndian.AppendUint32(body, unix.IFF_UP) // flags
	body = binary.NativeEndian.AppendUint32(body, unix.IFF_UP) // which of them to change
	return netlink(unix.RTM_NEWLINK, 0, body)
}

// routeAll is `ip route add local default dev lo`.
func routeAll(family byte, index int) error {
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	if family == unix.AF_INET {
		scope = unix.RT_SCOPE_HOST
	}
	// struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
	body := []byte{family, 0, 0, 0, unix.RT_TABLE_LOCAL, unix.RTPROT_BOOT, scope, unix.RTN_LOCAL, 0, 0, 0, 0}
	body = binary.NativeEndian.AppendUint16(body, 8)
	body = binary.NativeEndian.AppendUint16(body, unix.RTA_OIF)
	body = binary.NativeEndian.AppendUint32(body, uint32(index))
	return netlink(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body)
}

// netlink sends one request and waits for its acknowledgement.
func netlink(kind, flags uint16, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	msg := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	msg = binary.NativeEndian.AppendUint16(msg, kind)
	msg = binary.NativeEndian.AppendUint16(msg, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	msg = append(msg, make([]byte, 8)...) // sequence number and port: the kernel's choice
	if err := unix.Sendto(fd, append(msg, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	if n < unix.NLMSG_HDRLEN+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel's answer is no acknowledgement")
	}
	if number := int32(binary.NativeEndian.Uint32(answer[unix.NLMSG_HDRLEN:])); number != 0 {
		return syscall.Errno(-number)
	}
	return nil
}
