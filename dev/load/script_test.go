package load_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
)

// script is a server that does with each request exactly what a test says.
type script struct {
	addr   string
	closed chan struct{} // one for each connection that the server has closed
}

// after is what the server does once it has written its answer.
type after int

const (
	keep   after = iota
	closes       // without having announced it
	hang         // answer nothing more until the test ends
)

// serve starts a script. It asks play for the answer to request n (counted
// from 0 on each connection) of a connection, and writes that as it is.
func serve(t *testing.T, play func(n int, r *http.Request) (answer string, then after)) *script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{addr: l.Addr().String(), closed: make(chan struct{}, 10000)}
	testEnds := make(chan struct{})
	var running sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		close(testEnds)
		running.Wait()
	})
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { s.closed <- struct{}{} }()
				defer c.Close()
				in := bufio.NewReader(c)
				for n := 0; ; n++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					text, then := play(n, r)
					io.WriteString(c, text)
					switch then {
					case closes:
						return
					case hang:
						<-testEnds
						return
					}
				}
			})
		}
	})
	return s
}

const ok = "HTTP/1.1 200 OK\r\nX-Node: n1\r\nContent-Length: 2\r\n\r\nok"

// run makes a run of so many requests over one connection, unless opts say
// otherwise, and returns its report.
func run(t *testing.T, addr string, requests int, opts load.Options) load.Report {
	t.Helper()
	opts.URL = "http://" + addr + "/"
	if opts.Rate == 0 {
		opts.Rate = 1000
	}
	if opts.Conns == 0 {
		opts.Conns = 1
	}
	opts.Duration = time.Duration(float64(requests) / opts.Rate * float64(time.Second))
	g, err := load.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent+r.Dropped != int64(requests) || r.OK+r.Failed != r.Sent || r.Waiting != 0 || r.Latency.Count() != r.Sent {
		t.Errorf("counts do not add up to %d: %+v", requests, r.Counts)
	}
	return r
}
