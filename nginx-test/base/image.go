package base

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Image returns the name of a container image with this root's files, and makes
// it in the engine (see [Engine]) when that has none. It runs /bin/bash unless
// told otherwise.
func (r *Root) Image(ctx context.Context) (name string, err error) {
	home := filepath.Dir(r.Dir)
	name = "bazbeans-base:" + filepath.Base(home) // the suite, and a digest of what is in it
	lock, err := acquire(ctx, home+".lock")
	if err != nil {
		return "", fmt.Errorf("make the image %s: %w", name, err)
	}
	defer lock.Close()
	if exec.CommandContext(ctx, "docker", "image", "inspect", name).Run() == nil {
		return name, nil
	}
	files := exec.CommandContext(ctx, "tar", "-C", r.Dir, "--numeric-owner", "-c", ".")
	load := exec.CommandContext(ctx, "docker", "import", "--change", `CMD ["/bin/bash"]`, "-", name)
	var told, said bytes.Buffer
	files.Stderr, load.Stderr = &told, &said
	pipe, err := files.StdoutPipe()
	if err != nil {
		return "", err
	}
	load.Stdin = pipe
	if err := files.Start(); err != nil {
		return "", fmt.Errorf("make the image %s: %w", name, err)
	}
	err = load.Run()
	pipe.Close() // what was not taken, tar need not write
	if err := errors.Join(err, files.Wait()); err != nil {
		return "", fmt.Errorf("make the image %s: %w\n%s%s", name, err, tail(said.Bytes()), tail(told.Bytes()))
	}
	return name, nil
}
