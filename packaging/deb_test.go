package packaging

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// conffiles are what dpkg and rpm ask about before they replace it.
var conffiles = map[string]string{"bazbeans-lbd": "/etc/lbd/lbd.yaml", "bazbeans-agent": "/etc/bbagent/bbagent.yaml", "bazbeans-ctl": ""}

// contents are files that each package must have, beside its copyright and changelog.
var contents = map[string][]string{
	"bazbeans-lbd": {"/usr/bin/lbd", "/usr/lib/systemd/system/lbd.service", "/usr/share/man/man8/lbd.8.gz", "/etc/lbd/templates/",
		"/usr/share/doc/bazbeans-lbd/templates/upstream.conf.tmpl", "/usr/share/doc/bazbeans-lbd/lbd.md", "/usr/share/doc/bazbeans-lbd/grafana/lbd.json"},
	"bazbeans-agent": {"/usr/bin/bbagent", "/usr/lib/systemd/system/bbagent.service", "/usr/share/man/man8/bbagent.8.gz"},
	"bazbeans-ctl": {"/usr/bin/bbctl", "/usr/share/man/man1/bbctl.1.gz", "/usr/share/man/man1/bbctl-freeze.1.gz", "/usr/share/bash-completion/completions/bbctl",
		"/usr/share/zsh/vendor-completions/_bbctl", "/usr/share/fish/vendor_completions.d/bbctl.fish"},
}

// checkDebs holds the packages against what Debian's policy asks for, without installing them.
func checkDebs(t *testing.T, dir string) {
	for name, conffile := range conffiles {
		for arch := range machines {
			deb := files(t, dir, name+"_*_"+arch+".deb")[0]
			control := command(t, "dpkg-deb", "--field", deb)
			for _, want := range []string{"Package: " + name, "Version: " + first, "Architecture: " + arch, "Maintainer: BazBeans maintainers <",
				"Installed-Size: ", "Section: ", "Priority: optional", "Homepage: https://"} {
				if !strings.Contains(control, want) {
					t.Errorf("%s: no %q in\n%s", deb, want, control)
				}
			}
			synopsis := regexp.MustCompile(`(?m)^Description: (.*)\n (.*)`).FindStringSubmatch(control)
			if synopsis == nil || len(synopsis[1]) > 80 || strings.HasSuffix(synopsis[1], ".") || strings.TrimSpace(synopsis[2]) == "" {
				t.Errorf("%s: description %q", deb, synopsis)
			}
			root := t.TempDir()
			command(t, "dpkg-deb", "--raw-extract", deb, root)
			if conffile == "" {
				if got, _ := filepath.Glob(root + "/DEBIAN/conffiles"); len(got) > 0 {
					t.Errorf("%s has conffiles", deb)
				}
			} else if got := read(t, root+"/DEBIAN/conffiles"); strings.TrimSpace(got) != conffile {
				t.Errorf("%s: conffiles %q", deb, got)
			}
			command(t, "sh", "-ec", `cd "$0" && md5sum --quiet --check DEBIAN/md5sums`, root)
			list := command(t, "dpkg-deb", "--contents", deb)
			for _, want := range append(contents[name], "/usr/share/doc/"+name+"/copyright", "/usr/share/doc/"+name+"/changelog.gz", "/usr/share/doc/"+name+"/THIRD-PARTY-LICENSES.gz") {
				if !strings.Contains(list, " ."+want+"\n") {
					t.Errorf("%s has no %s", deb, want)
				}
			}
			for line := range strings.Lines(list) {
				if f := strings.Fields(line); f[1] != "root/root" || strings.Contains(f[0][4:], "w") && f[0][0] != 'l' && (f[0][5] == 'w' || f[0][8] == 'w') || f[3] != "2023-11-14" {
					t.Errorf("%s: %s", deb, line)
				}
			}
			for _, program := range files(t, root, "usr/bin/*") {
				checkProgram(t, program, arch)
			}
			if log := command(t, "gzip", "-cd", root+"/usr/share/doc/"+name+"/changelog.gz"); !strings.HasPrefix(log, name+" ("+first+") ") {
				t.Errorf("%s: changelog %.100s", deb, log)
			}
		}
	}
}
