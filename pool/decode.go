package pool

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// What a node may say of itself, at most.
const (
	textMost   = 256 // bytes of a data center, label or reason
	labelsMost = 32  // labels
)

// decodeFreeze reads an operator's freeze. An unreadable one still freezes: nothing but our scripts writes it, and
// traffic to a node that somebody wanted out is the greater harm.
func decodeFreeze(all map[string]string, id string) *Freeze {
	text, ok := all[id]
	if !ok {
		return nil
	}
	var f Freeze
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return &Freeze{Reason: "unreadable freeze"}
	}
	f.By, f.At, f.Reason = cut(f.By), cut(f.At), cut(f.Reason)
	return &f
}

// decodeHeartbeat: that the key lives is what counts; what is in it is for people, but for who wrote it.
func (n *Node) decodeHeartbeat(ttl time.Duration, text string, now time.Time) {
	// go-redis: -2 no such key, -1 no TTL. It may also go between the two reads.
	if ttl == -2 || ttl >= 0 && text == "" {
		return
	}
	n.Alive = true
	if ttl > 0 {
		n.Expires = now.Add(ttl)
	}
	var b struct {
		Timestamp     any `json:"timestamp"`
		Agent         any `json:"agent"`
		CPUPercent    any `json:"cpu_percent"`
		MemoryPercent any `json:"memory_percent"`
		DiskPercent   any `json:"disk_percent"`
	}
	if json.Unmarshal([]byte(text), &b) != nil {
		return
	}
	n.Agent, _ = b.Agent.(string)
	n.Agent = cut(n.Agent)
	n.Metrics = Metrics{CPU: percent(b.CPUPercent), Memory: percent(b.MemoryPercent), Disk: percent(b.DiskPercent)}
	if ts, ok := b.Timestamp.(float64); ok {
		n.Beat = unixTime(ts)
	}
}

// decodeStatus reads the hash; values are those of fields, nil where one is missing.
func (n *Node) decodeStatus(fields []string, values []any) {
	field := make(map[string]string, len(fields))
	for i, name := range fields {
		if i < len(values) {
			field[name], _ = values[i].(string)
		}
	}
	n.Status, n.Details, n.DataCenter = cut(field["status"]), cut(field["details"]), cut(field["data_center"])
	n.IsFrozen = field["is_frozen"] == "true"
	n.SelfFreeze = cut(field["self_freeze"])
	n.Left = field["left"] == "1"
	n.Rev, _ = strconv.ParseInt(field["rev"], 10, 64)
	if ts, err := strconv.ParseFloat(field["timestamp"], 64); err == nil {
		n.Updated = unixTime(ts)
	}
	n.Weight = 1
	if !n.Alive {
		n.Agent = cut(field["agent"])
	}
	// A heartbeat without "agent" is Python's: what the hash says of an address is left over from one of ours.
	if n.Agent == "" {
		return
	}
	n.Instance = cut(field["instance"])
	if err := n.decodeRegistration(field["address"], field["port"], field["weight"], field["labels"]); err != nil {
		n.Fault = err.Error()
	}
}

// decodeErrors notes that keys of the node are of a wrong type. Nobody knows then whether it lives: its agent can't write them
// either.
func (n *Node) decodeErrors(errs ...error) {
	for _, err := range errs {
		if err != nil {
			n.unreadable = true
			n.Fault = fmt.Sprintf("%s (bbctl forget %s removes it, and our agent registers anew)", strings.TrimPrefix(err.Error(), "WRONGTYPE "), n.ID)
		}
	}
}

func (n *Node) decodeRegistration(address, port, weight, labels string) (err error) {
	if address != "" {
		if n.Address, err = ParseAddress(address); err != nil {
			return err
		}
	}
	if port != "" && port != "0" {
		if n.Port, err = ParsePort(port); err != nil {
			return err
		}
	}
	if weight != "" {
		if n.Weight, err = ParseWeight(weight); err != nil {
			return err
		}
	}
	if labels != "" {
		if n.Labels, err = parseLabels(labels); err != nil {
			return err
		}
	}
	return nil
}

// ParseAddress reads an IP address as netip.ParseAddr does, unmapped; one with a zone is refused.
func ParseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("address %s is not an IP address (like 10.0.1.10 or fd00::10)", shown(s))
	}
	return a.Unmap(), nil
}

// ParsePort reads a port, 1 to 65535, plain decimal digits only.
func ParsePort(s string) (uint16, error) {
	n, err := decimal(s, 65535)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %s is not a number from 1 to 65535", shown(s))
	}
	return uint16(n), nil
}

// ParseWeight reads a weight, 0 to MaxWeight, plain decimal digits only.
func ParseWeight(s string) (int, error) {
	n, err := decimal(s, MaxWeight)
	if err != nil {
		return 0, fmt.Errorf("weight %s is not a number from 0 to %d", shown(s), MaxWeight)
	}
	return n, nil
}

// decimal is stricter than strconv.Atoi: no sign, and no number longer than most.
func decimal(s string, most int) (int, error) {
	if s == "" || len(s) > 9 || strings.Trim(s, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.Atoi(s)
	if err == nil && n > most {
		return 0, strconv.ErrRange
	}
	return n, err
}

// CheckLabels returns an error when labels are more or longer than a node may have.
func CheckLabels(labels map[string]string) error {
	if len(labels) > labelsMost {
		return fmt.Errorf("%d labels are more than the %d allowed", len(labels), labelsMost)
	}
	for k, v := range labels {
		if CheckID(k) != nil {
			return fmt.Errorf("label name %s is not allowed: use A-Z a-z 0-9 . _ -", shown(k))
		}
		if len(v) > textMost {
			return fmt.Errorf("label %s is longer than %d bytes", k, textMost)
		}
	}
	return nil
}

func parseLabels(text string) (map[string]string, error) {
	var labels map[string]string
	if err := json.Unmarshal([]byte(text), &labels); err != nil {
		return nil, fmt.Errorf("labels %s are not a JSON object of texts", shown(text))
	}
	return labels, CheckLabels(labels)
}

func percent(v any) float64 {
	f, ok := v.(float64)
	if !ok || f < 0 {
		return 0
	}
	return min(f, 100)
}

// unixTime turns Unix seconds into a time; what no clock would say becomes the zero time.
func unixTime(s float64) time.Time {
	if !(s > 0 && s < 1e11) {
		return time.Time{}
	}
	return time.UnixMilli(int64(s * 1000))
}

// cut bounds foreign text and makes it valid UTF-8.
func cut(s string) string { return cutTo(s, textMost) }

func cutTo(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}
