package render_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bazbeans/bazbeans/render"
)

// serverLine is a line of the shipped template, read without help from the code under test. Every line of its output
// that speaks of a server must look like this.
var serverLine = regexp.MustCompile(`^    (server [0-9a-f.:\[\]]+( [a-z0-9_=]+)*);( # [A-Za-z0-9][A-Za-z0-9._-]*)?$`)

// served lists the servers in what the shipped template wrote, sorted.
func served(t testing.TB, out []byte) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "server ") {
			continue
		}
		found := serverLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if found == nil {
			t.Fatalf("strange line %q in\n%s", line, out)
		}
		list = append(list, found[1])
	}
	slices.Sort(list)
	return list
}

// meant says what served should find for nodes whose upstream has Nginx's default parameters, sorted.
func meant(u render.Upstream, servers []render.Server) []string {
	list, usable := []string{}, false
	for _, s := range servers {
		line := "server " + netip.AddrPortFrom(s.Addr.Addr().Unmap(), s.Addr.Port()).String()
		if s.Weight > 1 {
			line += fmt.Sprintf(" weight=%d", s.Weight)
		}
		if s.Down || s.Weight == 0 {
			line += " down"
		} else {
			usable = true
		}
		list = append(list, line)
	}
	if !usable {
		list = append(list, "server 127.0.0.1:9 down")
	}
	for _, addr := range u.Fallback {
		list = append(list, "server "+addr.String()+" backup")
	}
	slices.Sort(list)
	return list
}

var balances = []string{"round_robin", "least_conn", "random", "random two", "random two least_conn", "ip_hash",
	"hash $request_uri", "hash $remote_addr$uri consistent"}

// drawServers draws what the door lets through.
func drawServers(t *rapid.T) []render.Server {
	octets := rapid.SliceOfN(rapid.Byte(), 16, 16)
	server := rapid.Custom(func(t *rapid.T) render.Server {
		b := octets.Draw(t, "address")
		addr := netip.AddrFrom16([16]byte(b))
		if rapid.Bool().Draw(t, "IPv4") {
			addr = netip.AddrFrom4([4]byte(b[:4]))
		}
		if addr.Unmap().IsUnspecified() {
			addr = netip.MustParseAddr("10.0.0.1")
		}
		return render.Server{
			ID:         rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,127}`).Draw(t, "id"),
			Addr:       netip.AddrPortFrom(addr, rapid.Uint16Min(1).Draw(t, "port")),
			Weight:     rapid.IntRange(0, 1000).Draw(t, "weight"),
			Down:       rapid.Bool().Draw(t, "down"),
			DataCenter: render.Text(rapid.String().Draw(t, "data center")),
			Labels:     map[string]render.Text{"canary": render.Text(rapid.SampledFrom([]string{"yes", "no", ";"}).Draw(t, "canary"))},
		}
	})
	return rapid.SliceOfNDistinct(server, 0, 20, func(s render.Server) string { return s.ID }).Draw(t, "servers")
}

func TestSameBytesForAnyOrder(t *testing.T) {
	set := load(t, "", nil)
	rapid.Check(t, func(r *rapid.T) {
		u := upstream(t, rapid.SampledFrom(balances).Draw(r, "balance"))
		if u.Balance.AllowsBackup() && rapid.Bool().Draw(r, "fallback") {
			u.Fallback = []netip.AddrPort{netip.MustParseAddrPort("10.9.0.1:80")}
		}
		servers := drawServers(r)
		one, err := set.Render(view(t, u, servers, "lb1"))
		if err != nil {
			r.Fatal(err)
		}
		two, err := set.Render(view(t, u, rapid.Permutation(servers).Draw(r, "other order"), "lb1"))
		if err != nil || string(one) != string(two) {
			r.Fatalf("another order gives\n%s\nnot\n%s, %v", two, one, err)
		}
		if got, want := served(t, one), meant(u, servers); !slices.Equal(got, want) {
			r.Fatalf("servers %q, want %q", got, want)
		}
	})
}

// FuzzRender puts anything into every field that comes from outside. Either it is refused, or the output has exactly
// the servers that were meant: with the shipped template, and (by the check in Render) with the page's examples.
func FuzzRender(f *testing.F) {
	for i, text := range nasty {
		f.Add(balances[i%len(balances)], "n1", "10.0.0.1:8000", 1, text, text)
		f.Add("hash "+text, "n"+text, text+"10.0.0.1:8000", i-1, text, "yes")
	}
	f.Add("ip_hash", "n1", "[::ffff:10.0.0.1]:8000", 0, "", "yes")
	f.Add("random", "n1", "[fe80::1%25eth0]:1", 1000, "dc1", "yes")

	_, examples, _ := page(f)
	set := exampleSet(f, examples)
	f.Fuzz(func(t *testing.T, balance, id, addr string, weight int, dc, label string) {
		b, err := render.ParseBalance(balance)
		if err != nil {
			return
		}
		u := upstream(t, "round_robin")
		u.Balance = b
		where, _ := netip.ParseAddrPort(addr) // the zero AddrPort is one more thing to refuse
		servers := append(nodes(2), render.Server{ID: id, Addr: where, Weight: weight, DataCenter: render.Text(dc),
			Labels: map[string]render.Text{"canary": render.Text(label)}})
		v, err := render.NewView(u, servers, "lb1")
		if err != nil {
			return
		}
		out, err := set.Render(v)
		if err != nil {
			t.Fatalf("a view that was taken is not rendered: %v", err)
		}
		if got, want := served(t, out), meant(u, servers); !slices.Equal(got, want) {
			t.Fatalf("servers %q, want %q", got, want)
		}
		for _, e := range examples {
			u.Template = e.name
			if e.name == "local-first.conf.tmpl" && !b.AllowsBackup() {
				continue
			}
			if out, err := set.Render(view(t, u, servers, "lb1")); err != nil {
				t.Fatalf("%s: %v\n%s", e.name, err, out)
			}
		}
	})
}

// Nginx is the last judge of what texts can do.
func TestNastyTextsBeforeNginx(t *testing.T) {
	_, examples, _ := page(t)
	set := exampleSet(t, examples)
	servers := nodes(len(nasty))
	for i, text := range nasty {
		servers[i].DataCenter, servers[i].Labels = render.Text(text), map[string]render.Text{"canary": render.Text(text)}
	}
	for _, e := range examples {
		u := upstream(t, "least_conn")
		u.Template = e.name
		out, err := set.Render(view(t, u, servers, ""))
		if err != nil {
			t.Fatal(err)
		}
		nginxTest(t, out)
	}
}
