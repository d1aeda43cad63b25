package packaging

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/machine"
)

// site is a Debian with Nginx and Redis, on which the page is followed: it is load balancer and node in one.
type site struct {
	*machine.Machine
}

const (
	folder = "/root/packages" // where the operator has them
	front  = "http://127.0.0.1/"
	redis  = "redis://10.0.0.5:6379"
)

func inDebian(t *testing.T, release, upgrade string) {
	s := &site{machine.Boot(t)}
	for _, address := range []string{"10.0.0.5/32", "10.0.0.21/32", "10.0.0.22/32"} {
		s.AddAddress(t, address)
	}
	s.Must(t, "redis-cli", "CONFIG", "SET", "bind", "127.0.0.1 10.0.0.5")
	s.Must(t, "redis-cli", "CONFIG", "SET", "protected-mode", "no")
	s.Backend(t, "web1", "10.0.0.21:8000")
	s.Backend(t, "web2", "10.0.0.22:8000")
	s.bring(t, release, "*_amd64.deb")
	for _, c := range []struct {
		name string
		test func(*testing.T, *site)
	}{
		{"lbd is installed", installLbd},
		{"the agent is installed", installAgent},
		{"used", use},
		{"upgraded under traffic", func(t *testing.T, s *site) { s.bring(t, upgrade, "*_amd64.deb"); upgraded(t, s) }},
		{"a config that the new one can't use", badConfig},
		{"a unit by hand", byHand},
		{"removed", remove},
		{"purged", purge},
		{"installed again", afresh},
		{"rpm", func(t *testing.T, s *site) { s.bring(t, release, "*.rpm"); rpm(t, s) }},
		{"the page", func(t *testing.T, _ *site) { allFollowed(t) }},
	} {
		if !t.Run(c.name, func(t *testing.T) { c.test(t, s) }) {
			return // each goes on from where the one before came
		}
	}
}

// bring puts packages where the operator has them, in the place of others.
func (s *site) bring(t *testing.T, dir, pattern string) {
	t.Helper()
	s.Must(t, "rm", "-rf", folder)
	for _, name := range files(t, dir, pattern) {
		s.Copy(t, name, filepath.Join(folder, filepath.Base(name)), 0o644)
	}
}

// follow does what the page says, and returns what is said.
func (s *site) follow(t *testing.T, text string) string {
	t.Helper()
	return s.sh(t, example(t, text))
}

func (s *site) sh(t *testing.T, text string) string {
	t.Helper()
	return s.Must(t, "sh", "-euc", "cd "+folder+"\nexport DEBIAN_FRONTEND=noninteractive LC_ALL=C\n"+text)
}

func (s *site) state() string {
	_, ready, _ := s.Get("http://127.0.0.1:9180/readyz")
	return ready + s.Journal("lbd") + "\n" + s.Journal("bbagent")
}

func (s *site) serves(t *testing.T, nodes ...string) {
	t.Helper()
	s.Serves(t, front, s.state, nodes...)
}

func (s *site) ready(t *testing.T) {
	t.Helper()
	machine.Eventually(t, "lbd is ready", func() bool { code, _, err := s.Get("http://127.0.0.1:9180/readyz"); return err == nil && code == 200 }, s.state)
}

// has fails for words that are not in a text.
func has(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}

// nginx is all that could change of it: its files, its processes.
func (s *site) nginx(t *testing.T) string {
	t.Helper()
	return s.sh(t, `find /etc/nginx ! -type d -printf '%p %m %T@\n' -o -print | sort; pgrep nginx`)
}

func installLbd(t *testing.T, s *site) {
	before := s.nginx(t)
	said := s.follow(t, "dpkg -i bazbeans-lbd_")
	has(t, said, "lbd is installed and does nothing yet", "1. say where Redis is", "systemctl enable --now lbd")
	if state, enabled := s.Show(t, "lbd", "ActiveState"), s.Show(t, "lbd", "UnitFileState"); state != "inactive" || enabled != "disabled" {
		t.Errorf("lbd is %s, %s", state, enabled)
	}
	if now := s.nginx(t); now != before {
		t.Errorf("nginx was\n%s\nand is\n%s", before, now)
	}
	has(t, s.Must(t, "stat", "-c", "%U %a", "/etc/lbd/lbd.yaml"), "root 600")
	has(t, s.Must(t, "systemd-analyze", "cat-config", "systemd/system/lbd.service")+s.Show(t, "lbd", "ExecStart"), "path=/usr/bin/lbd")
	has(t, s.Must(t, "bash", "-c", "source /usr/share/bash-completion/completions/bbctl && complete -p bbctl"), "bbctl")

	has(t, s.follow(t, "lbd check"), "ok")
	if now := s.nginx(t); now != before {
		t.Errorf("lbd check changed nginx\n%s\nto\n%s", before, now)
	}
	s.follow(t, "enable --now lbd")
	s.follow(t, "sites-enabled/app")
	s.ready(t)
}

func installAgent(t *testing.T, s *site) {
	said := s.follow(t, "dpkg -i bazbeans-agent_")
	has(t, said, "bbagent is installed and does nothing yet", "enable --now bbagent")
	has(t, s.Must(t, "stat", "-c", "%U %G %a", "/etc/bbagent/bbagent.yaml"), "root bbagent 640")
	if state := s.Show(t, "bbagent", "ActiveState"); state != "inactive" {
		t.Errorf("bbagent is %s", state)
	}
	s.startAgent(t)
	user := s.Must(t, "ps", "-o", "user=", "-p", s.Show(t, "bbagent", "MainPID"))
	if user != "bbagent" {
		t.Errorf("the agent runs as %s", user)
	}
	s.secondNode(t)
	s.serves(t, "web1", "web2")
	has(t, s.follow(t, "list-nodes"), "web1", "web2")
}

// startAgent does with the agent what the page says, and has it look away from the load: a machine that tests are run
// on is busy.
func (s *site) startAgent(t *testing.T) {
	t.Helper()
	s.follow(t, "node_id: web1")
	s.sh(t, `sed -i 's|^#cpu_threshold: .*|cpu_threshold: 100|; s|^#memory_threshold: .*|memory_threshold: 100|' /etc/bbagent/bbagent.yaml`)
	s.follow(t, "enable --now bbagent")
}

// secondNode is the node web2, with an agent of its own.
func (s *site) secondNode(t *testing.T) {
	t.Helper()
	s.Must(t, "systemd-run", "--quiet", "--unit=web2", "--property=StateDirectory=web2", "bbagent", "--redis-url="+redis, "--node-id=web2", "--address=10.0.0.22",
		"--cpu-threshold=100", "--memory-threshold=100", "--state-dir=/var/lib/web2")
}

func use(t *testing.T, s *site) {
	s.UnderTraffic(t, front, func() {
		freeze, unfreeze, _ := strings.Cut(example(t, "freeze web2"), "\n")
		s.sh(t, freeze)
		s.serves(t, "web1")
		s.sh(t, unfreeze)
		s.serves(t, "web1", "web2")
	})
	s.ready(t)
}

// upgraded is an upgrade to a release whose own config differs from the former one, while the operator has changed his.
func upgraded(t *testing.T, s *site) {
	s.sh(t, `for deb in bazbeans-lbd_* bazbeans-agent_*; do
		dpkg-deb --raw-extract $deb tree
		for f in $(cat tree/DEBIAN/conffiles); do echo '# new in this release' >>tree$f; done
		sed -i '/ etc\//d' tree/DEBIAN/md5sums
		dpkg-deb -Znone --build tree $deb
		rm -r tree
	done`)
	nginx, lbd, agent := s.Show(t, "nginx", "MainPID"), s.Show(t, "lbd", "MainPID"), s.Show(t, "bbagent", "MainPID")
	config := s.Must(t, "cat", "/etc/lbd/lbd.yaml", "/etc/bbagent/bbagent.yaml")
	s.Must(t, "redis-cli", "DEL", "bazbeans:events")
	s.UnderTraffic(t, front, func() {
		said := s.follow(t, "--force-confold")
		if strings.Contains(said, "does nothing yet") {
			t.Errorf("an upgrade says what is for an installation:\n%s", said)
		}
		s.newAgent(t, agent)
		s.ready(t)
		s.serves(t, "web1", "web2")
	})
	if s.Show(t, "lbd", "MainPID") == lbd || s.Show(t, "nginx", "MainPID") != nginx {
		t.Errorf("lbd was %s and is %s, nginx was %s and is %s", lbd, s.Show(t, "lbd", "MainPID"), nginx, s.Show(t, "nginx", "MainPID"))
	}
	if _, metrics, err := s.Get("http://127.0.0.1:9180/metrics"); err != nil || !strings.Contains(metrics, `lbd_build_info{version="`+second+`"}`) {
		t.Errorf("the lbd that runs is not %s: %v", second, err)
	}
	has(t, s.Must(t, "redis-cli", "HGET", "bazbeans:node:web1:status", "agent"), second)
	if now := s.Must(t, "cat", "/etc/lbd/lbd.yaml", "/etc/bbagent/bbagent.yaml"); now != config {
		t.Errorf("the operator's config is now\n%s", now)
	}
	has(t, s.Must(t, "cat", "/etc/lbd/lbd.yaml.dpkg-dist", "/etc/bbagent/bbagent.yaml.dpkg-dist"), "# new in this release")
	if events := s.Must(t, "redis-cli", "XRANGE", "bazbeans:events", "-", "+"); strings.Contains(events, "node_removed") || strings.Contains(events, "node_frozen") {
		t.Errorf("a node left:\n%s", events)
	}
}

// newAgent waits until systemd has started another agent, and returns its process.
func (s *site) newAgent(t *testing.T, old string) (pid string) {
	t.Helper()
	machine.Eventually(t, "the new agent runs", func() bool {
		pid = s.Show(t, "bbagent", "MainPID")
		return pid != old && pid != "0" && s.Show(t, "bbagent", "ActiveState") == "active"
	}, s.state)
	return pid
}

// badConfig: a program that could not start with the config is not started; the one that runs goes on.
func badConfig(t *testing.T, s *site) {
	agent := ""
	for _, unit := range []string{"lbd", "bbagent"} { // the agent goes on in the second one, and is another in the first
		config := "/etc/" + unit + "/" + unit + ".yaml"
		agent = s.newAgent(t, agent)
		pid, text := s.Show(t, unit, "MainPID"), s.Must(t, "cat", config)
		mode, err := os.Stat(s.Root + config)
		if err != nil {
			t.Fatal(err)
		}
		s.Write(t, config, text+"\nno_such_key: 1\n", mode.Mode())
		has(t, s.follow(t, "--force-confold"), unit+": the new version can't use "+config, "no_such_key", "systemctl restart "+unit)
		if now := s.Show(t, unit, "MainPID"); now != pid {
			t.Errorf("%s was %s and is %s", unit, pid, now)
		}
		s.Write(t, config, text+"\n", mode.Mode())
	}
	s.sh(t, "dpkg --configure --pending; systemctl restart lbd")
	s.ready(t)
	s.serves(t, "web1", "web2")
}

// byHand: a unit of the operator's own stays in force, and is named.
func byHand(t *testing.T, s *site) {
	s.sh(t, `sed 's/^Description=.*/Description=mine/' /usr/lib/systemd/system/lbd.service >/etc/systemd/system/lbd.service; systemctl daemon-reload`)
	pid := s.Show(t, "lbd", "MainPID")
	has(t, s.follow(t, "--force-confold"), "/etc/systemd/system/lbd.service stands in for the unit of this package")
	if now, is := s.Show(t, "lbd", "MainPID"), s.Show(t, "lbd", "Description"); now != pid || is != "mine" {
		t.Errorf("lbd %s was %s and is %s", is, pid, now)
	}
	s.sh(t, "rm /etc/systemd/system/lbd.service && systemctl daemon-reload && systemctl restart lbd")
	s.ready(t)
}

func remove(t *testing.T, s *site) {
	s.UnderTraffic(t, front, func() {
		has(t, s.follow(t, "dpkg --remove bazbeans-lbd"), "Nginx goes on with the upstream files", "lbs forget")
		s.serves(t, "web1", "web2")
	})
	if lbs := s.Must(t, "redis-cli", "SMEMBERS", "bazbeans:lbs"); lbs != "" {
		t.Errorf("the pool still knows %s", lbs)
	}
	s.Must(t, "systemctl", "restart", "nginx")
	s.serves(t, "web1", "web2")
	s.Must(t, "ls", "/etc/lbd/lbd.yaml", "/var/lib/lbd/lock")
	if left, err := s.Run("systemctl", "cat", "lbd"); err == nil {
		t.Errorf("there still is a unit\n%s", left)
	}

	// Again, with the config that was kept.
	has(t, s.follow(t, "dpkg -i bazbeans-lbd_"), "does nothing yet")
	s.follow(t, "enable --now lbd")
	s.ready(t)
	s.UnderTraffic(t, front, func() {
		has(t, s.follow(t, "dpkg --remove bazbeans-agent"), "leaves the pool")
		s.serves(t, "web2")
	})
	if nodes := s.Must(t, "redis-cli", "SMEMBERS", "bazbeans:nodes:all"); nodes != "web2" {
		t.Errorf("the pool knows %q", nodes)
	}
	// This Nginx can't ask lbd for nodes; its files might.
	const output = "/etc/nginx/conf.d/upstream.conf"
	text := s.Must(t, "cat", output)
	s.sh(t, "systemctl stop lbd; sed -i 's/^upstream .*{/&\\n    server app_backend.bazbeans.internal service=lbd resolve;/' "+output)
	has(t, s.sh(t, "dpkg --remove bazbeans-lbd; bbctl --redis-url "+redis+" lbs forget lb1"), "asks it for the nodes", "\n"+output+"\n", "answers 502", "lbs forget")
	s.Write(t, output, text+"\n", 0o644)
}

func purge(t *testing.T, s *site) {
	// What lbd took over from the operator, and a template of his.
	s.Write(t, "/var/lib/lbd/nginx/originals/%2Fetc%2Fnginx%2Fconf.d%2Fupstream.conf", "upstream app_backend { server 10.0.0.99; }\n", 0o600)
	s.Write(t, "/etc/lbd/templates/mine.tmpl", "mine\n", 0o644)
	has(t, s.sh(t, "dpkg --purge bazbeans-lbd bazbeans-agent bazbeans-ctl 2>&1"), "kept an original of yours: /var/backups/lbd/")
	s.Must(t, "grep", "10.0.0.99", "/var/backups/lbd/%2Fetc%2Fnginx%2Fconf.d%2Fupstream.conf")
	s.Must(t, "cat", "/etc/lbd/templates/mine.tmpl")
	left := s.sh(t, `find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /root -o -path '/var/log/*' -o -path '/var/lib/web2' -o -path /var/lib/private \) -prune -o \( -name '*lbd*' -o -name '*bbagent*' -o -name '*bbctl*' -o -name '*bazbeans*' \) -print`)
	if left != "/etc/lbd\n/var/backups/lbd" && left != "/var/backups/lbd\n/etc/lbd" {
		t.Errorf("left are\n%s", left)
	}
	if audit := s.Must(t, "dpkg", "--audit"); audit != "" {
		t.Error(audit)
	}
	s.Must(t, "nginx", "-t")
	s.Must(t, "systemctl", "restart", "nginx")
	s.serves(t, "web2")
	s.Must(t, "rm", "-r", "/etc/lbd/templates/mine.tmpl", "/var/backups/lbd")
	s.Must(t, "systemctl", "stop", "web2")
}

// afresh: the page once more, on a host that had it all before, with upstreams that are changed live: their files name a
// socket in lbd's folder, and Nginx has to start without lbd all the same.
func afresh(t *testing.T, s *site) {
	has(t, s.follow(t, "dpkg -i bazbeans-lbd_"), "does nothing yet")
	s.follow(t, "lbd check")
	s.sh(t, `sed -i 's|^#nginx:|nginx:|; s|^#  apply: .*|  apply: live|; s|^#  live: .*|  live: lua|' /etc/lbd/lbd.yaml`)
	s.follow(t, "enable --now lbd")
	has(t, s.follow(t, "dpkg -i bazbeans-agent_"), "does nothing yet")
	s.startAgent(t)
	s.serves(t, "web1")
	s.ready(t)
	s.Must(t, "grep", "--quiet", "--recursive", "/var/lib/lbd/live/", "/etc/nginx/conf.d")
	s.UnderTraffic(t, front, func() {
		s.sh(t, "dpkg --purge bazbeans-lbd")
		s.Must(t, "nginx", "-t")
		s.serves(t, "web1")
	})
	s.Must(t, "systemctl", "restart", "nginx")
	s.serves(t, "web1")
	s.sh(t, "bbctl --redis-url "+redis+" lbs forget lb1; dpkg --purge bazbeans-agent bazbeans-ctl")
}

// rpm: the same scripts with rpm's words, by the rpm that Debian has. No distribution of that family can be had here.
func rpm(t *testing.T, s *site) {
	for name, conffile := range conffiles {
		for arch, theirs := range rpmArch {
			file := fmt.Sprintf("%s/%s-%s-1.%s.rpm", folder, name, first, theirs)
			if got := s.Must(t, "rpm", "-qp", "--queryformat", "%{NAME} %{VERSION} %{ARCH} %{LICENSE} %{BUILDHOST} %{BUILDTIME}", file); got != fmt.Sprintf("%s %s %s Apache-2.0 bazbeans %s", name, first, theirs, epoch) {
				t.Errorf("%s: %s", arch, got)
			}
			list := s.Must(t, "rpm", "-qpl", file) + "\n"
			for _, want := range append(contents[name], "/usr/share/licenses/"+name+"/LICENSE") {
				want = strings.TrimSuffix(strings.Replace(want, "vendor-completions", "site-functions", 1), "/")
				if !strings.Contains(list, want+"\n") {
					t.Errorf("%s %s has no %s", name, theirs, want)
				}
			}
			if got := s.Must(t, "rpm", "-qpc", file); got != conffile {
				t.Errorf("%s %s: config files %q", name, theirs, got)
			}
		}
	}
	const rpm = "rpm --force-debian --nodeps "
	before := s.nginx(t)
	has(t, s.sh(t, rpm+"-U *.x86_64.rpm"), "lbd is installed and does nothing yet", "bbagent is installed and does nothing yet")
	if now := s.nginx(t); now != before {
		t.Errorf("nginx was\n%s\nand is\n%s", before, now)
	}
	has(t, s.Must(t, "stat", "-c", "%U %G %a", "/etc/bbagent/bbagent.yaml"), "root bbagent 640")
	s.follow(t, "lbd check")
	s.follow(t, "enable --now lbd")
	s.startAgent(t)
	s.ready(t)
	lbd, agent := s.Show(t, "lbd", "MainPID"), s.Show(t, "bbagent", "MainPID")
	s.UnderTraffic(t, front, func() {
		said := s.sh(t, rpm+"-U --force bazbeans-*.x86_64.rpm")
		if strings.Contains(said, "does nothing yet") || s.Show(t, "lbd", "MainPID") == lbd {
			t.Errorf("upgraded, lbd %s is %s: %s", lbd, s.Show(t, "lbd", "MainPID"), said)
		}
		s.newAgent(t, agent)
		s.ready(t)
	})
	s.Must(t, "grep", "--quiet", "10.0.0.5", "/etc/lbd/lbd.yaml", "/etc/bbagent/bbagent.yaml")
	s.sh(t, rpm+"-e bazbeans-agent")
	has(t, s.sh(t, rpm+"-e bazbeans-lbd bazbeans-ctl"), "Nginx goes on with the upstream files")
	if state := s.Show(t, "lbd", "ActiveState"); state != "inactive" {
		t.Errorf("removed, lbd is %s", state)
	}
	s.Must(t, "ls", "/etc/lbd/lbd.yaml.rpmsave", "/var/lib/lbd/lock")
	s.Must(t, "systemctl", "restart", "nginx")
}
