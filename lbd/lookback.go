package lbd

import (
	"bytes"
	"os"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// lookBack learns what was served before: from the memory, or at least that something was, from the live file.
func (l *LB) lookBack() {
	if err := l.recall(); err != nil {
		l.log.Warn("what was served before is not known: the guard begins anew", "error", err)
	}
	for _, u := range l.upstreams {
		u.unknown = len(u.history.sets) == 0 && liveServers(u.Output, u.Name) > 0
	}
}

// liveServers counts the servers that are not down in an upstream of a file; 0 when there is nothing to read.
func liveServers(path, name string) int {
	src, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	statements, err := ngxconf.Parse(bytes.TrimPrefix(src, []byte("\xef\xbb\xbf")))
	if err != nil {
		return 0
	}
	n := 0
	for _, s := range statements {
		if len(s.Words) != 2 || s.Words[0].Text != "upstream" || s.Words[1].Text != name {
			continue
		}
		for _, server := range s.Block {
			up := len(server.Words) > 1 && server.Words[0].Text == "server"
			for _, w := range server.Words {
				up = up && w.Text != "down"
			}
			if up {
				n++
			}
		}
	}
	return n
}
