package lbd

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"time"
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
	switch {
	case lbd["LoadState"] != "loaded":
		d.add(finding{Code: "lbd-unit", Level: levelNote, What: "there is no lbd.service", Means: "Somebody else must start lbd after a reboot."})
	case lbd["UnitFileState"] == "disabled":
		d.add(finding{Code: "lbd-unit", Level: levelWarning, What: "lbd.service is not enabled", Means: "After a reboot nobody follows the pool.",
			Where: inShell, Fix: "systemctl enable lbd"})
	case !slices.Contains(strings.Fields(lbd["After"]), "nginx.service") && nginx["LoadState"] == "loaded":
		d.add(finding{Code: "lbd-unit", Level: levelNote, What: "lbd.service is not ordered after nginx.service",
			Means: "At boot lbd may find Nginx down and install without a reload; it mends that at its next resync.",
			Where: "with systemctl edit lbd", Fix: "[Unit]\nAfter=nginx.service"})
	default:
		d.ok("lbd-unit", "lbd.service is %s", lbd["ActiveState"])
	}
}

// unit returns what systemd says of a service.
func unit(ctx context.Context, name string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", name+".service", "--property=LoadState,ActiveState,UnitFileState,After").Output()
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
