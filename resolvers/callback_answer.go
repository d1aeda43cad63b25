package resolvers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// How much a callback may say, in bytes: about one node; and in a batch for each node asked about, which is more than
// an id of 128 characters with an IPv6 address and a port.
const (
	mostSaid     = 4096
	mostSaidEach = 256
)

// saidBy gathers what is said about the nodes of a batch.
type saidBy struct {
	asked   map[string]bool
	answers Answers
}

func newSaidBy(ids []string) *saidBy {
	s := &saidBy{asked: make(map[string]bool, len(ids)), answers: make(Answers, len(ids))}
	for _, id := range ids {
		s.asked[id] = true
	}
	return s
}

// put notes an answer for a node that was asked about. Two that contradict each other are not acceptable.
func (s *saidBy) put(id string, e Endpoint, err error) {
	if !s.asked[id] {
		return
	}
	if before, twice := s.answers[id]; twice && (before.Err != nil || err != nil || before.Endpoint != e) {
		err = refusedf("it has two different answers")
	}
	s.answers[id] = Answer{Endpoint: e, Err: err}
}

// lines reads "ID ADDRESS" lines. A line with an id alone says that there is no address.
func (s *saidBy) lines(text []byte) {
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		switch {
		case len(fields) < 2, strings.HasPrefix(fields[0], "#"):
		case len(fields) > 2:
			s.put(fields[0], Endpoint{}, refusedf("%.80q is more than an id and an address", strings.Join(fields, " ")))
		default:
			e, err := ParseEndpoint(fields[1])
			s.put(fields[0], e, err)
		}
	}
}

// object reads a JSON object of id to address, or null.
func (s *saidBy) object(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("it does not answer with a JSON object of id to address")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return fmt.Errorf("its JSON is broken: %w", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fmt.Errorf("its JSON is broken: %w", err)
		}
		id, _ := key.(string) // all keys are
		if e, err := oneAnswer(value); !errors.Is(err, ErrNotMine) {
			s.put(id, e, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("its JSON is broken: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after its JSON object")
	}
	return nil
}

// oneAnswer reads what is said about one node: an address, plain or as a JSON string; nothing or null is ErrNotMine.
func oneAnswer(text []byte) (Endpoint, error) {
	plain := string(bytes.TrimSpace(text))
	switch {
	case plain == "" || plain == "null":
		return Endpoint{}, ErrNotMine
	case plain[0] == '"':
		var s string
		if json.Unmarshal([]byte(plain), &s) == nil {
			plain = s
		}
	}
	return ParseEndpoint(plain)
}
