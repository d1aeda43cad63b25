package nginx

import (
	"slices"
	"strings"
)

// elders returns the workers of masters that were there before m and have not ended: who tells Nginx to quit and starts it
// anew does not wait until the last request is over. The last proof knows of one that an lbd before this one has seen.
func (n *Nginx) elders(m process) (workers []process) {
	last := n.lastProof()
	n.seenMu.Lock()
	defer n.seenMu.Unlock()
	if n.masters == nil && last.Boot == bootID() && last.Master != (process{}) {
		n.masters = []process{last.Master}
	}
	if !slices.Contains(n.masters, m) {
		n.masters = append(n.masters, m)
	}
	n.masters = slices.DeleteFunc(n.masters, func(p process) bool { return p != m && !p.alive() })
	for _, p := range n.masters {
		if p == m {
			continue
		}
		for _, child := range p.children() {
			if strings.HasPrefix(child.title(), workerTitle) {
				workers = append(workers, child)
			}
		}
	}
	return workers
}
