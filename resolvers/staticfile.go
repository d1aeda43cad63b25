package resolvers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bazbeans/bazbeans/pool"
)

// StaticFile resolves nodes from a file that is read again when it has changed: Changed tells so at once, and Resolve looks
// for itself each time. While the file can't be read, the list read before stays, and nodes that are not in it are
// "cannot know".
type StaticFile struct {
	path  string
	list  Static
	err   error // of the last reading
	seen  os.FileInfo
	sure  bool // seen tells that content from any later one
	watch watch
}

// NewStaticFile returns a resolver for a YAML or JSON file that maps id to "IP" or "IP:port". It must be right at the start.
func NewStaticFile(path string) (*StaticFile, error) {
	f := &StaticFile{path: path, watch: watch{path: path, changed: make(chan struct{}, 1)}}
	if f.refresh(context.Background()); f.err != nil { // it waits for 20 ms at most
		return nil, f.err
	}
	return f, nil
}

// Resolve implements Resolver.
func (f *StaticFile) Resolve(ctx context.Context, nodes []pool.Node) (Answers, error) {
	f.refresh(ctx)
	answers, _ := f.list.Resolve(ctx, nodes) // a list at hand has no errors
	return answers, f.err
}

// Changed implements Notifier. The first call begins to watch the file.
func (f *StaticFile) Changed() <-chan struct{} {
	f.watch.start()
	return f.watch.changed
}

// Close ends watching.
func (f *StaticFile) Close() error {
	f.watch.stop()
	return nil
}

const (
	// quiet is how old a change must be before the file is read: who writes it in several steps is let finish.
	quiet = 20 * time.Millisecond
	// tick is a time in which two changes may bear the same time; the kernel's clock for files moves every 1 to 10 ms.
	tick = 100 * time.Millisecond
)

func (f *StaticFile) refresh(ctx context.Context) {
	info, err := os.Stat(f.path)
	if err == nil && !same(info, f.seen) && young(info, quiet) {
		select {
		case <-ctx.Done():
		case <-time.After(quiet):
		}
		info, err = os.Stat(f.path)
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", f.path) // to read from a pipe could take for ever
	}
	if err != nil {
		f.seen, f.err = nil, fmt.Errorf("static resolver: %w", err)
		return
	}
	if same(info, f.seen) && f.sure {
		return
	}
	f.seen, f.sure = info, !young(info, tick)
	nodes, err := readStatic(f.path)
	if f.err = err; err == nil {
		f.list.nodes = nodes
	}
}

// same reports whether two looks at a path saw the same state of the same file.
func same(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func young(info os.FileInfo, limit time.Duration) bool {
	age := time.Since(info.ModTime())
	return age >= 0 && age < limit
}

// fileMost bounds the file, in bytes: 100,000 nodes have about 3 MB.
const fileMost = 16 << 20

func readStatic(path string) (map[string]Endpoint, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("static resolver: %w", err)
	}
	defer file.Close() // it was only read
	src, err := io.ReadAll(io.LimitReader(file, fileMost+1))
	if err == nil {
		var nodes map[string]Endpoint
		if nodes, err = decodeStatic(src); err == nil {
			return nodes, nil
		}
	}
	return nil, fmt.Errorf("static resolver: %s: %w", path, err)
}

// decodeStatic reads the file's text. An empty one is an error: it is what a writer that has only begun leaves, and
// would take all nodes away.
func decodeStatic(src []byte) (map[string]Endpoint, error) {
	if len(src) > fileMost {
		return nil, fmt.Errorf("it has more than %d bytes", fileMost)
	}
	var nodes map[string]string
	if err := yaml.Unmarshal(src, &nodes); err != nil {
		return nil, fmt.Errorf("%w (write one \"node: address\" a line)", err)
	}
	if nodes == nil {
		return nil, errors.New("it is empty (write {} for a list of none)")
	}
	return parseStatic(nodes)
}
