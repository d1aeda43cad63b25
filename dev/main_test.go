package dev

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/bazbeans/bazbeans/cli"
)

// asBinary tells this test binary, started by a test, to be bbdev.
const asBinary = "BAZBEANS_TEST_BBDEV"

func TestMain(m *testing.M) {
	if os.Getenv(asBinary) != "" {
		cli.Main(Main)
	}
	goleak.VerifyTestMain(m)
}

func TestMainAnswers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("nodess: 3\nhttp_port: many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--help", cli.Done, "--http-port"},
		{"help", cli.Done, "--smoke"},
		{"version", cli.Done, "bbdev "},
		{"--version", cli.Done, "bbdev "},
		{"up", cli.Usage, `unknown command ["up"]`},
		{"--nodess 3", cli.Usage, "--nodess"},
		{"--nodes many", cli.Usage, "--nodes"},
		{"--nodes 0", cli.Usage, "nodes 0 is not a number from 1 to 50"},
		{"--nodes 51", cli.Usage, "nodes 51 is not"},
		{"--http-port 70000", cli.Usage, "http-port 70000 is not a port"},
		{"--redis-port -1", cli.Usage, "redis-port -1 is not a port"},
		{"--rate 0", cli.Usage, "rate 0 is not"},
		{"--rate NaN", cli.Usage, "rate NaN is not"},
		{"--posts 1.5", cli.Usage, "posts 1.5 is not a share"},
		{"--posts NaN", cli.Usage, "posts NaN is not a share"},
		{"--smoke --nodes 1", cli.Usage, "--nodes 2 or more"},
		{"--smoke --rate 20", cli.Usage, "3 nodes need --rate 30 or more"},
		{"--log-level loud", cli.Usage, "--log-level"},
		{"--log-format xml", cli.Usage, "--log-format"},
		{"--config " + file, cli.Usage, file + ":2: http_port"},
		{"--config " + file, cli.Usage, file + ":1: "},
	} {
		var out bytes.Buffer
		code := Main(t.Context(), strings.Fields(c.args), nil, &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit code %d, want %d with %q:\n%s", c.args, code, c.code, c.want, &out)
		}
	}
}
