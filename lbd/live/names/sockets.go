package names

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
)

// socket is one row of the kernel's tables of sockets.
type socket struct {
	local, remote netip.AddrPort
	state         byte // of TCP, net/tcp_states.h
	unread        uint64
	user          int // who made it
}

// underWay are the states in which a connection that was begun here can have a request under way: established, being
// opened, and closed by the other side, whose answer may not have been read.
var underWay = []byte{1, 2, 8}

// connections calls yield with the TCP sockets of this network namespace that are in such a state. Where the kernel has
// no socket monitor they are taken from its table.
func connections(yield func(socket)) error {
	if all, err := monitorTCP(underWay); err == nil {
		for _, s := range all {
			yield(s)
		}
		return nil
	}
	return sockets("tcp", func(s socket) {
		if slices.Contains(underWay, s.state) {
			yield(s)
		}
	})
}

// sockets calls yield with the sockets of this network namespace of one kind, "tcp" or "udp", IPv4 and IPv6, whose
// rows are in proc(5)'s net folder. A kernel without IPv6 has no table of it.
func sockets(kind string, yield func(socket)) error {
	for _, table := range []string{kind, kind + "6"} {
		f, err := os.Open("/proc/self/net/" + table)
		if errors.Is(err, fs.ErrNotExist) && table != kind {
			continue
		}
		if err != nil {
			return fmt.Errorf("list sockets: %w", err)
		}
		err = readSockets(f, yield)
		f.Close()
		if err != nil {
			return fmt.Errorf("list sockets in /proc/self/net/%s: %w", table, err)
		}
	}
	return nil
}

// readSockets reads a table. Its rows are: number, local and remote address, state, queues, two of timers, user, and more:
//
//	0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000 33 …
func readSockets(r io.Reader, yield func(socket)) error {
	lines := bufio.NewScanner(r)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 8 {
			return fmt.Errorf("row %.80q is too short", lines.Bytes())
		}
		local, ok1 := parseAddr(fields[1])
		remote, ok2 := parseAddr(fields[2])
		state, err1 := strconv.ParseUint(string(fields[3]), 16, 8)
		_, queue, _ := bytes.Cut(fields[4], []byte(":"))
		unread, err2 := strconv.ParseUint(string(queue), 16, 64)
		user, err3 := strconv.Atoi(string(fields[7]))
		if !ok1 || !ok2 || err1 != nil || err2 != nil || err3 != nil {
			return fmt.Errorf("row %.80q is not understood", lines.Bytes())
		}
		yield(socket{local, remote, byte(state), unread, user})
	}
	return lines.Err()
}

// parseAddr reads an address: 32-bit words in hex, each in the byte order of this machine, and the port.
func parseAddr(text []byte) (netip.AddrPort, bool) {
	words, port, ok := bytes.Cut(text, []byte(":"))
	n, err := strconv.ParseUint(string(port), 16, 16)
	var raw [16]byte
	if !ok || err != nil || len(words) != 8 && len(words) != 32 {
		return netip.AddrPort{}, false
	}
	if _, err := hex.Decode(raw[:], words); err != nil {
		return netip.AddrPort{}, false
	}
	bytes := raw[:len(words)/2]
	for i := 0; i < len(bytes); i += 4 {
		binary.NativeEndian.PutUint32(bytes[i:], binary.BigEndian.Uint32(bytes[i:]))
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), true
}
