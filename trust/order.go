package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Bounds of an order's times.
const (
	LifeMost = 24 * time.Hour // from issued to expires: for so long a node must remember an id

	// Skew is how far ahead of the node's clock issued may be. Expires has no such grace: what was not begun by then is
	// never begun, and senders rely on that. A node whose clock is behind its sender's begins it later by as much.
	Skew = 2 * time.Minute
)

// Order is what a signature stands for: one command for one node.
type Order struct {
	Node    string         // the only node that may run it
	ID      string         // never used twice
	Type    string         // exec, deploy_file, …
	By      string         // who sent it, in the words of the key's holder
	Issued  time.Time      // to the millisecond, by the sender's clock
	Expires time.Time      // at most LifeMost after Issued
	Args    map[string]any // reason, command, path, content, …; numbers are float64

	// Key is the key that signed it. Verify sets it.
	Key PublicKey
}

// payload is the signed form of an Order. Sealed stands in place of Args.
type payload struct {
	Version int            `json:"v"`
	Node    string         `json:"node"`
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	By      string         `json:"by"`
	Issued  int64          `json:"issued_ms"`  // Unix
	Expires int64          `json:"expires_ms"` // Unix
	Args    map[string]any `json:"args,omitempty"`
	Sealed  []byte         `json:"sealed,omitempty"`
}

const payloadVersion = 1

// envelope is the JSON of a command's field "signed": the exact bytes that were signed, and the signature.
type envelope struct {
	Payload   []byte `json:"payload"`
	Key       string `json:"key"` // PublicKey.ID
	Signature []byte `json:"signature"`
}

// signed puts a purpose before the bytes, so that no signature for something else can ever be one for a command.
func signed(payload []byte) []byte { return append([]byte("bazbeans command v1\n"), payload...) }

// Sign returns the value of a command's field "signed". With a seal key the arguments can be read by that node alone;
// nil leaves them readable to whoever reads Redis.
func (k PrivateKey) Sign(o Order, to *SealKey) (json.RawMessage, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("sign command: %w", err)
	}
	p := payload{payloadVersion, o.Node, o.ID, o.Type, o.By, o.Issued.UnixMilli(), o.Expires.UnixMilli(), o.Args, nil}
	if to != nil {
		args, err := json.Marshal(o.Args)
		if err != nil {
			return nil, fmt.Errorf("sign command: %w", err)
		}
		if p.Sealed, err = to.seal(p.binding(k.Public()), args); err != nil {
			return nil, fmt.Errorf("seal command: %w", err)
		}
		p.Args = nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("sign command: %w", err)
	}
	return json.Marshal(envelope{b, k.Public().ID(), ed25519.Sign(k.key, signed(b))})
}

// binding ties sealed arguments to the order they belong to and to who signed it: they can't be cut out and signed anew
// by another.
func (p *payload) binding(k PublicKey) []byte {
	b, _ := json.Marshal([]string{"bazbeans command v1", p.Node, p.ID, p.Type, k.ID()}) // texts always encode
	return b
}

// check refuses an order that no node would run.
func (o *Order) check() error {
	switch life := o.Expires.Sub(o.Issued); {
	case o.Node == "" || o.ID == "" || o.Type == "":
		return errors.New("it names no node, no id or no type")
	case o.Issued.IsZero() || o.Expires.IsZero():
		return errors.New("it has no times: set issued and expires")
	case life <= 0:
		return errors.New("it expires before it is issued")
	case life > LifeMost:
		return fmt.Errorf("it lives for %s, and %s is the most", life, LifeMost)
	}
	return nil
}

// strictly decodes one JSON value into v: no unknown field, nothing after it. An error quotes 200 bytes of b at most.
func strictly(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%.200s", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}
