package lbd

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"
)

// checkSystemd looks at the units of Nginx and lbd, where there is a systemd.
func (d *doctor) checkSystemd(ctx context.Context) {
	nginx, err := unit(ctx, "nginx")
	if err != nil {
		return // no systemd here, as in a container
	}
	lbd, _ := unit(ctx, "lbd")
	switch running := d.site != nil && d.site.Master != nil; {
	case nginx["LoadState"] != "loaded":
	case running && nginx["ActiveState"] != "active" && nginx["ActiveState"] != "reloading":
		d.add(finding{Code: "nginx-unit", Level: levelWarning, What: "Nginx runs, but nginx.service is " + nginx["ActiveState"],
			Means: "It was started by hand: systemd does not restart it, and a start of the unit fails on taken ports.",
			Where: inShell, Fix: "nginx -s quit && systemctl start nginx"})
	case nginx["UnitFileState"] == "disabled":
		d.add(finding{Code: "nginx-unit", Level: levelWarning, What: "nginx.service is not enabled", Means: "After a reboot Nginx stays down.",
			Where: inShell, Fix: "systemctl enable nginx"})
	default:
		d.ok("nginx-unit", "nginx.service is %s", nginx["ActiveState"])
	}
	if lbd["LoadState"] != "loaded" {
		d.add(finding{Code: "lbd-unit", Level: levelNote, What: "there is no lbd.service", Means: "Somebody else must start lbd after a reboot."})
		return
	}
	switch {
	case lbd["UnitFileState"] == "disabled":
		d.add(finding{Code: "lbd-unit", Level: levelWarning, What: "lbd.service is not enabled", Means: "After a reboot nobody follows the pool.",
			Where: inShell, Fix: "systemctl enable lbd"})
	case !slices.Contains(strings.Fields(lbd["After"]+" "+lbd["Before"]), "nginx.service") && nginx["LoadState"] == "loaded":
		d.add(finding{Code: "lbd-unit", Level: levelNote, What: "lbd.service and nginx.service are in no order",
			Means: "At boot lbd may find Nginx down and install without a reload; it mends that at its next resync.",
			Where: "with systemctl edit lbd", Fix: "[Unit]\nAfter=nginx.service"})
	default:
		d.ok("lbd-unit", "lbd.service is %s", lbd["ActiveState"])
	}
	d.checkSandbox(lbd)
}

// checkSandbox compares what the unit lets lbd write with where it must. The doctor itself runs outside of it.
func (d *doctor) checkSandbox(unit map[string]string) {
	if as := cmp.Or(unit["User"], "root"); as != userName(d.uid) && as != strconv.Itoa(d.uid) {
		d.add(finding{Code: "unit-user", Level: levelNote, What: fmt.Sprintf("lbd.service runs as %s, the doctor as %s", as, userName(d.uid)),
			Means: "What is said here of rights holds for the latter.", Where: "to see it as lbd does", Fix: "sudo -u " + shellquote.Join(as) + " lbd doctor"})
	}
	var closed []string
	for _, dir := range d.writes() {
		if protected(unit, dir) && !slices.Contains(closed, dir) {
			closed = append(closed, dir)
		}
	}
	if closed != nil {
		d.add(finding{Code: "unit-paths", Level: levelProblem, What: "lbd.service may not write in " + strings.Join(closed, ", "),
			Means: "In the unit these folders are read-only, whatever their modes are.",
			Where: "with systemctl edit lbd", Fix: "[Service]\nReadWritePaths=" + strings.Join(closed, " ")})
	} else {
		d.ok("unit-paths", "lbd.service may write where it must")
	}
}

// writes lists the folders that lbd writes in.
func (d *doctor) writes() []string {
	dirs := []string{d.l.cfg.StateDir}
	if d.site == nil {
		return dirs
	}
	for _, o := range d.site.Outputs {
		dirs = append(dirs, filepath.Dir(cmp.Or(o.Real, o.Path)))
	}
	return append(dirs, filepath.Dir(d.site.Conf)) // the copy for the test
}

// protected tells whether ProtectSystem closes a folder that nothing opens again.
func protected(unit map[string]string, dir string) bool {
	opened := strings.Fields(unit["ReadWritePaths"])
	for _, name := range strings.Fields(unit["StateDirectory"]) {
		opened = append(opened, "/var/lib/"+name)
	}
	if slices.ContainsFunc(opened, func(path string) bool { return below(dir, strings.TrimLeft(path, "-+")) }) {
		return false
	}
	switch unit["ProtectSystem"] {
	case "strict":
		return !below(dir, "/dev") && !below(dir, "/proc") && !below(dir, "/sys")
	case "full":
		return below(dir, "/usr") || below(dir, "/boot") || below(dir, "/etc")
	case "yes", "true":
		return below(dir, "/usr") || below(dir, "/boot")
	}
	return false
}

func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimRight(dir, "/")+"/")
}

// unit returns what systemd says of a service.
func unit(ctx context.Context, name string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", name+".service", "--property=LoadState,ActiveState,UnitFileState,After,Before,User,ProtectSystem,ReadWritePaths,StateDirectory").Output()
	if err != nil {
		return nil, err
	}
	said := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if key, value, found := strings.Cut(strings.TrimSpace(line), "="); found {
			said[key] = value
		}
	}
	return said, nil
}
