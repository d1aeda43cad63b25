package nginx

import "strings"

// Refused is Nginx's no to new files, of a test that the configuration on disk passes.
type Refused struct {
	Why   string   // what Nginx said, in the operator's names
	Paths []string // of those files that Why names, as in File.Path; none when Nginx named none of them
}

func (r *Refused) Error() string { return "nginx refuses the new configuration: " + r.Why }

func newRefused(why string, outs []*output, w *witness) *Refused {
	r := &Refused{Why: why}
	for _, o := range outs {
		if (w == nil || o != w.out) && mentions(why, o.Path) {
			r.Paths = append(r.Paths, o.Path)
		}
	}
	return r
}

// mentions tells whether text names path, and not only one that begins or ends like it.
func mentions(text, path string) bool {
	inName := func(c byte) bool {
		return c == '/' || c == '.' || c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80
	}
	for {
		i := strings.Index(text, path)
		if i < 0 {
			return false
		}
		end := i + len(path)
		if (i == 0 || !inName(text[i-1])) && (end == len(text) || !inName(text[end])) {
			return true
		}
		text = text[i+1:]
	}
}
