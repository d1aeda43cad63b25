package names

import (
	"context"
	"net/netip"
	"time"
)

const (
	// burst is how many addresses are sent to a socket before it was seen to have been read. A worker asks for all
	// addresses that are new to it in one go and reads nothing meanwhile; its socket holds some 270 answers
	// (net.core.rmem_default), and what is lost there Nginx misses for seconds.
	burst = 200

	// unreadTime bounds the wait for a worker that does not read, because others wait behind it.
	unreadTime = 500 * time.Millisecond

	// maxWaiting is how many questions may wait for their answers: those of a worker that is new to as many nodes as an
	// upstream can have.
	maxWaiting = 4096
)

// addressed is an answer with an address, and who gets it.
type addressed struct {
	to    netip.AddrPort
	reply []byte
}

// pace sends the answers with addresses, no faster than they are read.
func (z *Zone) pace(ctx context.Context) {
	sent := map[netip.AddrPort]int{} // since it was last seen that nothing was unread
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-z.addresses:
			if sent[a.to] >= burst {
				z.waitUntilRead(ctx, a.to)
				delete(sent, a.to)
			}
			if len(sent) >= maxClients {
				clear(sent)
			}
			sent[a.to]++
			z.udp.WriteToUDPAddrPort(a.reply, a.to) // to nobody any more, or we end: nothing is to be done
		}
	}
}

func (z *Zone) waitUntilRead(ctx context.Context, who netip.AddrPort) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(unreadTime); time.Now().Before(deadline); {
		if waiting, err := z.unreadUDP(); err != nil || waiting[who] == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
