package render

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
)

// Trace is what a template writes, checked by nobody, and where each line of it comes from: for people who look for a
// fault.
type Trace struct {
	Text  []byte // Header and what the template wrote, up to its fault if there is one
	Lines []int  // for each line of Text the line of the template that began it; 0: none did
}

// Trace executes the view's template as Render does, and returns as much as it wrote. A template that can't be read or
// parsed has written nothing.
func (s *Set) Trace(v View) Trace {
	src, ok := s.sources[v.template]
	if !ok || src.tmpl == nil {
		return Trace{}
	}
	out := output{room: 2 * maxOutput} // the marks take room as well
	_ = marked(src).Execute(&out, v)   // Render tells what is wrong
	t := unmark(out.Bytes())
	t.Text = append([]byte(Header), t.Text...)
	t.Lines = append(make([]int, strings.Count(Header, "\n")), t.Lines...)
	return t
}

// Text returns the template of that name as it was read; "" when there is none.
func (s *Set) Text(name string) string { return s.sources[name].text }

// mark begins and ends a line number in the output of a marked template. No configuration holds this byte.
const mark = '\x00'

// marked is a copy of the template that writes, before all that it writes, the number of the line that it stands on.
func marked(src source) *template.Template {
	copied := template.New(src.tmpl.Name()).Funcs(functions).Option("missingkey=error")
	for _, t := range src.tmpl.Templates() {
		tree := t.Tree.Copy()
		markList(tree.Root, src.text)
		if _, err := copied.AddParseTree(t.Name(), tree); err != nil {
			return src.tmpl
		}
	}
	return copied
}

func markList(list *parse.ListNode, text string) {
	if list == nil {
		return
	}
	var nodes []parse.Node
	for _, n := range list.Nodes {
		line := 1 + strings.Count(text[:min(int(n.Position()), len(text))], "\n")
		nodes = append(nodes, markOf(line))
		switch n := n.(type) {
		case *parse.TextNode:
			// White space is trimmed off its ends alone, so its lines are those of the file.
			for i, l := range bytes.SplitAfter(n.Text, []byte("\n")) {
				if i > 0 {
					nodes = append(nodes, markOf(line+i))
				}
				nodes = append(nodes, &parse.TextNode{NodeType: parse.NodeText, Text: l})
			}
			continue
		case *parse.IfNode:
			markList(n.List, text)
			markList(n.ElseList, text)
		case *parse.RangeNode:
			markList(n.List, text)
			markList(n.ElseList, text)
		case *parse.WithNode:
			markList(n.List, text)
			markList(n.ElseList, text)
		}
		nodes = append(nodes, n)
	}
	list.Nodes = nodes
}

func markOf(line int) parse.Node {
	return &parse.TextNode{NodeType: parse.NodeText, Text: fmt.Appendf(nil, "%c%d%c", mark, line, mark)}
}

// unmark takes the marks out again. A line comes from where its first visible character does.
func unmark(text []byte) Trace {
	var t Trace
	now, begun := 0, false
	for len(text) > 0 {
		c := text[0]
		text = text[1:]
		if number, rest, ok := bytes.Cut(text, []byte{mark}); c == mark && ok {
			now, _ = strconv.Atoi(string(number)) // markOf wrote it
			text = rest
			continue
		}
		t.Text = append(t.Text, c)
		if !begun && (c > ' ' || c == '\n') {
			t.Lines = append(t.Lines, now)
			begun = true
		}
		if c == '\n' {
			begun = false
		}
	}
	if len(t.Text) > 0 && t.Text[len(t.Text)-1] != '\n' {
		t.Text = append(t.Text, '\n')
		if !begun {
			t.Lines = append(t.Lines, now)
		}
	}
	return t
}
