package nginx

import (
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// tree is Nginx's configuration as its include statements connect it, with the outputs as they are wanted.
type tree struct {
	dir     string // what Nginx puts before a relative include: the folder of the main file, as named
	outs    []*output
	main    *source
	sources map[string]*source // by name
	globs   map[string]globbed
	reached map[*output]bool
	broken  *source // the first one that cannot be read or parsed, if any
}

// source is one file of the configuration.
type source struct {
	name     string // absolute, as Nginx would name it
	id       fileID // when it was read
	data     []byte
	stmts    []ngxconf.Statement
	err      error
	out      *output // the output that it is
	includes []include
	leads    bool // a differing output is below it, so that the test needs a copy of it
}

// include is one include statement.
type include struct {
	start, end int  // in data
	literal    bool // the name is no pattern, whatever it looks like
	dropped    bool // an output that is to be removed is not among the targets
	targets    []*source
}

// globbed is what a pattern gives; see glob.
type globbed struct {
	names   []string
	dropped bool
}

// leads tells whether the test must read other files than the statement says.
func (inc *include) leads() bool {
	return inc.dropped || slices.ContainsFunc(inc.targets, func(s *source) bool {
		return s.leads || s.out != nil && s.out.differs()
	})
}

// walk reads the configuration from the main file conf on. It never fails: where a file cannot be read, the tree
// ends there, and Nginx will say why.
func walk(conf string, outs []*output) *tree {
	t := &tree{
		dir: conf[:strings.LastIndexByte(conf, '/')+1], outs: outs,
		sources: map[string]*source{}, globs: map[string]globbed{}, reached: map[*output]bool{},
	}
	t.main = t.visit(conf)
	return t
}

func (t *tree) visit(name string) *source {
	if s, ok := t.sources[name]; ok {
		return s // also ends a cycle of includes, which Nginx refuses
	}
	s := &source{name: name}
	t.sources[name] = s
	t.read(s)
	if s.err == nil {
		s.stmts, s.err = ngxconf.Parse(s.data)
	}
	if s.err != nil && t.broken == nil {
		t.broken = s
	}
	t.follow(s, s.stmts, false)
	return s
}

// read sets data, or err; an output has the content that is wanted.
func (t *tree) read(s *source) {
	file, err := os.OpenFile(s.name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hang us
	if err == nil {
		defer file.Close()
		if info, err := file.Stat(); err == nil {
			s.id = idOf(info)
		}
	}
	if s.out = t.output(s); s.out != nil {
		t.reached[s.out] = true
		if s.out.differs() {
			s.data = s.out.Data
			if s.out.Remove {
				s.err = os.ErrNotExist
			}
			return
		}
	}
	if err != nil {
		s.err = err
		return
	}
	s.data, s.err = io.ReadAll(file)
}

// output returns the output that s names, nil when it is none of ours. It goes by the place alone: where nobody has the
// lock, another file may have been put there since the output was looked at.
func (t *tree) output(s *source) *output {
	if len(t.outs) == 0 {
		return nil
	}
	real, err := resolve(s.name)
	if err != nil {
		return nil
	}
	if i := slices.IndexFunc(t.outs, func(o *output) bool { return o.real == real }); i >= 0 {
		return t.outs[i]
	}
	return nil
}

func (t *tree) follow(s *source, stmts []ngxconf.Statement, geo bool) {
	for i := range stmts {
		st := &stmts[i]
		if st.HasBlock {
			t.follow(s, st.Block, st.Name() == "geo")
			continue
		}
		if st.Name() != "include" || len(st.Words) != 2 {
			continue
		}
		// Nginx gives the name to open(2) as a C string.
		name, _, _ := strings.Cut(under(t.dir, st.Words[1].Text), "\x00")
		inc := include{start: st.Start, end: st.End, literal: geo} // geo{} opens what it is told
		if hasMeta(name) && !geo {
			found, ok := t.globs[name]
			if !ok {
				found.names, found.dropped = glob(name, t.outs)
				t.globs[name] = found
			}
			inc.dropped = found.dropped
			for _, name := range found.names {
				inc.targets = append(inc.targets, t.visit(name))
			}
		} else {
			inc.targets = []*source{t.visit(name)}
		}
		s.leads = s.leads || inc.leads()
		s.includes = append(s.includes, inc)
	}
}

// unchanged tells whether every file and glob of the tree, the outputs aside, is on disk what it was when the walk
// read it: then what Nginx tested is what it will read. Asked once the outputs are in place.
func (t *tree) unchanged() bool {
	for _, s := range t.sources {
		if s.out != nil {
			continue
		}
		info, err := os.Stat(s.name)
		if err != nil || idOf(info) != s.id {
			return false
		}
	}
	for pattern, found := range t.globs {
		if names, _ := glob(pattern, nil); !slices.Equal(names, found.names) {
			return false
		}
	}
	return true
}

// mainly calls f for each statement in the main context, those of included files too, in Nginx's order.
func (t *tree) mainly(f func(*ngxconf.Statement)) {
	seen := map[*source]bool{}
	var each func(*source)
	each = func(s *source) {
		if seen[s] {
			return
		}
		seen[s] = true
		next := 0
		for i := range s.stmts {
			st := &s.stmts[i]
			for next < len(s.includes) && s.includes[next].start < st.Start {
				next++
			}
			if next < len(s.includes) && s.includes[next].start == st.Start {
				for _, target := range s.includes[next].targets {
					each(target)
				}
				continue
			}
			if !st.HasBlock {
				f(st)
			}
		}
	}
	each(t.main)
}
