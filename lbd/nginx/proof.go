package nginx

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/step"
)

// proof says which files a master was seen to serve. It is kept in StateDir, so that a new lbd need not reload to
// know. It needs no care when files change: a changed file has another ID.
type proof struct {
	Boot   string // a process's start counts from here
	Master process
	Files  map[string]fileID // by resolved path; zero: the file is not there
}

func (n *Nginx) proofFile() string { return filepath.Join(n.opt.StateDir, "nginx.proof.json") }

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // "" then, and so it will be at the next look
	return strings.TrimSpace(string(id))
}

// proven tells whether m serves the files on disk: it was seen to, or it is younger than the files.
func (n *Nginx) proven(m process, outs []*output) bool {
	if n.proof == nil {
		n.proof = &proof{}
		if text, err := os.ReadFile(n.proofFile()); err == nil && json.Unmarshal(text, n.proof) != nil {
			n.proof = &proof{} // torn by a crash: no proof
		}
	}
	if n.proof.Boot == bootID() && n.proof.Master == m {
		same := true
		for _, o := range outs {
			id, ok := n.proof.Files[o.real]
			same = same && ok && id == o.id
		}
		if same {
			return true
		}
	}
	return younger(m, outs)
}

// younger tells whether m began after the files came to be what they are, so that it must have read them. Young
// workers would prove nothing: a worker that crashed is started again from what the master read long ago. In doubt m
// is older: a process's start is known to 10 ms, a file's time to a tick of the kernel, and a removed file has no time.
func younger(m process, outs []*output) bool {
	const doubt = 20 * time.Millisecond
	start, err := m.started()
	if err != nil {
		return false
	}
	for _, o := range outs {
		if !o.exists || start.Before(o.id.changed().Add(doubt)) {
			return false
		}
	}
	workers, _ := m.crew()
	return len(workers) > 0
}

// identify returns the IDs of what is on disk now, by resolved path. It is asked before a reload: what is there
// later may not be what was read.
func identify(outs []*output) map[string]fileID {
	ids := map[string]fileID{}
	for _, o := range outs {
		ids[o.real] = fileID{}
		if info, err := os.Stat(o.real); err == nil {
			ids[o.real] = idOf(info)
		}
	}
	return ids
}

// record keeps that m serves files.
func (n *Nginx) record(m process, files map[string]fileID) {
	n.proof = &proof{Boot: bootID(), Master: m, Files: files}
	text, err := json.Marshal(n.proof)
	if err == nil {
		temp := n.proofFile() + ".new"
		if err = os.WriteFile(temp, text, 0o600); err == nil {
			err = os.Rename(temp, n.proofFile())
		}
	}
	if err != nil { // no harm but one reload more after lbd's next start
		n.log.Warn("cannot keep the proof", "step", step.Verify, "err", err)
	}
}
