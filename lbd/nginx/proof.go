package nginx

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// proof says which files a master was seen to serve, or which files were on disk when there was no master. It is kept
// in StateDir, so that a new lbd need not reload to know. It needs no care when files change: a changed file has
// another ID. It does not depend on the clock that people set.
type proof struct {
	Boot   string            // a process's start counts from here, and so does At
	At     time.Duration     // the files were there since boot
	Master process           // zero: none was seen
	Former []process         // masters before it that may have left workers
	Args   args              // what it was started with; kept when it has ended
	Files  map[string]fileID // by resolved path; zero: the file is not there

	// Sums are those of the files' content; see keepVerified. They stay while no master is there.
	Sums map[string]string

	// worker_shutdown_timeout as the reload read it, and the longest that workers replaced by it may have been started with.
	// 0: not known.
	Shutdown, Leaving time.Duration

	Generation int64
	Asked      string // address of the witness, if there was one
	Answer     string // its
}

func (n *Nginx) proofFile() string { return filepath.Join(n.opt.StateDir, "nginx.proof.json") }

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // "" then, and so it will be at the next look
	return strings.TrimSpace(string(id))
}

// lastProof returns what was recorded last; it is empty when nothing was.
func (n *Nginx) lastProof() proof {
	n.proofMu.Lock()
	defer n.proofMu.Unlock()
	if n.proof == nil {
		n.proof = &proof{}
		if text, err := os.ReadFile(n.proofFile()); err == nil && json.Unmarshal(text, n.proof) != nil {
			n.proof = &proof{} // torn by a crash: no proof
		}
	}
	return *n.proof
}

// proven tells whether m serves the files on disk: it was seen to, or it began when they were there.
func (n *Nginx) proven(m process, outs []*output) bool {
	p := n.lastProof()
	return p.holds(outs) && (p.Boot == bootID() && p.Master == m || p.younger(m))
}

// holds tells whether p is about just what is on disk.
func (p proof) holds(outs []*output) bool {
	for _, o := range outs {
		if id, ok := p.Files[o.real]; !ok || id != o.id {
			return false
		}
	}
	return p.Files != nil
}

// younger tells whether m began after the files of p were seen on disk, so that it must have read them. Young workers
// would prove nothing: a worker that crashed is started again from what the master read long ago.
func (p proof) younger(m process) bool {
	if p.Boot == bootID() && time.Duration(m.Start)*tick <= p.At { // in doubt it is older
		return false
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

// disprove takes back what was proven: Nginx may have been reloaded without our files, and has to be once they are back.
func (n *Nginx) disprove() {
	if p := n.lastProof(); p.Files != nil {
		p.Files = nil
		n.record(p)
	}
}

// record keeps p, whose Master or witness was seen to serve Files; or, with neither, that they are on disk.
func (n *Nginx) record(p proof) {
	p.Former = n.formerMasters(p.Master)
	p.Boot, p.At = bootID(), uptime()
	last := n.lastProof()
	if p.Master == (process{}) {
		p.Args = last.Args
	}
	if p.Sums == nil {
		p.Sums = last.Sums
	}
	if p.Shutdown == 0 { // nothing was reloaded
		p.Shutdown, p.Leaving = last.Shutdown, last.Leaving
	}
	n.proofMu.Lock()
	n.proof = &p
	n.proofMu.Unlock()
	text, err := json.Marshal(p)
	if err == nil {
		temp := n.proofFile() + ".new"
		if err = os.WriteFile(temp, text, 0o600); err == nil {
			err = os.Rename(temp, n.proofFile())
		}
	}
	n.kept(n.proofFile(), "cannot keep the proof", err) // no harm but one reload more after lbd's next start
}
