package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bazbeans/bazbeans/ngxconf"
	"github.com/bazbeans/bazbeans/step"
)

// witness is a server{} of ours that answers with the generation that was asked for, and with a word of its own for each
// reload: who gives that answer has read the configuration after its file was put in place.
//
// The file is beside the first output and included by it. It is there only from the install to the proof, so that
// nothing in it can keep Nginx from starting later: not a port that somebody else has taken meanwhile, not the socket of
// a killed Nginx. Nginx goes on to listen until the next reload.
type witness struct {
	listener
	address string
	answer  string
	out     *output

	inRow int       // right answers in a row
	since time.Time // of the first of them
	said  error     // why the last answer was not right
}

const (
	answerPrefix = "lbd "
	witnessMark  = "proof.conf" // behind dotPrefix, so that it is swept
	// enough right answers in a row, when none but new workers is there to answer.
	enough = 3
	// Old workers answer for up to 137 ms after the signal, and 100 ms of that after the new ones were started; new
	// answers that come after this time since the first one, and nothing else between, are from new workers alone.
	oldAnswer = 150 * time.Millisecond
)

// OnDisk returns files as they are written: with Options.Proof the first one ends with an include.
func (n *Nginx) OnDisk(files []File) []File {
	i := slices.IndexFunc(files, func(f File) bool { return !f.Remove })
	if n.listener.network == "" || i < 0 {
		return files
	}
	files = slices.Clone(files)
	real, err := resolve(files[i].Path)
	if err != nil {
		return files // whoever needs it says so
	}
	data := bytes.Clone(files[i].Data)
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
		data = append(data, '\n')
	}
	files[i].Data = append(data, witnessInclude(real)...)
	return files
}

// seat is the output that includes the witness, as OnDisk says; nil when there is none.
func seat(outs []*output) *output {
	for _, o := range outs {
		if !o.Remove {
			return o
		}
	}
	return nil
}

// witnessFile is the witness's file, the seat being at real.
func witnessFile(real string) string {
	return filepath.Join(filepath.Dir(real), dotPrefix(real)+witnessMark)
}

// witnessInclude is a pattern, so that it may match nothing; what else it might match is not ours.
func witnessInclude(real string) string {
	pattern := globQuoter.Replace(witnessFile(real))
	pattern = pattern[:len(pattern)-1] + "[" + pattern[len(pattern)-1:] + "]"
	return "# For nginx.proof: the file is there only while lbd reloads, for it to ask new workers what they serve.\n" +
		`include "` + quoter.Replace(pattern) + `";` + "\n"
}

// witness returns the witness of a reload to generation; nil when there shall be none, or outs give no seat to one.
func (n *Nginx) witness(generation int64, outs []*output) (*witness, error) {
	o := seat(outs)
	if n.listener.network == "" || o == nil {
		return nil, nil
	}
	w := &witness{listener: n.listener, address: n.listener.at(generation), answer: fmt.Sprintf("%s%d %s", answerPrefix, generation, random())}
	if err := w.clear(w.address); err != nil {
		return nil, step.Errorf(step.Test, "see nginx.proof", "make way for the proof listener %s: %w", w.address, err)
	}
	at := w.address
	if w.network == "unix" {
		at = "unix:" + at
	}
	text := fmt.Sprintf("server {\n    listen \"%s\";\n    access_log off;\n    location / { return 200 \"%s\\n\"; }\n}\n", quoter.Replace(at), w.answer)
	var err error
	w.out, err = look(File{Path: witnessFile(o.real), Data: []byte(text)})
	if err != nil {
		return nil, step.Errorf(step.Install, wayOut(err, o.real), "write beside %s: %w", o.real, err)
	}
	return w, nil
}

// witnessOf is witness for files that were put back, if they know of one. Its file is in place.
func (n *Nginx) witnessOf(generation int64, outs []*output, content func(*output) []byte) (*witness, error) {
	if o := seat(outs); o == nil || !bytes.Contains(content(o), []byte(witnessInclude(o.real))) {
		return nil, nil
	}
	w, err := n.witness(generation, outs)
	if err != nil || w == nil {
		return nil, err
	}
	if err := w.out.stage(); err != nil {
		discard(w.outputs(nil))
		return nil, step.Errorf(step.Install, wayOut(err, w.out.real), "write beside %s: %w", w.out.real, err)
	}
	return w, w.install()
}

// alone says so if a server of t listens where the witness does.
func (w *witness) alone(t *tree) error {
	if w == nil {
		return nil
	}
	var err error
	var each func(*source, []ngxconf.Statement)
	each = func(s *source, list []ngxconf.Statement) {
		for i := range list {
			st := &list[i]
			each(s, st.Block)
			if st.Name() == "listen" && len(st.Words) > 1 && s.out != w.out && w.taken(st.Words[1].Text) {
				err = step.Errorf(step.Test, "choose another address for nginx.proof", "a server in %s listens at %s, which nginx.proof %s must have for itself",
					s.name, st.Words[1].Text, w.address)
			}
		}
	}
	for _, s := range t.sources {
		each(s, s.stmts)
	}
	return err
}

// outputs adds the witness to outs.
func (w *witness) outputs(outs []*output) []*output {
	if w == nil {
		return outs
	}
	return append(slices.Clone(outs), w.out)
}

// install puts the staged witness in place.
func (w *witness) install() error {
	if w == nil {
		return nil
	}
	err := <-w.out.synced
	w.out.synced = nil
	if err == nil {
		err = os.Rename(w.out.staged, w.out.real)
	}
	if err != nil {
		return step.Errorf(step.Install, wayOut(err, w.out.real), "install %s: %w", w.out.real, err)
	}
	w.out.staged = ""
	return nil
}

// remove takes the file away again, and the socket if Nginx does not listen there.
func (w *witness) remove() error {
	if w == nil {
		return nil
	}
	discard(w.outputs(nil))
	err := os.Remove(w.out.real)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	_ = w.clear(w.address) // the next reload will say so
	return err
}

// says is where the witness is to be asked, and its answer.
func (w *witness) says() (address, answer string) {
	if w == nil {
		return "", ""
	}
	return w.address, w.answer
}

// right asks once more and counts.
func (w *witness) right(ctx context.Context) bool {
	answer, err := w.ask(ctx, w.address)
	if err == nil && answer != w.answer {
		err = fmt.Errorf("a worker answers %q, not %q", answer, w.answer)
	}
	w.said = err
	if err != nil {
		w.inRow = 0
		return false
	}
	if w.inRow++; w.inRow == 1 {
		w.since = time.Now()
	}
	return true
}

// confirms asks workers of whom it is known that they are new.
func (w *witness) confirms(ctx context.Context) bool {
	if w == nil {
		return true
	}
	for w.inRow = 0; w.inRow < enough; {
		if !w.right(ctx) {
			return false
		}
	}
	return true
}

// outlasts asks when nobody knows who answers.
func (w *witness) outlasts(ctx context.Context) bool {
	return w.right(ctx) && w.inRow >= enough && time.Since(w.since) >= oldAnswer
}
