package agent

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bazbeans/bazbeans/conf"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30": 30 * time.Second, "2.5": 2500 * time.Millisecond, "10s": 10 * time.Second, "1m30s": 90 * time.Second,
		"soon": 0, "-5": 0, "-5s": 0, "NaN": 0, "1e300": 0, "Inf": 0, "9999h": 0, "": 0,
	} {
		var d Duration
		if err := d.Set(text); (err == nil) != (want > 0) || time.Duration(d) != want {
			t.Errorf("%q: %v, error %v", text, d, err)
		}
	}
}

func TestConfigFile(t *testing.T) {
	c := Defaults()
	err := conf.Decode([]byte("node_id: n1\nheartbeat_interval: 5\nheartbeat_ttl: 1m\nlabels: {zone: 4}\nredis: {url: redis://r:1/0}\n"), &c)
	if err != nil {
		t.Fatal(err)
	}
	if c.HeartbeatInterval.String() != "5s" || c.HeartbeatTTL.String() != "1m0s" || c.Labels["zone"] != "4" || c.Redis.URL != "redis://r:1/0" || c.NodePort != 8000 {
		t.Errorf("%+v", c)
	}
	err = conf.Decode([]byte("heartbeat_ttl: soon\nheartbeat_interval: [1]\nallow_unsignedd: [freeze]\nnode_port: 70000\n"), &c)
	for _, want := range []string{
		`line 1: heartbeat_ttl: "soon" is not a time like 10s, 1m30s or 30 (seconds)`,
		"line 2: heartbeat_interval: want a time",
		"line 3: allow_unsignedd: unknown key",
		"line 4: node_port: not allowed: int `70000`",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error\n%v\nwant in it\n%s", err, want)
		}
	}
}

func TestCheckSaysAllAtOnce(t *testing.T) {
	c := Config{NodeID: "a b", Address: "ff02::1", Weight: -1, Labels: map[string]string{"": ""},
		DataCenter: strings.Repeat("d", 300), CPUThreshold: 101, ThresholdRise: 1001}
	_, err := c.check()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`node_id: id "a b" is not allowed`, "set --node-id", "data_center is longer", "address ff02::1 is not one node's",
		"labels: ", "weight -1", "heartbeat_interval 0s is shorter than 100ms", "heartbeat_ttl 0s must be longer",
		"command_poll_interval 0s", "cpu_threshold 101", "memory_threshold 0", "threshold_fall 0 is not", "threshold_rise 1001 is not a number from 1 to 1000"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in\n%v", want, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, ok := range map[string]bool{
		"10.0.0.1": true, "127.0.0.1": true, "fd00::1": true, "fe80::1": true, "169.254.1.1": true, "::ffff:10.0.0.1": true,
		"0.0.0.0": false, "::": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
		"fe80::1%eth0": false, "host": false, "10.0.0.1:80": false, "010.0.0.1": false,
	} {
		if _, err := parseAddress(text); (err == nil) != ok {
			t.Errorf("%s: error %v", text, err)
		}
	}
}

func TestNewRefusesRedisThatTellsNoAddress(t *testing.T) {
	for _, url := range []string{"redis://127.0.0.1:6379/0", "redis://[::1]:6379/0", "redis://localhost/0", "unix:///run/redis.sock"} {
		c := Defaults()
		c.NodeID, c.Redis.URL = "n1", url
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), "set --address") {
			t.Errorf("%s: error %v", url, err)
		}
		c.Address = "10.0.0.1"
		a, err := New(c)
		if err != nil {
			t.Errorf("%s with an address: %v", url, err)
			continue
		}
		a.close()
	}
}

func TestSourceAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const nobody = "127.0.0.1:1"
	// The first that answers counts; here it can only be a loopback one.
	_, err = sourceTo(t.Context(), nobody+","+l.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "redis at "+l.Addr().String()+" is a loopback one") {
		t.Errorf("error %v", err)
	}
	if _, err = sourceTo(t.Context(), nobody); err == nil || !unreachable(err) {
		t.Errorf("nobody there: %v", err)
	}
	for text, want := range map[string]string{"10.1.2.3": "10.1.2.3", "::ffff:10.1.2.3": "10.1.2.3", "::1": "", "fe80::1%eth0": ""} {
		got, err := usable(netip.MustParseAddr(text), "redis:6379")
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}
