package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// hostile makes a row of entries that must all be refused.
func hostile(name, does string, entries ...forged) Row {
	return Row{
		Name: "hostile: " + name, Does: does,
		MustHold: "each is refused and named with the reason; not a byte of it in the output; a freeze of another node arrives",
		Run:      func(s *Site) { s.refuses(entries) },
	}
}

func (r Row) short() Row { r.Short = true; return r }

// hostileRows are what somebody may write who has Redis and nothing else: the table of shared lessons about hostile
// input, and one row for each line of it.
func hostileRows() []Row {
	odd := []string{"localhost", "example.com.", "010.0.0.1", "2130706433", "0x7f.1", "127.0.0.66:80", "127.0.0.66; ", "127.0.0.66\n", "127.0.0.66; } server { listen 66"}
	special := []string{"0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "169.254.169.254", "::ffff:169.254.169.254", "::1", "fe80::1%eth0"}
	return []Row{
		hostile("ids with signs of Nginx, of terminals, of none", "ids with ; { } # quotes \\ $ blank CR NUL U+2028 BOM bidi ANSI invalid UTF-8, empty, too long",
			ids("", "a;", "a{b", "a}b", "a#b", `a"b`, "a'b", `a\b`, "a$b", "a b", "a\rb", "a\x00b", "a\u2028b", "\ufeffa", "a\u202eb", "\x1b[31ma", "a\xffb", "größe",
				strings.Repeat("a", 129), strings.Repeat("a", 10_000))...),
		hostile("ids that would end a comment", "ids with a line end and a directive behind it",
			ids("a\nserver 127.0.0.66:66;", "a\n}\nserver { listen 66; }\n#", "a\r\nserver 127.0.0.66:66;")...),
		hostile("ids as paths, keys and patterns", "ids like ../../etc/passwd, /etc/passwd, . .. : * [a] {a} -a",
			ids("../../etc/passwd", "a/b", "/etc/passwd", ".", "..", "-a", "a:b", "*", "[a]", "a?", "{a}")...),
		hostile("addresses of a unix socket", "unix:/var/run/docker.sock, of a node of ours and of a Python node",
			slices.Concat(fields("address", "unix:/var/run/docker.sock"), ips("unix:/var/run/docker.sock"))...),
		hostile("addresses that no node has", "unspecified, multicast, broadcast, metadata, link-local, ::1, mapped",
			slices.Concat(fields("address", special...), ips(special...))...),
		hostile("addresses that are none", "host names, octal, hex, one number, with port, with a directive behind",
			slices.Concat(fields("address", odd...), ips(append(odd, "")...))...).short(),
		hostile("ports", "-1, 65536, 80-90, '80 backup', wide digits, 8e1, blanks, hex, '80;'",
			fields("port", "-1", "65536", "80-90", "80 backup", "８０", "8e1", " 80", "80;", "0x50", "1000000000000")...),
		hostile("weights", "-5, 1e9, NaN, '1 max_fails=0', too large",
			fields("weight", "-5", "1e9", "NaN", "1 max_fails=0", "1001", "99999999999999999999")...),
		hostile("labels", "no JSON, a list, numbers, names with blanks and ;, too long, too deep, too many",
			fields("labels", "no JSON", "[]", `{"a":1}`, `{"a b":"c"}`, `{"a;":"c"}`, `{"a":"`+strings.Repeat("x", 300)+`"}`, strings.Repeat("[", 10_000), manyLabels())...),
		{
			Name:     "hostile: the load balancer itself",
			Short:    true,
			Does:     "nodes at the very address and port of lbd's status, of this Nginx's listener",
			MustHold: "refused and named: no request goes round",
			Run: func(s *Site) {
				var own []forged
				for i, at := range []string{s.lbd.listen, s.lb.Listen[0]} {
					ip, port := splitAddr(at)
					own = append(own, forged{id: fmt.Sprintf("self%d", i), agent: "1.0", fields: map[string]string{"address": ip, "port": port}})
				}
				s.refuses(own)
			},
		}, {
			Name:     "hostile: another node's address",
			Short:    true,
			Does:     "an entry of a new id claims address and port of web1",
			MustHold: "the elder stays, the claim is refused and named",
			Run: func(s *Site) {
				ip, port := splitAddr(s.nodes[0].app.Addr())
				s.refuses([]forged{
					{id: "thief", agent: "1.0", fields: map[string]string{"address": ip, "port": port}},
					{id: "a-thief", agent: "1.0", fields: map[string]string{"address": ip, "port": port}}, // sorts before web1
				})
			},
		}, {
			Name:     "hostile: another node's id",
			Does:     "the hash of web1 is overwritten with an address where nobody is, ten times in 5 s",
			MustHold: "its agent's next heartbeat puts it right; no request is lost meanwhile",
			Run: func(s *Site) {
				for range 10 {
					s.redisDo("HSET", "bazbeans:node:web1:status", "address", "127.0.0.66", "port", "66")
					s.redisDo("PUBLISH", "bazbeans:lb_events", "{}")
					s.pause(500 * time.Millisecond)
				}
				s.converges(time.Now(), soon, s.all()...)
			},
		}, {
			Name:     "hostile: free text",
			Short:    true,
			Does:     "reasons, names and data centers with directives, template marks, ANSI, HTML, CR LF, and one of 1 MB",
			MustHold: "nothing of it in Nginx's files; the freeze holds, everything goes on",
			Run: func(s *Site) {
				const text = "x; } server { listen 66; } # {{.}} %s <b> \x1b[31m \u202e \r\nserver 127.0.0.66:66;"
				_, err := s.pool.Freeze(s.ctx, "web1", text, text+strings.Repeat("x", 1<<20))
				s.must(err)
				for _, n := range s.nodes {
					for _, field := range []string{"details", "status", "data_center", "self_freeze", "instance"} {
						s.redisDo("HSET", "bazbeans:node:"+n.id+":status", field, text)
					}
				}
				s.converges(time.Now(), soon, s.but("web1")...)
				s.outputHasNone("listen", "127.0.0.66", "{{", "\x1b")
				s.unfreeze("web1")
				s.converges(time.Now(), soon, s.all()...)
			},
		}, {
			Name:     "hostile: clocks",
			Does:     "for 4 s the heartbeats of all nodes tell times of the year 5138, of 1970, before it, none",
			MustHold: "the key's own life in Redis counts, and no clock of a node: all are served",
			Run: func(s *Site) {
				untouched := s.untouched()
				times := []string{"99999999999", "0", "-1", "1e300", "null"}
				for n := range 16 {
					for i, node := range s.nodes {
						s.redisDo("SET", "bazbeans:node:"+node.id+":heartbeat", `{"agent":"faults","timestamp":`+times[(i+n)%len(times)]+`}`, "PX", beatTTL.Milliseconds())
					}
					s.serves(250*time.Millisecond, s.all()...)
				}
				untouched()
				s.converges(time.Now(), soon, s.all()...)
			},
		}, {
			Name:     "hostile: heartbeats and keys",
			Short:    true,
			Does:     "heartbeats of 10 MB, 50,000 deep, wrong types, no JSON; keys of a wrong type; addresses where nobody is allowed",
			MustHold: "the others are served; a freeze of another node arrives",
			Run: func(s *Site) {
				deep := strings.Repeat(`{"agent":`, 50_000)
				bad := map[string]string{"address": "0.0.0.0", "port": "66"} // whatever the heartbeat says, nobody is to be sent there
				for id, beat := range map[string]string{"long": `{"agent":"1","x":"` + strings.Repeat("x", 10<<20) + `"}`, "deep": deep, "nojson": "\x00\xff", "number": "5",
					"strange": `{"agent":{"a":1},"timestamp":"soon","cpu_percent":"much"}`, "twice": `{"agent":"1","agent":5}`} {
					s.forge(forged{id: id, agent: "1.0", fields: bad, beat: beat})
				}
				for _, key := range []string{"bazbeans:node:nojson:status", "bazbeans:node:number:heartbeat"} {
					s.redisDo("DEL", key)
					s.redisDo("RPUSH", key, "x")
				}
				s.looks(2)
				s.serves(time.Second, s.all()...)
				s.worksOn()
			},
		}, {
			Name:     "hostile: events",
			Does:     "the channel is flooded for 5 s with 1 MB texts, deep JSON, lies about who is active",
			MustHold: "an event only wakes: nothing changes; a freeze arrives in the midst of it",
			Run: func(s *Site) {
				untouched := s.untouched()
				lies := []string{"", "no JSON", "[]", `{"event":5}`, `{"event":"node_removed","node_id":"web1","active_nodes":[],"rev":99999999999999}`,
					`{"event":"node_registered","node_id":"evil","active_nodes":["evil"]}`, `{"event":"` + strings.Repeat("x", 1<<20) + `"}`, strings.Repeat("[", 100_000)}
				for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
					for _, text := range lies {
						s.redisDo("PUBLISH", "bazbeans:lb_events", text)
					}
					s.serves(100*time.Millisecond, s.all()...)
				}
				untouched()
				s.worksOn()
			},
		}, {
			Name:     "hostile: the callback's answers",
			Does:     "a resolver's program answers with metadata addresses, sockets, directives, 10 MB, nothing for ever, an error",
			MustHold: "what may not be is refused and named, what can't be known takes nobody out",
			Setup: Setup{
				Config: "resolvers: [{callback: {exec: [/bin/sh, SITE/lookup.sh], ttl: 1s, timeout: 1s}}, {redis: {}}]\n",
				Files:  map[string]string{"lookup.sh": lookup},
			},
			Run: func(s *Site) {
				untouched := s.untouched()
				for _, id := range []string{"meta", "sock", "directive", "html", "big", "hang", "fails", "two"} {
					s.forge(forged{id: "cb-" + id, agent: "1.0"})
				}
				s.quarantined(soon, "cb-meta", "cb-sock", "cb-directive", "cb-two")
				s.serves(3*time.Second, s.all()...)
				untouched()
				s.must(write(s.dir+"/broken", ""))
				s.serves(3*time.Second, s.all()...)
				s.must(os.Remove(s.dir + "/broken"))
				s.worksOn()
			},
		},
		dnsRow(),
	}
}

// lookup is a resolver's program that lies about some nodes, and fails for all once the file broken is there.
const lookup = `cd "${0%/*}" || exit 3
[ ! -e broken ] || { echo 'the inventory is away' >&2; exit 3; }
case $1 in
cb-meta) echo 169.254.169.254 ;;
cb-sock) echo unix:/var/run/docker.sock ;;
cb-directive) echo '127.0.0.66; } server { listen 66; }' ;;
cb-html) echo '<html>not found</html>' ;;
cb-big) head -c 10000000 /dev/zero ;;
cb-hang) exec sleep 600 ;;
cb-fails) exit 7 ;;
cb-two) echo 127.0.0.66 127.0.0.67 ;;
esac
`

// refuses forges entries and wants each refused; then it removes them.
func (s *Site) refuses(entries []forged) {
	untouched := s.untouched()
	for _, f := range entries {
		s.forge(f)
	}
	s.wait(soon, func() error {
		st, err := s.lbd.status(s.ctx)
		if err == nil && len(st.Quarantined) != len(entries) {
			err = fmt.Errorf("%d entries are in quarantine, want %d: %.500v", len(st.Quarantined), len(entries), st.Quarantined)
		}
		for _, q := range st.Quarantined {
			if q.Why == "" {
				err = fmt.Errorf("%.60q is in quarantine without a reason", q.ID)
			}
		}
		return err
	})
	s.serves(time.Second, s.all()...)
	s.outputHasNone("127.0.0.66", "docker", "169.254", "listen")
	untouched()
	s.worksOn()
	for _, f := range entries {
		_, err := s.pool.Forget(s.ctx, f.id, "faults")
		s.must(err)
	}
	s.converges(time.Now(), soon, s.all()...)
}

// outputHasNone wants none of the texts in lbd's file.
func (s *Site) outputHasNone(texts ...string) {
	file := s.made()
	for _, text := range texts {
		if strings.Contains(file, text) {
			s.fail("%q is in %s:\n%s", text, s.lb.file(), file)
		}
	}
}
