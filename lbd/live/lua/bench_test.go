package lua_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live"
)

// The benchmarks run beside a plain upstream in the same Nginx, in pairs whose order changes, and tell ratios: the
// machine's own noise is in both. Time alone says little here.

// quickNodes is an Nginx with ports that answer at once.
func quickNodes(b *testing.B, count int) []live.Peer {
	var listen []string
	var peers []live.Peer
	for i, port := range serverstest.Ports(b, count) {
		listen = append(listen, "listen "+servers.Loopback(port)+";")
		peers = append(peers, live.Peer{Slot: i, ID: "n" + strconv.Itoa(i), Addr: addrPort(servers.Loopback(port)), Weight: 1, MaxFails: 1, FailTimeout: 10 * time.Second})
	}
	serverstest.Nginx(b, servers.NginxOptions{Conf: "user root; worker_processes 1; pid p; error_log e crit;\nevents { worker_connections 4096; }\nhttp { access_log off; keepalive_requests 1000000; server { " +
		strings.Join(listen, " ") + " return 200 ok; } }\n"})
	return peers
}

// spread makes n peers of those.
func spread(peers []live.Peer, n int) []live.Peer {
	var all []live.Peer
	for i := range n {
		p := peers[i%len(peers)]
		p.Slot, p.ID = i, "n"+strconv.Itoa(i)
		all = append(all, p)
	}
	return all
}

var perSecond = regexp.MustCompile(`Requests/sec: +([0-9.]+)`)

// wrk measures requests a second of one path.
func (s *site) wrk(path string, d time.Duration) float64 {
	out, err := exec.CommandContext(s.t.Context(), "wrk", "-t1", "-c16", fmt.Sprintf("-d%d", int(d.Seconds())), "http://"+s.addr+path).CombinedOutput()
	found := perSecond.FindSubmatch(out)
	if err != nil || found == nil || strings.Contains(string(out), "Non-2xx") {
		s.t.Fatalf("wrk: %v\n%s", err, out)
	}
	rate, _ := strconv.ParseFloat(string(found[1]), 64)
	return rate
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// cpu is the time in nanoseconds that the workers have run so far.
func (s *site) cpu() float64 {
	sum := 0.0
	for _, pid := range s.workers() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		ran, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseFloat(ran, 64)
		sum += n
	}
	return sum
}

// pairs runs both paths in turn and reports the medians: requests a second and their ratio, and the ratio of the
// workers' own time for a request, which the machine's noise hardly reaches.
func pairs(b *testing.B, a, c *site, path, other string) {
	const d = time.Second
	var rates, costs, ours []float64
	a.wrk(path, d)
	c.wrk(other, d)
	for i := range max(b.N, 10) {
		measure := func(s *site, path string) (rate, cost float64) {
			before := s.cpu()
			rate = s.wrk(path, d)
			return rate, (s.cpu() - before) / (rate * d.Seconds())
		}
		var r, o, rc, oc float64
		if i%2 == 0 {
			r, rc = measure(a, path)
			o, oc = measure(c, other)
		} else {
			o, oc = measure(c, other)
			r, rc = measure(a, path)
		}
		rates, costs, ours = append(rates, r/o), append(costs, rc/oc), append(ours, rc/1000)
	}
	b.ReportMetric(median(rates), "throughput-ratio")
	b.ReportMetric(median(costs), "cpu-ratio")
	b.ReportMetric(median(ours), "µs-cpu/request")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkThroughput: a live upstream beside a plain one with the same servers.
func BenchmarkThroughput(b *testing.B) {
	for _, method := range []string{"round_robin", "least_conn", "random two least_conn", "ip_hash", "hash $request_uri consistent"} {
		b.Run(strings.ReplaceAll(method, " ", "_"), func(b *testing.B) {
			s := newSite(b, quickNodes(b, 10), siteOptions{suite: os.Getenv("SUITE"), method: method, plain: method, inside: "keepalive 64; keepalive_requests 1000000;", workers: 1, http: "keepalive_requests 1000000;"})
			s.put(s.peers)
			pairs(b, s, s, "/", "/plain")
		})
	}
}

// BenchmarkManyPeers: 1,000 peers beside 10 of them.
func BenchmarkManyPeers(b *testing.B) {
	for _, method := range []string{"round_robin", "least_conn", "random two least_conn", "ip_hash", "hash $request_uri consistent"} {
		b.Run(strings.ReplaceAll(method, " ", "_"), func(b *testing.B) {
			o := siteOptions{suite: os.Getenv("SUITE"), method: method, inside: "keepalive 64; keepalive_requests 1000000;", workers: 1, http: "keepalive_requests 1000000;"}
			peers := quickNodes(b, 10)
			few, many := newSite(b, peers, o), newSite(b, peers, o)
			few.put(peers)
			many.put(spread(peers, 1000))
			pairs(b, many, few, "/", "/")
		})
	}
}

// BenchmarkUpdate is a change of one peer of a thousand, with a request that goes by it, in the one worker.
func BenchmarkUpdate(b *testing.B) {
	for _, method := range []string{"round_robin", "least_conn", "hash $request_uri consistent"} {
		b.Run(strings.ReplaceAll(method, " ", "_"), func(b *testing.B) {
			s := newSite(b, spread(quickNodes(b, 10), 1000), siteOptions{suite: os.Getenv("SUITE"), method: method, workers: 1})
			var puts []float64
			for i := 0; b.Loop(); i++ {
				s.peers[500].Down = i%2 == 0
				began := time.Now()
				s.put(s.peers)
				puts = append(puts, float64(time.Since(began))/1e6)
				s.get("/")
			}
			b.ReportMetric(median(puts), "ms/put-median")
			b.ReportMetric(puts[len(puts)*99/100], "ms/put-p99")
		})
	}
}
