package nginx

import (
	"slices"
	"strings"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// Directive is one statement of the configuration as Nginx reads it: includes are followed, and what they bring
// stands in their place.
type Directive struct {
	Name   string
	Args   []string
	Block  []*Directive // of a block
	Lua    string       // the code of a *_by_lua_block
	Parent *Directive   // nil in the main context
	File   string       // where it stands, as Nginx would name it
	Line   int
	Ours   bool // File is one of our files
}

// Context is where the directive stands.
func (d *Directive) Context() Context {
	var c Context
	for p := d.Parent; p != nil; p = p.Parent {
		c = append(c, p.Name)
	}
	slices.Reverse(c)
	return c
}

// Within tells whether the directive stands in a block of that name, however deep.
func (d *Directive) Within(name string) bool {
	for p := d.Parent; p != nil; p = p.Parent {
		if p.Name == name {
			return true
		}
	}
	return false
}

// Arg returns argument i, "" when there are fewer.
func (d *Directive) Arg(i int) string {
	if i < len(d.Args) {
		return d.Args[i]
	}
	return ""
}

// String is the directive as it may be written, without its block.
func (d *Directive) String() string { return strings.Join(append([]string{d.Name}, d.Args...), " ") }

// Each calls f for every directive of the configuration, blocks before what they hold.
func (in *Inspection) Each(f func(*Directive)) {
	var each func([]*Directive)
	each = func(list []*Directive) {
		for _, d := range list {
			f(d)
			each(d.Block)
		}
	}
	each(in.Main)
}

// Named returns all directives of a name.
func (in *Inspection) Named(name string) (found []*Directive) {
	in.Each(func(d *Directive) {
		if d.Name == name {
			found = append(found, d)
		}
	})
	return found
}

// Holding returns the directives of a name that hold for what stands beside or in d's place: those of the innermost
// block around d that has any. That is how Nginx inherits nearly everything of its proxy module: a block's own lines
// replace the outer ones of that name, all of them.
func (in *Inspection) Holding(d *Directive, name string) []*Directive {
	for p := d.Parent; ; p = p.Parent {
		list := in.Main
		if p != nil {
			list = p.Block
		}
		var found []*Directive
		for _, other := range list {
			if other.Name == name {
				found = append(found, other)
			}
		}
		if found != nil || p == nil {
			return found
		}
	}
}

// expansion makes Directives of a tree.
type expansion struct {
	in   *Inspection
	open []*source // the files that are being read: a cycle of includes ends here, and Nginx refuses it
}

func (e *expansion) source(s *source, parent *Directive) []*Directive {
	if slices.Contains(e.open, s) {
		return nil
	}
	e.open = append(e.open, s)
	defer func() { e.open = e.open[:len(e.open)-1] }()
	if s.out != nil {
		at := &Directive{Parent: parent}
		e.in.Reached[s.out.Path] = append(e.in.Reached[s.out.Path], at.Context())
	}
	return e.statements(s, s.stmts, parent)
}

func (e *expansion) statements(s *source, stmts []ngxconf.Statement, parent *Directive) (list []*Directive) {
	for i := range stmts {
		st := &stmts[i]
		if inc := s.include(st); inc != nil {
			for _, target := range inc.targets {
				list = append(list, e.source(target, parent)...)
			}
			continue
		}
		d := &Directive{Name: st.Name(), Parent: parent, File: s.name, Line: st.Line, Ours: s.out != nil}
		for _, w := range st.Words[1:] {
			d.Args = append(d.Args, w.Text)
		}
		d.Block = e.statements(s, st.Block, d)
		if st.HasBlock && strings.HasSuffix(d.Name, "_by_lua_block") {
			d.Lua = string(s.data[st.Words[len(st.Words)-1].End:st.End])
		}
		list = append(list, d)
	}
	return list
}

// include returns what the walk found of an include statement, nil for any other.
func (s *source) include(st *ngxconf.Statement) *include {
	i, found := slices.BinarySearchFunc(s.includes, st.Start, func(inc include, at int) int { return inc.start - at })
	if !found || st.HasBlock {
		return nil
	}
	return &s.includes[i]
}
