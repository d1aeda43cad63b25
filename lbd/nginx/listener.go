package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listener is where new workers are asked for their generation: Options.Proof, taken apart.
type listener struct {
	network string // "tcp" or "unix"; "": there is none
	address string // of a unix socket: may hold {generation}
}

const generationMark = "{generation}"

// parseListener checks what a proof listener may be. A unix socket's folder must be there after a reboot: if lbd is
// killed during a reload, the listener is in the configuration that Nginx is to start with.
func parseListener(proof string) (listener, error) {
	if proof == "" {
		return listener{}, nil
	}
	path, ok := strings.CutPrefix(proof, "unix:")
	if !ok {
		at, err := netip.ParseAddrPort(proof)
		if err != nil || at.Port() == 0 || at.Addr().Zone() != "" || at.Addr().IsUnspecified() || at.Addr().IsMulticast() {
			return listener{}, fmt.Errorf("nginx: proof %q is neither like 127.0.0.1:9181 nor like unix:/run/lbd-{generation}.sock", proof)
		}
		return listener{"tcp", at.String()}, nil
	}
	l := listener{"unix", filepath.Clean(path)}
	dir, base := filepath.Split(l.address)
	longest := l.at(1<<63 - 1)
	switch {
	case !filepath.IsAbs(path) || strings.HasSuffix(path, "/"):
		return listener{}, fmt.Errorf("nginx: proof %q: %q is not the absolute path of a socket", proof, path)
	case strings.ContainsAny(strings.ReplaceAll(base, generationMark, ""), "{}") || strings.ContainsAny(dir, "{}"):
		return listener{}, fmt.Errorf("nginx: proof %q: only %s in the last part of the path may stand in braces", proof, generationMark)
	case len(longest) > 107: // sun_path, its last byte 0
		return listener{}, fmt.Errorf("nginx: proof %q: the path of a socket can't be longer than 107 bytes, %q has %d", proof, longest, len(longest))
	}
	if err := lasting(filepath.Dir(l.address)); err != nil {
		return listener{}, fmt.Errorf("nginx: proof %q: %w", proof, err)
	}
	return l, nil
}

// lasting tells whether the folder dir will be there after a reboot, as far as can be seen: what is below the root of a
// file system in memory will not, nor what is below /run.
func lasting(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	var sys unix.Statfs_t
	var own, above unix.Stat_t
	if err := errors.Join(unix.Statfs(real, &sys), unix.Stat(real, &own), unix.Stat(filepath.Dir(real), &above)); err != nil {
		return fmt.Errorf("look at folder %s: %w", dir, err)
	}
	memory := sys.Type == unix.TMPFS_MAGIC || sys.Type == unix.RAMFS_MAGIC
	if memory && own.Dev == above.Dev && real != "/run" || strings.HasPrefix(real, "/run/") {
		return fmt.Errorf("the folder %s is gone after a reboot, and without it Nginx might not start: take /run/lbd-%s.sock, or a port", dir, generationMark)
	}
	return nil
}

// at is the address of a generation.
func (l listener) at(generation int64) string {
	return strings.ReplaceAll(l.address, generationMark, strconv.FormatInt(generation, 10))
}

// taken tells whether address, the value of a listen directive, is that of l or takes it in: a server of ours there
// would get requests that are another server's.
func (l listener) taken(address string) bool {
	if path, ok := strings.CutPrefix(address, "unix:"); ok || l.network == "unix" {
		return ok && l.network == "unix" && filepath.Clean(path) == l.address
	}
	own := netip.MustParseAddrPort(l.address)
	host, port := "", address // "80"
	if !isDigits(address) {
		var err error
		if host, port, err = net.SplitHostPort(address); err != nil {
			host, port = strings.Trim(address, "[]"), "80"
		}
	}
	if port != strconv.Itoa(int(own.Port())) {
		return false
	}
	at, err := netip.ParseAddr(host)
	return err != nil || at.IsUnspecified() || at == own.Addr() // "", "*", and names, of which nobody knows
}

const askTimeout = time.Second

// ask asks, over a connection of its own, whoever listens at address.
func (l listener) ask(ctx context.Context, address string) (answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, l.network, address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(c, 4096))
	if err != nil {
		return "", err
	}
	head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	status, _, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.Contains(status, []byte(" 200 ")) || !bytes.HasPrefix(body, []byte(answerPrefix)) {
		return "", fmt.Errorf("something else listens at %s: %.80q", address, status)
	}
	return string(bytes.TrimSpace(body)), nil
}

// clear removes the socket file of a killed Nginx or of a refused reload: with it, the next reload would be refused.
func (l listener) clear(path string) error {
	if l.network != "unix" {
		return nil
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		err = fmt.Errorf("%s is no socket", path)
	}
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("unix", path, askTimeout)
	if err == nil {
		return c.Close() // somebody listens: Nginx, for a generation with the same path
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	return err
}

// clearAll does so for the sockets of all generations.
func (l listener) clearAll() {
	dir, base := filepath.Split(l.address)
	if l.network != "unix" || base == "" {
		return
	}
	name := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(base), regexp.QuoteMeta(generationMark), "[0-9]+") + "$")
	names, _ := readNames(dir) // whoever needs the folder will say so
	for _, base := range names {
		if name.MatchString(base) {
			_ = l.clear(dir + base) // likewise
		}
	}
}
