package lbd

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"testing"

	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
	"github.com/bazbeans/bazbeans/lbd/live/lua"
)

// TestNoDeadSocketIsGivenBack: it would keep Nginx from starting, where no init_by_lua of ours removes it.
func TestNoDeadSocketIsGivenBack(t *testing.T) {
	for _, init := range []bool{true, false} {
		dir := serverstest.Dir(t)
		k := &luaKind{options: lua.Options{Socket: dir + "/live/control.sock", Init: init}, aside: dir + "/live/live.sock"}
		if err := k.ready(); err != nil {
			t.Fatal(err)
		}
		die := func(path string) {
			t.Helper()
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}
		there := func(path string) bool {
			_, err := os.Lstat(path)
			return !errors.Is(err, fs.ErrNotExist)
		}
		die(k.aside)
		if k.giveBack(); there(k.options.Socket) || there(k.aside) {
			t.Errorf("init %v: a dead socket is put back", init)
		}
		die(k.options.Socket)
		if k.giveBack(); there(k.options.Socket) != init { // Nginx's own start removes it, and might be under way
			t.Errorf("init %v: a dead socket in the place of Nginx's is there: %v", init, !init)
		}
	}
}
