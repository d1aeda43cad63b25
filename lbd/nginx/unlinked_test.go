package nginx

import "testing"

// A socket that Nginx closes at a reload and that is not at its path any more is no reason to undo the reload.
func TestUnlinkedSocketIsNotFinal(t *testing.T) {
	for line, want := range map[string]bool{
		`2026/11/22 19:05:18 [emerg] 10236#10236: unlink() /var/lib/lbd/live/control.sock failed (2: No such file or directory)`: false,
		`2026/11/22 19:05:18 [emerg] 10236#10236: bind() to 127.0.0.1:80 failed (98: Address already in use)`:                    false,
		`2026/11/22 19:05:18 [emerg] 10236#10236: still could not bind()`:                                                        true,
		`2026/11/22 19:05:18 [emerg] 10236#10236: unknown directive "unlink()" in /etc/nginx/nginx.conf:1`:                       true,
	} {
		if got := final(line); got != want {
			t.Errorf("final is %v of %s", got, line)
		}
	}
}
