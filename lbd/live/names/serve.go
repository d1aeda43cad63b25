package names

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	maxConnections = 256 // over TCP; Nginx keeps one for each upstream with a long answer, in each generation of workers
	idleTime       = 30 * time.Second
	writeTime      = 5 * time.Second

	// tooLate is the age of a question whose answer proves nothing: after resolver_timeout, 2 s, Nginx reads the answer and
	// takes nothing from it, and it looks again only as long after that. The rest is for the answer to be read in.
	tooLate = time.Second
)

// Run answers questions until ctx is done, which is no error, and closes the port. Questions over UDP are answered one
// after the other: of what comes faster some thousands wait, and the rest is dropped.
func (z *Zone) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { z.udp.Close(); z.tcp.Close() })
	defer stop()
	questions := make(chan received, maxWaiting)
	group.Go(func() error { return z.readUDP(questions) })
	group.Go(func() error { z.answerUDP(questions); return nil })
	group.Go(func() error { return z.serveTCP(ctx, group) })
	group.Go(func() error { z.pace(ctx); return nil })
	err := group.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// received is a question over UDP.
type received struct {
	message []byte
	from    netip.AddrPort
	at      time.Time // when it came to this host, however long it lay there
}

// readUDP only reads, because the kernel keeps no more than some 500 questions for us (net.core.rmem_max), and a worker
// asks for the addresses of all nodes in one go.
func (z *Zone) readUDP(questions chan<- received) error {
	defer close(questions)
	message, control := make([]byte, longestQuestion+1), make([]byte, 128)
	for {
		n, size, _, from, err := z.udp.ReadMsgUDPAddrPort(message, control)
		if err != nil {
			return fmt.Errorf("read questions on %s: %w", z.addr, err)
		}
		select {
		case questions <- received{bytes.Clone(message[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), arrival(control[:size])}:
		default: // more than any Nginx asks at once
		}
	}
}

func (z *Zone) answerUDP(questions <-chan received) {
	for q := range questions {
		if !q.from.Addr().IsLoopback() {
			continue
		}
		a := z.content.Load().answer(q.message, true)
		switch {
		case a.bytes == nil:
		case a.address:
			select {
			case z.addresses <- addressed{q.from, a.bytes}:
			default:
			}
		default:
			if _, err := z.udp.WriteToUDPAddrPort(a.bytes, q.from); err == nil && a.set != nil && time.Since(q.at) < tooLate {
				z.toldUDP(q.from, a.set, a.cut, time.Now())
			}
		}
	}
}

func (z *Zone) serveTCP(ctx context.Context, group *errgroup.Group) error {
	places := make(chan struct{}, maxConnections)
	for {
		conn, err := z.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // no file left to open; there may be again
			z.log.Warn("nginx can't be answered over TCP", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		select {
		case places <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		group.Go(func() error {
			defer func() { <-places }()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			z.serveConn(conn)
			return nil
		})
	}
}

// serveConn answers what comes over one connection: messages with their lengths in front (RFC 1035, 4.2.2).
func (z *Zone) serveConn(conn *net.TCPConn) {
	from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if !from.Addr().IsLoopback() {
		return
	}
	message := make([]byte, 2+longestQuestion)
	for {
		conn.SetReadDeadline(time.Now().Add(idleTime)) // fails on a closed connection only, as the read does then
		if _, err := io.ReadFull(conn, message[:2]); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint16(message))
		if size > longestQuestion {
			return
		}
		if _, err := io.ReadFull(conn, message[:size]); err != nil {
			return
		}
		a := z.content.Load().answer(message[:size], false)
		if a.bytes == nil {
			return
		}
		conn.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a.bytes))), a.bytes...)); err != nil {
			return
		}
		if a.set != nil {
			z.toldTCP(from, a.set, time.Now())
		}
	}
}
