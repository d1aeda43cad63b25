package nginx

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/bazbeans/bazbeans/ngxconf"
)

// errorLog is the end of a log file that Nginx may write its refusal to.
type errorLog struct {
	path   string
	id     fileID // of the file that offset is in
	offset int64  // all before it is old, or has been read
}

// errorLogs returns the files that the master may write to: the one it has now and those of the configuration to
// come, where the refusal of a taken port goes. What is not a regular file cannot be read.
func (n *Nginx) errorLogs(s setup, m process, t *tree) []*errorLog {
	proc := "/proc/" + strconv.Itoa(m.PID)
	var paths []string
	t.mainly(func(st *ngxconf.Statement) {
		if st.Name() == "error_log" && len(st.Words) > 1 {
			paths = append(paths, under(s.prefix, st.Words[1].Text))
		}
	})
	if paths == nil {
		paths = append(paths, under(s.prefix, s.errorLog))
	}
	// The master's standard error is its error log.
	paths = append(paths, proc+"/fd/2")
	var logs []*errorLog
	seen := map[string]bool{}
	for _, path := range paths {
		if target, err := os.Readlink(path); err == nil && strings.HasPrefix(target, "/proc/self/") { // as /dev/stderr is
			path = proc + strings.TrimPrefix(target, "/proc/self")
		}
		if strings.HasPrefix(path, proc) { // what is open there may be another file after the reload
			if target, err := os.Readlink(path); err == nil {
				path = target
			}
		}
		if seen[path] {
			continue
		}
		seen[path] = true
		l := &errorLog{path: path}
		if info, err := os.Stat(path); err == nil {
			if !info.Mode().IsRegular() {
				continue
			}
			l.id, l.offset = idOf(info), info.Size()
		}
		logs = append(logs, l)
	}
	return logs
}

// fresh returns the lines of severity emerg and alert that process pid has written since the last call.
func (l *errorLog) fresh(pid int) []string {
	info, err := os.Stat(l.path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if id := idOf(info); id.Dev != l.id.Dev || id.Ino != l.id.Ino || id.Size < l.offset { // rotated
		l.id, l.offset = id, 0
	}
	if info.Size() == l.offset {
		return nil
	}
	file, err := os.Open(l.path)
	if err != nil {
		return nil
	}
	defer file.Close()
	const most = 1 << 20 // at once; a site under load may write much
	text, err := io.ReadAll(io.NewSectionReader(file, l.offset, min(info.Size()-l.offset, most)))
	if err != nil {
		return nil
	}
	end := bytes.LastIndexByte(text, '\n') + 1
	l.offset += int64(end)
	var lines []string
	mark := "] " + strconv.Itoa(pid) + "#" // "2026/11/22 12:00:00 [emerg] 7#7: …"
	for line := range strings.Lines(string(text[:end])) {
		if strings.Contains(line, "[emerg"+mark) || strings.Contains(line, "[alert"+mark) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// final tells whether a line of the log ends a reload. A taken port does not yet: Nginx tries it five times, then
// says "still could not bind()". Nor does a socket that is to be closed and is not at its path any more: the new
// configuration is in force by then.
func final(line string) bool {
	return strings.Contains(line, "[emerg] ") && !strings.Contains(line, "(98: ") && // EADDRINUSE
		!strings.Contains(line, ": unlink() ")
}
