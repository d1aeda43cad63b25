package pool

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bazbeans/bazbeans/trust"
)

// DefaultExpiry is how long a command is worth running when its sender does not say.
const DefaultExpiry = 5 * time.Minute

// Bounds of what is read of a command.
const (
	commandMost = 8 << 20 // bytes, of the whole: a file of 2 MiB fits in, sealed and signed
	typeMost    = 64      // bytes
)

// Command is one order to a node. The original system's fields stand in Args beside its type.
type Command struct {
	Type    string
	ID      string         // ours; "" in a command of the Python CLI
	By      string         // who sent it
	Issued  time.Time      // by the sender's clock; zero: unknown
	Expires time.Time      // zero: never
	Args    map[string]any // every other field of the JSON object: reason, command, path, content, …

	// Signed is what trust.PrivateKey.Sign returned. The node then runs what is in it, and nothing of the fields above.
	Signed json.RawMessage

	// Unlisted keeps it from LastCommands: one of many that would drive out what people look for. Its record is kept as
	// any. Only Send reads it.
	Unlisted bool
}

// NewCommand returns a command with an id of its own that expires after ttl (0: DefaultExpiry).
func NewCommand(kind, by string, ttl time.Duration, args map[string]any) Command {
	if ttl <= 0 {
		ttl = DefaultExpiry
	}
	now := time.Now()
	return Command{Type: kind, ID: rand.Text(), By: by, Issued: now, Expires: now.Add(ttl), Args: args}
}

// Sign returns the command as one for node alone, signed by key. With a seal key its arguments can be read by that
// node only; nil leaves them readable.
func (c Command) Sign(node string, key trust.PrivateKey, to *trust.SealKey) (Command, error) {
	field, err := key.Sign(trust.Order{Node: node, ID: c.ID, Type: c.Type, By: c.By, Issued: c.Issued, Expires: c.Expires, Args: c.Args}, to)
	c.Signed, c.Args = field, nil
	return c, err
}

// Ordered returns the command that a verified order is.
func Ordered(o trust.Order) Command {
	return Command{Type: o.Type, ID: o.ID, By: o.By, Issued: o.Issued, Expires: o.Expires, Args: o.Args}
}

// Text returns an argument that is text, or "".
func (c Command) Text(arg string) string {
	s, _ := c.Args[arg].(string)
	return s
}

// MarshalJSON writes the original system's object {"type": …} with our fields beside it; times are Unix seconds.
func (c Command) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(c.Args)+6)
	for k, v := range c.Args {
		m[k] = v
	}
	m["type"] = c.Type
	for k, v := range map[string]string{"id": c.ID, "by": c.By} {
		if v != "" {
			m[k] = v
		}
	}
	for k, t := range map[string]time.Time{"issued": c.Issued, "expires": c.Expires} {
		if !t.IsZero() {
			m[k] = float64(t.UnixMilli()) / 1000
		}
	}
	if c.Signed != nil {
		m["signed"] = c.Signed
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON writes and what the Python CLI pushes. A field of ours that is there and makes
// no sense is an error: an expiry that can't be read must not become none.
func (c *Command) UnmarshalJSON(b []byte) error {
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	var errs []error
	text := func(k string) string {
		v, there := m[k]
		s, ok := v.(string)
		if there && !ok {
			errs = append(errs, fmt.Errorf("%s is no text", k))
		}
		delete(m, k)
		return s
	}
	when := func(k string) time.Time {
		v, there := m[k]
		f, _ := v.(float64)
		t := unixTime(f)
		if there && t.IsZero() {
			errs = append(errs, fmt.Errorf("%s is no time in Unix seconds", k))
		}
		delete(m, k)
		return t
	}
	*c = Command{Type: text("type"), ID: text("id"), By: cut(text("by")), Issued: when("issued"), Expires: when("expires"), Args: m}
	if _, there := m["signed"]; there {
		delete(m, "signed")
		var s struct {
			Signed json.RawMessage `json:"signed"`
		}
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		c.Signed = s.Signed
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return c.check()
}

func (c *Command) check() error {
	switch {
	case c.Type == "":
		return errors.New("command has no type")
	case len(c.Type) > typeMost:
		return fmt.Errorf("type %s is longer than %d bytes", shown(c.Type), typeMost)
	case c.ID != "":
		return CheckID(c.ID) // it becomes part of a key
	}
	return nil
}
