package ctl

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bazbeans/bazbeans/pool"
)

// nodeView is a node in JSON and YAML; its keys are public (docs/bbctl.md). What is not known is null.
type nodeView struct {
	ID         string            `json:"id"`
	State      pool.State        `json:"state"`
	Traffic    bool              `json:"traffic"`
	Why        string            `json:"why"`
	Since      *time.Time        `json:"since"`
	DataCenter string            `json:"data_center"`
	Address    string            `json:"address"`
	Port       uint16            `json:"port"`
	Weight     int               `json:"weight"`
	Labels     map[string]string `json:"labels"`
	Agent      string            `json:"agent"`
	Instance   string            `json:"instance"`
	Rev        int64             `json:"rev"`
	Registered bool              `json:"registered"`
	Active     bool              `json:"active"`
	Alive      bool              `json:"alive"`
	Freeze     *pool.Freeze      `json:"freeze"`
	SelfFreeze string            `json:"self_freeze"`
	LastBeat   *time.Time        `json:"last_heartbeat"`
	CPU        *float64          `json:"cpu_percent"`
	Memory     *float64          `json:"memory_percent"`
	Disk       *float64          `json:"disk_percent"`
	Status     string            `json:"status"`
	Details    string            `json:"details"`
	Fault      string            `json:"fault"`
	ServedBy   []string          `json:"served_by"`  // load balancers that send to it
	RefusedBy  []refusal         `json:"refused_by"` // load balancers that do not take it though it is active

	lbs int // how many there are
}

// newNodeView takes the address of a Python node, as found, from ip.
func newNodeView(n *pool.Node, ip string, lbs []pool.LB) nodeView {
	v := nodeView{ID: n.ID, State: n.State(), Traffic: inService(n), Why: n.Why(), Since: since(n), DataCenter: n.DataCenter,
		Address: ip, Port: n.Port, Weight: n.Weight, Labels: n.Labels, Agent: n.Agent, Instance: n.Instance, Rev: n.Rev,
		Registered: n.Registered, Active: n.Active, Alive: n.Alive, Freeze: n.Freeze, SelfFreeze: n.SelfFreeze,
		LastBeat: known(n.Beat), Status: n.Status, Details: n.Details, Fault: n.Fault,
		ServedBy: servedBy(n, lbs), RefusedBy: refusedBy(n.ID, lbs), lbs: len(lbs)}
	if n.Address.IsValid() {
		v.Address = n.Address.String()
	}
	if v.Labels == nil {
		v.Labels = map[string]string{}
	}
	if n.Wanted() && n.Weight == 0 {
		v.Why = "its weight is 0"
	}
	if n.Alive {
		v.CPU, v.Memory, v.Disk = &n.Metrics.CPU, &n.Metrics.Memory, &n.Metrics.Disk
	}
	return v
}

// inService reports whether the node gets traffic as far as the pool tells: a weight of 0 is none.
func inService(n *pool.Node) bool { return n.Wanted() && n.Weight > 0 }

// since is when the node came into its state, as far as Redis tells; nil: it does not.
func since(n *pool.Node) *time.Time {
	switch n.State() {
	case pool.Frozen:
		if n.Freeze == nil {
			return known(n.Updated)
		}
		at, _ := time.Parse(time.RFC3339, n.Freeze.At) // what is no time is the zero time
		return known(at)
	case pool.Dead:
		return known(n.Updated) // its last sign of life
	}
	if n.Rev < 1e12 { // a revision is the time of its change in milliseconds, unless Redis's clock stood still
		return nil
	}
	return known(time.UnixMilli(n.Rev))
}

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// endpoint is where load balancers send to: address:port, or the address alone when they set the port.
func (v *nodeView) endpoint() string {
	a, err := netip.ParseAddr(v.Address)
	if err != nil || v.Port == 0 {
		return dash(v.Address)
	}
	return netip.AddrPortFrom(a, v.Port).String()
}

// because is why for the table: also who froze it, for that is whom to ask.
func (v *nodeView) because() string {
	switch {
	case v.Freeze != nil && v.Freeze.By != "":
		return strings.TrimSpace(fmt.Sprintf("%s (%s)", v.Why, v.Freeze.By))
	case v.Why == "" && len(v.RefusedBy) > 0:
		return v.RefusedBy[0].LB + " refuses it: " + v.RefusedBy[0].Why
	}
	return v.Why
}

// served is by how many of the load balancers: 2/3.
func (v *nodeView) served() string {
	if v.lbs == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", len(v.ServedBy), v.lbs)
}

// agent tells ours from Python's. A faulty node may be unreadable: it is ours or Python's.
func (v *nodeView) agent() string {
	switch {
	case v.Agent == "" && v.Fault != "":
		return "-"
	case v.Agent == "":
		return "python"
	}
	return v.Agent
}

// age is how long ago t was, in one figure: 12s, 4m, 3h, 9d. A clock that is ahead of ours makes no negative age.
func age(now time.Time, t *time.Time) string {
	if t == nil {
		return "-"
	}
	return short(max(0, now.Sub(*t)))
}

func short(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

func percent(f *float64) string {
	if f == nil {
		return "-"
	}
	return strconv.Itoa(int(*f+0.5)) + "%"
}

// dash stands for what is not known, so that every column has a word.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// bar is percent with a small picture before it: ██▌·· 51%.
func bar(f *float64) string {
	const wide = 5             // cells
	const eighths = " ▏▎▍▌▋▊▉" // of a cell
	if f == nil {
		return "-"
	}
	n := int(min(max(*f, 0), 100)/100*wide*8 + 0.5)
	text := strings.Repeat("█", n/8)
	if n%8 > 0 {
		text += string([]rune(eighths)[n%8])
	}
	return text + strings.Repeat("·", wide-cells(text)) + fmt.Sprintf(" %3s", percent(f))
}

func labels(m map[string]string) string {
	pairs := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, k+"="+m[k])
	}
	return strings.Join(pairs, ",")
}
