package lbd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/kballard/go-shellquote"
	"golang.org/x/sys/unix"

	"github.com/bazbeans/bazbeans/lbd/nginx"
)

// checkOutputs looks at each place that lbd writes to.
func (d *doctor) checkOutputs(context.Context) {
	if d.site == nil {
		return
	}
	for _, o := range d.site.Outputs {
		d.checkIncluded(o)
		d.checkPlace(o)
	}
}

func (d *doctor) checkIncluded(o nginx.Output) {
	at := d.site.Reached[o.Path]
	var wrong []nginx.Context
	for _, c := range at {
		if !slices.Equal(c, nginx.Context{"http"}) {
			wrong = append(wrong, c)
		}
	}
	http := d.http()
	switch {
	case o.Err != nil: // said by checkPlace
	case len(at) == 0:
		d.add(finding{Code: "output-included", Level: levelProblem, What: fmt.Sprintf("no include statement of %s leads to %s", d.site.Conf, o.Path),
			Means: "Nginx would never read what lbd writes, so lbd refuses to.",
			Where: inside(http), Fix: "include " + o.Path + ";"})
	case len(wrong) > 0:
		d.add(finding{Code: "output-included", Level: levelProblem, What: fmt.Sprintf("%s is included in %s", o.Path, wrong[0]),
			Means: "An upstream may stand right inside http {} only: take that include away, and put this one there.",
			Where: inside(http), Fix: "include " + o.Path + ";"})
	case len(at) > 1:
		d.add(finding{Code: "output-included", Level: levelProblem, What: fmt.Sprintf("%s is included %d times", o.Path, len(at)),
			Means: "Nginx refuses an upstream that is defined twice: take all includes but one away."})
	default:
		d.ok("output-included", "%s is included in http {}", o.Path)
	}
}

func (d *doctor) checkPlace(o nginx.Output) {
	folder := filepath.Dir(o.Path)
	switch {
	case o.Err != nil:
		d.add(finding{Code: "output-place", Level: levelProblem, What: fmt.Sprintf("%s: %v", o.Path, o.Err), Means: "lbd can't write there."})
		return
	case o.Mount:
		d.add(finding{Code: "output-mount", Level: levelProblem, What: o.Path + " is a mount point of its own",
			Means: "A file that is mounted alone can't be replaced in one step: mount its folder instead.",
			Where: "where the container is started", Fix: fmt.Sprintf("-v /srv/lbd:%s    # not …:%s", folder, o.Path)})
	case o.Real != "" && o.Real != filepath.Clean(o.Path):
		folder = filepath.Dir(o.Real)
		d.add(finding{Code: "output-link", Level: levelNote, What: fmt.Sprintf("%s leads to %s", o.Path, o.Real),
			Means: "The link stays; lbd replaces the file that it leads to, and writes in that file's folder."})
	}
	if o.Folder == nil {
		d.ok("output-folder", "files can be made in %s", folder)
		d.checkSpace("output-space", folder)
		return
	}
	f := finding{Code: "output-folder", Level: levelProblem, What: fmt.Sprint(o.Folder), Means: "lbd makes its file there under another name first, and renames it."}
	f.Where, f.Fix = d.opening(o.Folder, folder)
	d.add(f)
}

// opening says how a folder comes to be one in which lbd can write.
func (d *doctor) opening(err error, dir string) (where, fix string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return inShell, "mkdir -p " + shellquote.Join(dir)
	case errors.Is(err, syscall.EROFS):
		return "in the unit of lbd (systemctl edit lbd), if that is what makes it read-only", "[Service]\nReadWritePaths=" + dir
	case errors.Is(err, fs.ErrPermission):
		return inShell, fmt.Sprintf("chown %s %s    # or run lbd as root", userName(d.uid), shellquote.Join(dir))
	}
	return "", ""
}

// Rooms on a file system, in bytes: a generation of 1,000 servers has some 60 kB, and several are kept.
const (
	tooLittle = 4 << 20
	enough    = 64 << 20
)

func (d *doctor) checkSpace(code, dir string) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return
	}
	free := int64(st.Bavail) * st.Bsize
	says := fmt.Sprintf("%d MiB are free in %s", free>>20, dir)
	if st.Files > 0 && st.Ffree < 100 {
		free, says = 0, fmt.Sprintf("%d inodes are free in %s", st.Ffree, dir)
	}
	f := finding{Code: code, Level: levelWarning, What: says, Means: "When nothing is free lbd can't change files any more nor remember what is served, so no drain counts as done; and Nginx can't write its temporary files.",
		Where: inShell, Fix: "du -xh " + shellquote.Join(dir) + " | sort -h | tail    # see what can go"}
	switch {
	case free < tooLittle:
		f.Level = levelProblem
		d.add(f)
	case free < enough:
		d.add(f)
	default:
		d.ok(code, "%s", says)
	}
}
