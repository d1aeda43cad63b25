package ngxconf

import (
	"errors"
	"io"
	"slices"
)

// Statement is words ended by ";" or by a block. In the body of a map, geo, types or upstream every entry is a
// statement as well.
type Statement struct {
	Words      []Token // at least one
	Start, End int     // from the first word to behind the ";" or the "}"
	Line       int     // of the first word
	HasBlock   bool
	Block      []Statement // nil for an empty block and for the body of a *_by_lua_block
}

// Name is the value of the first word.
func (s *Statement) Name() string { return s.Words[0].Text }

// Parse reads the whole of src. Braces must match and statements must be complete, else the error is a
// *SyntaxError; what the statements mean is not looked at.
func Parse(src []byte) ([]Statement, error) {
	type frame struct {
		list  []Statement
		owner Statement // the statement whose block list is
	}
	var (
		lex   = NewLexer(src)
		stack []frame // the enclosing blocks: a slice, so that hostile nesting cannot exhaust the goroutine's stack
		list  []Statement
		words []Token // of the statement that is being read; used again and again
	)
	for {
		tok, err := lex.Next()
		if errors.Is(err, io.EOF) {
			if len(stack) > 0 {
				return nil, &SyntaxError{Line: lex.line, Msg: `unexpected end of file, expecting "}"`}
			}
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch tok.Kind {
		case Word:
			words = append(words, tok)
		case Semicolon:
			list = append(list, Statement{Words: slices.Clone(words), Start: words[0].Start, End: tok.End, Line: words[0].Line})
			words = words[:0]
		case Open:
			owner := Statement{Words: slices.Clone(words), Start: words[0].Start, Line: words[0].Line, HasBlock: true}
			stack = append(stack, frame{list, owner})
			list, words = nil, words[:0]
		case Close:
			if len(stack) == 0 {
				return nil, &SyntaxError{Line: tok.Line, Msg: `unexpected "}"`}
			}
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			top.owner.Block, top.owner.End = list, tok.End
			list = append(top.list, top.owner)
		}
	}
}
