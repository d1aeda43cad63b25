package servers_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/dev/servers"
	"github.com/bazbeans/bazbeans/dev/servers/serverstest"
)

// beParent is the process that will be killed: it starts both servers, prints
// their addresses and waits.
func beParent(dir string) {
	r, err := servers.StartRedis(context.Background(), servers.RedisOptions{Dir: filepath.Join(dir, "redis")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	n, err := servers.StartNginx(context.Background(), servers.NginxOptions{Dir: filepath.Join(dir, "nginx")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(r.Addr(), n.Listen[0])
	select {}
}

func TestServersEndWhenTheirParentIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child of its parent's death")
	}
	parent := again(t, serverstest.Dir(t))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var redis, nginx string
	if _, err := fmt.Sscan(line, &redis, &nginx); err != nil {
		t.Fatal(err)
	}
	if err := dial(redis); err != nil {
		t.Error(err)
	}
	if err := dial(nginx); err != nil {
		t.Error(err)
	}

	parent.Process.Kill()
	parent.Wait()
	for _, addr := range []string{redis, nginx} {
		serverstest.Eventually(t, time.Minute, func() error {
			if dial(addr) == nil {
				return fmt.Errorf("%s still takes connections", addr)
			}
			return nil
		})
	}
}
