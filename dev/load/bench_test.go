package load_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/load"
	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// BenchmarkRate2000 is what 2,000 requests a second cost this machine, straight
// to a backend and through nginx: the share of one core (100: all of it) that
// the generator and the backends take together. What nginx takes is not in it.
func BenchmarkRate2000(b *testing.B) {
	for _, through := range []string{"backend", "nginx"} {
		b.Run(through, func(b *testing.B) {
			addr := startBackend(b, "n0").Addr()
			if through == "nginx" {
				addr = proxy(b, 3)
			}
			g, err := load.New(load.Options{
				URL: "http://" + addr + "/", Rate: 2000, PostShare: 0.5, Body: make([]byte, 256),
				Duration: time.Duration(b.N) * time.Second / 2000,
			})
			if err != nil {
				b.Fatal(err)
			}
			cpu := cpuTime()
			began := time.Now()
			report, err := g.Run(b.Context())
			took := time.Since(began)
			if err != nil || report.OK != report.Sent {
				b.Fatalf("%+v %v", report.Counts, err)
			}
			b.ReportMetric(100*float64(cpuTime()-cpu)/float64(took), "core%")
			b.ReportMetric(float64(report.Latency.Quantile(0.5))/1e3, "p50-µs")
			b.ReportMetric(float64(report.Service.Quantile(0.5))/1e3, "service-p50-µs")
			b.ReportMetric(float64(report.Latency.Quantile(0.99))/1e3, "p99-µs")
			b.ReportMetric(float64(report.Late.Quantile(0.5))/1e3, "late-p50-µs")
			b.ReportMetric(float64(report.Late.Quantile(0.99))/1e3, "late-p99-µs")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func startBackend(t testing.TB, id string) *load.Backend {
	t.Helper()
	b, err := load.Listen("127.0.0.1:0", id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Kill)
	return b
}

// proxy starts nginx before so many backends and returns its address.
func proxy(t testing.TB, backends int) string {
	t.Helper()
	var conf strings.Builder
	conf.WriteString("upstream app_backend {\n\tzone app_backend 64k;\n\tkeepalive 32;\n")
	for i := range backends {
		fmt.Fprintf(&conf, "\tserver %s;\n", startBackend(t, fmt.Sprintf("n%d", i)).Addr())
	}
	conf.WriteString("}\n")
	n := serverstest.Nginx(t, servers.NginxOptions{Files: map[string]string{"conf.d/upstream.conf": conf.String()}})
	return n.Listen[0]
}
