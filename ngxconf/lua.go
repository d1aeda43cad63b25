package ngxconf

import "bytes"

// luaBody skips the body of a *_by_lua_block and returns the "}" that ends it. Braces count unless they stand in
// a Lua string, long bracket or comment; the rules are those of ngx_http_lua_lex, the lexer of lua-nginx-module.
func (l *Lexer) luaBody() (Token, error) {
	unfinished := l.fail(l.line, "unexpected end of file, expecting terminating characters for lua code block")
	depth := 1
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		skip := 1
		switch {
		case rest[0] == '{':
			depth++
		case rest[0] == '}':
			depth--
		case bytes.HasPrefix(rest, []byte("--")):
			skip = luaComment(rest)
		case rest[0] == '[':
			if n := luaLong(rest); n != 0 {
				skip = n
			}
		case rest[0] == '"' || rest[0] == '\'':
			skip = luaString(rest)
		}
		if skip < 0 {
			return Token{}, unfinished
		}
		l.line += bytes.Count(rest[:skip], []byte{'\n'})
		l.pos += skip
		if depth == 0 {
			return l.end(Close), nil
		}
	}
	return Token{}, unfinished
}

// LuaCode returns Lua source without its comments.
func LuaCode(src []byte) []byte {
	var code []byte
	for len(src) > 0 {
		skip, comment := 1, bytes.HasPrefix(src, []byte("--"))
		switch {
		case comment:
			skip = luaComment(src)
		case src[0] == '[':
			skip = luaLong(src)
		case src[0] == '"' || src[0] == '\'':
			skip = luaString(src)
		}
		switch {
		case comment && skip < 0:
			return code // it ends with the source
		case comment:
			code = append(code, '\n')
		default:
			skip = max(skip, 1)
			code = append(code, src[:skip]...)
		}
		src = src[skip:]
	}
	return code
}

// luaComment returns the length of the comment at the start of s, which begins with "--"; -1 when it has no end.
func luaComment(s []byte) int {
	if n := luaLong(s[2:]); n > 0 {
		return 2 + n
	} else if n < 0 {
		return -1
	}
	end := bytes.IndexByte(s, '\n')
	if end < 0 {
		return -1
	}
	return end + 1
}

// luaLong returns the length of the long bracket ("[[…]]", "[==[…]==]") at the start of s, 0 when there is none,
// -1 when it has no end.
func luaLong(s []byte) int {
	if len(s) == 0 || s[0] != '[' {
		return 0
	}
	level := 0
	for 1+level < len(s) && s[1+level] == '=' {
		level++
	}
	if 1+level >= len(s) || s[1+level] != '[' {
		return 0
	}
	shut := append(append([]byte{']'}, bytes.Repeat([]byte{'='}, level)...), ']')
	body := level + 2
	end := bytes.Index(s[body:], shut)
	if end < 0 {
		return -1
	}
	return body + end + len(shut)
}

// luaString returns the length of the quoted string at the start of s, or 1 when the quote has no partner on its
// line: the module takes such a quote for an ordinary byte, and a backslash does not carry a string to the next line.
func luaString(s []byte) int {
	for i := 1; i < len(s) && s[i] != '\n'; i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) && s[i] == '\n' {
				return 1
			}
		case s[0]:
			return i + 1
		}
	}
	return 1
}
