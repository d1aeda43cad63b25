package nginxtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// Whoever may write to Redis may write anything. Each hostile entry is refused and shown, all others go on, and
// nothing of it reaches Nginx.

// hostileIDs are no ids.
var hostileIDs = []string{"", "a;", "a{b", "a}b", "a#b", `a"b`, "a'b", `a\b`, "a$b", "a b", "a\rb", "a\nserver 127.0.0.66:66;", "a\x00b",
	"a\u2028b", "\ufeffa", "a\u202eb", "\x1b[31ma", "a\xffb", "../../etc/passwd", "a/b", "/etc/passwd", ".", "..", "-a", "a:b", "*", "[a]", "{a}",
	"größe", strings.Repeat("a", 129), strings.Repeat("a", 10_000)}

// hostileFields are what a node of ours cannot have registered: field, then values.
var hostileFields = map[string][]string{
	"address": {"unix:/var/run/docker.sock", "localhost", "example.com.", "010.0.0.1", "2130706433", "0x7f.1", "127.0.0.66:80", "127.0.0.66; ",
		"127.0.0.66\n", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "169.254.169.254", "::ffff:169.254.169.254", "::1"},
	"port":   {"-1", "65536", "80-90", "80 backup", "８０", "8e1", " 80", "80;", "0x50", "1000000000000"},
	"weight": {"-5", "1e9", "NaN", "1 max_fails=0", "1001", "99999999999999999999"},
	"labels": {"no JSON", "[]", `{"a":1}`, `{"a b":"c"}`, `{"a;":"c"}`, `{"a":"` + strings.Repeat("x", 300) + `"}`, strings.Repeat("[", 10_000), manyLabels()},
}

// hostileIPs are what a Python node cannot be at.
var hostileIPs = []string{"unix:/var/run/docker.sock", "evil.example.com", "127.0.0.66; } server { listen 66", "127.0.0.66:80", "169.254.169.254", ""}

// hostileMessages are what may come over the channel.
var hostileMessages = []string{"", "no JSON", "[]", `{"event":5}`, `{"event":"node_removed","node_id":"web1","active_nodes":[],"rev":99999999999999}`,
	`{"event":"node_registered","node_id":"evil","active_nodes":["evil"]}`, `{"event":"` + strings.Repeat("x", 1<<20) + `"}`, strings.Repeat("[", 100_000)}

func manyLabels() string {
	all := map[string]string{}
	for i := range 33 {
		all["l"+strconv.Itoa(i)] = "x"
	}
	text, _ := json.Marshal(all) // strings always encode
	return string(text)
}

// do sends a command to Redis.
func (s *site) do(args ...any) {
	s.t.Helper()
	if err := s.rdb.Do(s.t.Context(), args...).Err(); err != nil {
		s.t.Fatalf("%.200q: %v", args, err)
	}
}

// forge makes a node as our agent would, with these fields of its hash; agent is "" for one of Python.
func (s *site) forge(id, agent string, fields map[string]string) {
	s.t.Helper()
	beat := `{"timestamp":1700000000.0,"node_id":"x"}`
	if agent != "" {
		beat = `{"timestamp":1700000000.0,"node_id":"x","agent":"` + agent + `"}`
	}
	s.do("SET", "bazbeans:node:"+id+":heartbeat", beat, "EX", 600)
	s.enlist(id, fields)
}

// enlist is the rest of forge, for a node that has its heartbeat.
func (s *site) enlist(id string, fields map[string]string) {
	s.t.Helper()
	hash := map[string]string{"status": "active", "details": "", "timestamp": "1700000000.0", "data_center": "dc1", "is_frozen": "false", "is_active": "true"}
	maps.Copy(hash, fields)
	for k, v := range hash {
		s.do("HSET", "bazbeans:node:"+id+":status", k, v)
	}
	s.do("SADD", "bazbeans:nodes:all", id)
	s.do("SADD", "bazbeans:nodes:active", id)
}

func TestHostileEntries(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, config: "timing: {resync: 100ms}\n"})
	traffic := s.traffic()
	traffic.wantReaches("web1", "web2")
	wantUntouched := s.fileAsItIs()

	refused := slices.Clone(hostileIDs)
	for _, id := range hostileIDs {
		s.forge(id, "1.0", map[string]string{"address": "127.0.0.66", "port": "66"})
		s.do("HSET", "bazbeans:node_ips", id, "127.0.0.66")
	}
	for field, values := range hostileFields {
		for i, v := range values {
			id := field + strconv.Itoa(i)
			fields := map[string]string{"address": "127.0.0.66", "port": "66", "weight": "1", "labels": "{}"}
			fields[field] = v
			s.forge(id, "1.0", fields)
			refused = append(refused, id)
		}
	}
	for i, ip := range hostileIPs {
		id := "python" + strconv.Itoa(i)
		s.do("HSET", "bazbeans:node_ips", id, ip)
		s.forge(id, "", nil)
		refused = append(refused, id)
	}
	for _, m := range hostileMessages {
		s.do("PUBLISH", "bazbeans:lb_events", m)
	}
	s.wantLooks(3)

	st := s.mustStatus()
	shown := map[string]string{}
	for _, q := range st.Quarantined {
		shown[q.ID] = q.Why
	}
	for _, id := range refused {
		// How JSON shows what is no UTF-8 or has no end is lbd's own affair; such ids are counted below.
		if why, ok := shown[id]; (!ok || why == "") && utf8.ValidString(id) && len(id) < 1000 {
			t.Errorf("%.80q is not in quarantine with a reason", id)
		}
		if state := st.state(id); state == "active" {
			t.Errorf("%.80q is called %s", id, state)
		}
	}
	if len(st.Quarantined) != len(refused) {
		t.Errorf("%d entries are in quarantine, want %d", len(st.Quarantined), len(refused))
	}
	s.want("/metrics", 200, fmt.Sprintf("lbd_quarantined %d\n", len(refused)))
	s.wantServers("web1", "web2")
	wantUntouched() // not a byte of all that
	traffic.wantReaches("web1", "web2")

	// People are shown what it is, harmlessly.
	for _, args := range [][]string{{"list-nodes", "-o", "wide"}, {"list-nodes", "-o", "json"}, {"events"}, {"status", "port3"}} {
		wantHarmless(t, s.bbctl(args...))
	}
	wantHarmless(t, s.lbd.log.String())
	s.run("check").want(t, 0, "quarantine")

	// And all of it goes on working around them.
	s.bbctl("freeze", "web1", "--wait")
	s.wantServers("web2")
	forget := []string{"forget", "--"}
	for _, id := range refused {
		if id != "" && !strings.ContainsRune(id, 0) { // no command line can hold these
			forget = append(forget, id)
		}
	}
	s.bbctl(forget...)
	s.bbctl("unfreeze", "web1")
	s.wantServers("web1", "web2")
	traffic.wantNoHarm()
}

// wantHarmless wants text for a terminal: no control characters but line ends, and valid UTF-8.
func wantHarmless(t testing.TB, text string) {
	t.Helper()
	hostile := func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028')
	}
	if i := strings.IndexFunc(text, hostile); i >= 0 || !utf8.ValidString(text) {
		t.Errorf("hostile text reaches a terminal, at byte %d of:\n%q", i, text)
	}
}

// Free text of a good node reaches neither Nginx nor a terminal as it is.
func TestHostileText(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1"}})
	const text = "x; } server { listen 66; } # {{.}} %s <b> \x1b[31m \u202e \r\nserver 127.0.0.66:66;"
	s.node("web2", "--data-center", text, "--label", "rack="+text, "--label", "zone={{.}}")
	s.wantServers("web1", "web2")
	s.bbctl("freeze", "web1", "--wait", "--reason", text, "--as", text)
	s.wantServers("web2")
	s.want("/readyz", 200)
	if file := read(t, s.output); strings.Contains(file, "66") || strings.Contains(file, "rack") {
		t.Errorf("free text is in the file:\n%s", file)
	}
	for _, args := range [][]string{{"list-nodes", "-o", "wide"}, {"list-nodes"}, {"status", "web1"}, {"status", "web2"}, {"events"}, {"freeze", "web1", "--reason", text}} {
		wantHarmless(t, s.bbctl(args...))
	}
	for _, d := range []*daemon{s.lbd, s.nodes["web1"].agent, s.nodes["web2"].agent} {
		wantHarmless(t, d.log.String())
	}
}

// Keys of a wrong type, heartbeats that are too long, too deep, from the future: each is its own node's trouble.
func TestHostileKeys(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1", "web2"}, config: "timing: {resync: 100ms, min_interval: 50ms}\n"})
	good := map[string]string{"address": "127.0.0.66", "port": "66"}
	beats := map[string]string{
		"long":    `{"agent":"1.0","x":"` + strings.Repeat("x", 10<<20) + `"}`,
		"deep":    strings.Repeat(`{"agent":`, 50_000),
		"nojson":  "\x00\xff",
		"number":  "5",
		"strange": `{"agent":{"a":1},"timestamp":"soon","cpu_percent":"much"}`,
	}
	// What is bad comes first: lbd looks all the time, and would serve what is good for a moment.
	for id, beat := range beats {
		s.do("SET", "bazbeans:node:"+id+":heartbeat", beat, "EX", 600)
		s.enlist(id, good)
	}
	s.do("RPUSH", "bazbeans:node:beat-is-a-list:heartbeat", "x")
	s.enlist("beat-is-a-list", good)
	s.do("RPUSH", "bazbeans:node:hash-is-a-list:status", "x")
	s.do("SET", "bazbeans:node:hash-is-a-list:heartbeat", `{"agent":"1.0"}`, "EX", 600)
	s.do("SADD", "bazbeans:nodes:all", "hash-is-a-list")
	s.do("SADD", "bazbeans:nodes:active", "hash-is-a-list")
	s.wantLooks(3)
	s.wantServers("web1", "web2")
	s.want("/readyz", 200)
	s.bbctl("freeze", "web1", "--wait")
	s.wantServers("web2")
	s.bbctl("list-nodes")

	// A node's own clock counts for nothing: what it says of the time is for people.
	s.bbctl("unfreeze", "web1")
	// Three are to expire: one that is missing is kept until lbd has run for as long as its heartbeats last. These are short,
	// and said again until all are served.
	short := []string{"clock0", "clock1", "clock2"}
	for i, at := range []string{"99999999999", "-1", "0", "1e300", "null"} {
		id := "clock" + strconv.Itoa(i)
		app := s.application(id, "127.0.0.1:0")
		_, port, _ := strings.Cut(app.app.Addr(), ":")
		s.do("SET", "bazbeans:node:"+id+":heartbeat", `{"agent":"1.0","timestamp":`+at+`}`, "EX", 10+i/3*600)
		s.enlist(id, map[string]string{"address": "127.0.0.1", "port": port})
	}
	serverstest.Eventually(t, soon, func() error {
		for _, id := range short {
			s.do("EXPIRE", "bazbeans:node:"+id+":heartbeat", 10)
		}
		if got := s.servers(s.output); len(got) != 7 {
			return fmt.Errorf("the servers are %v", got)
		}
		return nil
	})
	s.wantServers("clock0", "clock1", "clock2", "clock3", "clock4", "web1", "web2")
	s.expire(short...)
	serverstest.Eventually(t, 2*soon, func() error {
		if got := s.servers(s.output); !slices.Equal(got, []string{"clock3", "clock4", "web1", "web2"}) {
			return fmt.Errorf("the servers are %v", got)
		}
		return nil
	})
}

// A node that says it is lbd or this Nginx itself would make requests go round, or reach what only this host may.
func TestOwnListenersAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{nodes: []string{"web1"}, config: "timing: {resync: 100ms}\n"})
	for id, at := range map[string]string{"is-lbd": strings.TrimPrefix(s.url, "http://"), "is-nginx": s.nginx.Listen[0]} {
		ip, port, _ := strings.Cut(at, ":")
		s.forge(id, "1.0", map[string]string{"address": ip, "port": port})
		s.wantQuarantined(id, at)
	}
	s.wantServers("web1")
}

// wantQuarantined waits until the node is refused for a reason with this text.
func (b *balancer) wantQuarantined(id, why string) {
	b.s.t.Helper()
	serverstest.Eventually(b.s.t, soon, func() error {
		s, err := b.status()
		for _, q := range s.Quarantined {
			if q.ID == id && strings.Contains(q.Why, why) {
				return nil
			}
		}
		return fmt.Errorf("%s is not in quarantine for %q: %+v (%v)", id, why, s.Quarantined, err)
	})
}
