package nginx

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bazbeans/bazbeans/step"
)

// shadow is a second main configuration file that reads the same files as the first one, but for the differing
// outputs, which are read from where they are staged. Only the files on the way to them are copied, and in the
// copies only the include statements differ.
type shadow struct {
	state   string // StateDir
	dir     string // in it, holds the copies of included files; "" as long as there are none
	conf    string // what to give to nginx -c
	main    string // the copy of the main file, to be removed; "" when there is none
	paths   map[*source]string
	names   []string // path in the test, path that the operator knows, and so on: for strings.NewReplacer
	markers []marker
}

// marker is what `nginx -T` prints if it has read the staged output.
type marker struct {
	out  *output
	text []byte
}

const shadowMark = "shadow-" // in StateDir

// newShadow writes the copies for t. When nothing differs the shadow is the configuration itself.
func (n *Nginx) newShadow(t *tree) (*shadow, error) {
	sh := &shadow{state: n.opt.StateDir, conf: t.main.name, paths: map[*source]string{}}
	if !t.main.leads {
		return sh, nil
	}
	data, err := sh.rewritten(t.main)
	if err == nil {
		err = sh.writeMain(t.main.name, data)
	}
	if err != nil {
		sh.remove()
		return nil, err
	}
	return sh, nil
}

// path returns where the test reads s; it writes the copy if there must be one.
func (sh *shadow) path(s *source) (string, error) {
	if path, ok := sh.paths[s]; ok {
		return path, nil
	}
	sh.paths[s] = s.name // until we know better: a cycle of includes ends here, and Nginx refuses it anyway
	path, data := s.name, s.data
	ours := s.out != nil && s.out.differs()
	switch {
	case ours && s.out.Remove:
		path = filepath.Join(sh.state, shadowMark+"removed", filepath.Base(s.name)) // not there, as it will be
	case s.leads:
		var err error
		if data, err = sh.rewritten(s); err != nil {
			return "", err
		}
		if path, err = sh.write(s.name, data); err != nil {
			return "", step.Errorf(step.Test, wayOut(err, filepath.Join(sh.state, shadowMark)), "copy %s for the test: %w", s.name, nameless(err))
		}
	case ours:
		path = s.out.staged
	}
	if path != s.name {
		sh.paths[s] = path
		name := s.name
		if s.out != nil {
			name = s.out.Path
		}
		sh.names = append(sh.names, path, name)
	}
	if ours && !s.out.Remove {
		header := "# configuration file " + path + ":\n"
		sh.markers = append(sh.markers, marker{s.out, append([]byte(header), data...)})
	}
	return path, nil
}

// write makes the copy of an included file. Relative includes in it start at the main file's folder wherever it is.
func (sh *shadow) write(name string, data []byte) (path string, err error) {
	if sh.dir == "" {
		if sh.dir, err = os.MkdirTemp(sh.state, shadowMark); err != nil {
			return "", err
		}
	}
	path = filepath.Join(sh.dir, strconv.Itoa(len(sh.paths))+"-"+filepath.Base(name))
	return path, writeNew(path, data)
}

// rewritten returns the text of s with the include statements that lead to outputs naming the files of the test.
// Lines keep their numbers.
func (sh *shadow) rewritten(s *source) ([]byte, error) {
	var b bytes.Buffer
	at := 0
	for _, inc := range s.includes {
		if !inc.leads() {
			continue
		}
		b.Write(s.data[at:inc.start])
		for _, target := range inc.targets {
			path, err := sh.path(target)
			if err != nil {
				return nil, err
			}
			if !inc.literal {
				path = escapeGlob(path)
			}
			b.WriteString(`include "` + quoter.Replace(path) + `";`)
		}
		at = inc.end
		b.WriteString(strings.Repeat("\n", bytes.Count(s.data[inc.start:at], []byte{'\n'})))
	}
	b.Write(s.data[at:])
	return b.Bytes(), nil
}

// quoter escapes what Nginx would not take for itself between double quotes.
var quoter = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// writeMain puts the copy of the main file where relative includes in it mean the same: into the folder of the
// main file. Where lbd may not write there, a link made once, .nginx.conf.lbd, leads to a place where it may.
func (sh *shadow) writeMain(conf string, data []byte) error {
	dir, base := filepath.Split(conf)
	link := dir + "." + base + ".lbd"
	sh.main, sh.conf = dotName(conf), ""
	if target, err := os.Readlink(link); err == nil {
		if !filepath.IsAbs(target) {
			target = dir + target
		}
		// What a killed lbd left there goes; anything else is not ours to remove.
		if info, err := os.Stat(target); err == nil {
			own, confErr := os.Stat(conf)
			if confErr == nil && os.SameFile(info, own) || info.Mode() != 0o600 {
				return step.Errorf(step.Test, "let it lead to a file of its own in a folder of lbd's, one that need not exist",
					"the link %s leads to %s, which is no copy that lbd made", link, target)
			}
			_ = os.Remove(target) // if it stays, the copy says why it can't be made
		}
		sh.main, sh.conf = target, link
	} else {
		sh.conf = sh.main
	}
	sh.names = append(sh.names, sh.conf, conf)
	if err := writeNew(sh.main, data); err != nil {
		hint := "let lbd write in " + dir + ", or make once a link from " + link + " to a file in a folder of lbd's"
		return step.Errorf(step.Test, hint, "copy %s for the test: %w", conf, nameless(err))
	}
	return nil
}

// writeNew writes a file that only we can read: the operator's configuration may hold secrets.
func writeNew(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(data); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// remove is for the copies what discard is for the staged files.
func (sh *shadow) remove() {
	if sh.dir != "" {
		_ = os.RemoveAll(sh.dir) // what stays is swept by the next lbd
	}
	if sh.main != "" {
		_ = os.Remove(sh.main)
	}
}
