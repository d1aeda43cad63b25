package harness

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// notes says once what holds for many rows.
func (r *runner) notes(plays []*play) {
	without := map[string]bool{}
	written, whole := 0, len(r.opt.Only)+len(r.opt.Skip) == 0
	names := map[string]map[string]bool{}
	for _, p := range plays {
		switch p.verdict {
		case goldenWritten:
			written++
		case "":
			if p.only() != nil && !p.derived && p.engine == engineReload {
				without[p.template] = true
			}
		}
		if names[p.template] == nil {
			names[p.template] = map[string]bool{}
		}
		names[p.template][p.name] = true
	}
	for _, template := range slices.Sorted(maps.Keys(names)) {
		if without[template] && !r.opt.Golden.shipped {
			r.note(fmt.Sprintf("%s has no golden files in %s: nothing was compared (--update writes them)", template, r.opt.Golden.dir))
		}
		if whole {
			for _, file := range r.opt.Golden.stale(template, names[template]) {
				r.note(file + " is a golden file of no case: remove it")
			}
		}
	}
	for _, text := range slices.Sorted(maps.Keys(r.warnings)) {
		r.note(fmt.Sprintf("%s (%s)", text, listed(r.warnings[text])))
	}
	if r.opt.Golden.update {
		r.note(fmt.Sprintf("%d golden files were written below %s", written, r.opt.Golden.dir))
	}
}

func (r *runner) note(text string) {
	if !slices.Contains(r.report.Notes, text) {
		r.report.Notes = append(r.report.Notes, text)
	}
}

// warn keeps a warning of `nginx -t`: the same ones mostly come with many cases.
func (r *runner) warn(n *Nginx, text string, p *play) {
	text = "nginx " + n.Version + " warns: " + strings.TrimPrefix(text, "[warn] ")
	r.warnings[text] = append(r.warnings[text], p.template+" × "+p.name)
}
