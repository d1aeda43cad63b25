package systemd

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/machine"
)

// need is a row of the page's table: what lbd.service allows, and what shows when it doesn't.
type need struct{ what, shows string }

func readNeeds(t *testing.T) (rows []need) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|[^|]*\\| `([^`]+)` \\|$").FindAllStringSubmatch(page(t), -1) {
		rows = append(rows, need{m[1], m[2]})
	}
	return rows
}

// settings are the words that a unit gives for a setting, all its lines together.
func settings(t *testing.T, unit, name string) (words []string) {
	t.Helper()
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^`+name+`=(.*)$`).FindAllStringSubmatch(string(text), -1) {
		words = append(words, strings.Fields(m[1])...)
	}
	return words
}

// TestThePageNamesEachRight: what lbd.service allows is what the table gives a reason for.
func TestThePageNamesEachRight(t *testing.T) {
	allowed := []string{"/var/lib/" + settings(t, "lbd.service", "StateDirectory")[0]}
	for _, name := range []string{"CapabilityBoundingSet", "ReadWritePaths", "RestrictAddressFamilies"} {
		allowed = append(allowed, settings(t, "lbd.service", name)...)
	}
	for _, group := range settings(t, "lbd.service", "SystemCallFilter") {
		if group == "@chown" {
			allowed = append(allowed, group)
		}
	}
	var named []string
	for _, row := range readNeeds(t) {
		named = append(named, row.what)
	}
	for i, a := range allowed {
		allowed[i] = strings.TrimPrefix(a, "-")
	}
	// The temp folders of Nginx's own packages; Debian's are in the table.
	allowed = slices.DeleteFunc(allowed, func(a string) bool { return a == "/var/cache/nginx" })
	slices.Sort(allowed)
	slices.Sort(named)
	if !slices.Equal(allowed, named) {
		t.Errorf("the unit allows %q\nthe table names %q", allowed, named)
	}
}

// without is the drop-in that takes a right away.
func without(right string) string {
	switch {
	case strings.HasPrefix(right, "CAP_"):
		return "CapabilityBoundingSet=~" + right
	case strings.HasPrefix(right, "AF_"):
		return "RestrictAddressFamilies=~" + right
	case strings.HasPrefix(right, "@"):
		return "SystemCallFilter=~" + right
	}
	return "ReadOnlyPaths=" + right
}

// needs takes one right after another away from lbd: what the table says must show. With all rights nothing of it does.
func needs(t *testing.T, s *site) {
	// A node that says that it is where Nginx listens: at an address that lbd learns from the kernel only.
	s.AddAddress(t, "10.9.9.9/32")
	s.Write(t, "/etc/lbd/lbd.yaml", strings.Replace(lbdConfig, "127.0.0.0/8", "127.0.0.0/8, 10.0.0.0/8", 1), 0o600)
	s.agent(t, "liar", "10.9.9.9", 443)
	defer func() {
		s.Must(t, "systemctl", "stop", "liar")
		s.Write(t, "/etc/lbd/lbd.yaml", lbdConfig, 0o600)
	}()

	shown := func() string {
		return s.readyz() + "\n" + s.Journal("lbd") + "\n" + s.Must(t, "cat", "/etc/nginx/conf.d/upstream.conf")
	}
	for _, row := range readNeeds(t) {
		t.Run(strings.ReplaceAll(row.what, "/", "_"), func(t *testing.T) {
			s.stir(t)
			s.setDropIn(t, "lbd", "TimeoutStartSec=5s\n"+without(row.what))
			s.Must(t, "systemctl", "start", "--no-block", "lbd")
			machine.Eventually(t, "without "+row.what+" one reads "+row.shows, func() bool { return strings.Contains(shown(), row.shows) }, shown)
		})
	}
	s.stir(t)
	s.dropIn(t, "lbd", "")
	s.ready(t)
	now := shown()
	for _, row := range readNeeds(t) {
		if strings.Contains(now, row.shows) {
			t.Errorf("with all rights one reads %q\n%s", row.shows, now)
		}
	}
}

// stir ends lbd and leaves what it has to mend at its next start, and a temp folder that Nginx has to make then.
func (s *site) stir(t *testing.T) {
	t.Helper()
	s.Must(t, "systemctl", "stop", "lbd")
	s.Must(t, "journalctl", "--sync") // its last words are not to come after it
	s.Must(t, "journalctl", "--rotate")
	s.Must(t, "journalctl", "--vacuum-time=1us")
	s.Must(t, "rm", "-rf", "/var/lib/nginx/uwsgi")
	s.Write(t, "/etc/nginx/conf.d/upstream.conf", upstream, 0o644)
}

// otherSites tries what the page tells sites that are not Debian's stock one.
func otherSites(t *testing.T, s *site) {
	t.Run("reload with systemctl", func(t *testing.T) {
		s.Write(t, "/etc/lbd/lbd.yaml", lbdConfig+"nginx: {reload: [systemctl, reload, nginx]}\n", 0o600)
		defer s.Write(t, "/etc/lbd/lbd.yaml", lbdConfig, 0o600)
		s.stir(t)
		s.dropIn(t, "lbd", "")
		machine.Eventually(t, "systemctl is refused", func() bool { return strings.Contains(s.readyz(), "systemctl") }, s.readyz)
		s.dropIn(t, "lbd", "InaccessiblePaths=")
		s.ready(t)
	})
	t.Run("tighter", func(t *testing.T) {
		s.follow(t, "ln -s")
		s.stir(t)
		s.dropIn(t, "lbd", strings.TrimPrefix(examples(t, "ini")[0], "[Service]"))
		s.ready(t)
		if out, err := s.Run("nsenter", "--mount", "--target", s.Show(t, "lbd", "MainPID"), "touch", "/etc/nginx/nginx.conf"); err == nil {
			t.Errorf("lbd may write nginx.conf %s", out)
		}
	})
	t.Run("nginx after lbd", func(t *testing.T) {
		complaint := func() string {
			said, _ := s.Run("systemd-analyze", "verify", "--man=no", "lbd.service", "nginx.service")
			return said
		}
		s.setDropIn(t, "lbd", "[Unit]\nBefore=nginx.service")
		if said := complaint(); !strings.Contains(said, "cycle") {
			t.Errorf("with a drop-in there is no cycle: %s", said)
		}
		s.setDropIn(t, "lbd", "")
		defer s.follow(t, "bin/lbd")
		s.follow(t, "Before=nginx.service")
		if said := complaint(); said != "" {
			t.Error(said)
		}
		if after := strings.Fields(s.Show(t, "lbd", "After")); slices.Contains(after, "nginx.service") {
			t.Errorf("lbd starts after %q", after)
		}
		if after := strings.Fields(s.Show(t, "nginx", "After")); !slices.Contains(after, "lbd.service") {
			t.Errorf("nginx starts after %q", after)
		}
	})
	t.Run("check in the sandbox", func(t *testing.T) {
		s.follow(t, "nsenter")
		s.dropIn(t, "lbd", "ReadOnlyPaths=/var/log/nginx")
		if out, err := s.Run("sh", "-ec", examples(t, "sh")[1]); err == nil || !strings.Contains(out, "Read-only file system") {
			t.Errorf("lbd check says %v: %s", err, out)
		}
	})
	s.dropIn(t, "lbd", "")
	s.ready(t)
}

// exposure holds the figure in the page against systemd's.
func exposure(t *testing.T, s *site) {
	for _, unit := range []string{"lbd.service", "bbagent.service"} {
		said := s.Must(t, "systemd-analyze", "security", "--no-pager", unit)
		figure := regexp.MustCompile(`Overall exposure level for ` + unit + `: (\d+\.\d)`).FindStringSubmatch(said)
		if figure == nil || !strings.Contains(page(t), "| `"+unit+"` | "+figure[1]+" |") {
			t.Errorf("systemd says %q of %s, and not the page", figure, unit)
		}
	}
}
