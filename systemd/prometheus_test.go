package systemd

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/bazbeans/bazbeans/dev/machine"
)

// prometheus has Debian's Prometheus watch lbd with the rules and the scrape config of docs/observability.md: it takes
// them all, each panel of the dashboard gets an answer, and an alert comes when Nginx is stopped.
func prometheus(t *testing.T, s *site) {
	text, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	_, config, _ := strings.Cut(string(text), "```yaml\n")
	config, _, _ = strings.Cut(config, "```")
	config = strings.NewReplacer(`["10.0.0.11:9180", "10.0.0.12:9180"]`, `["127.0.0.1:9180"]`, "scrape_interval: 15s", "scrape_interval: 1s").Replace(config)
	s.Write(t, "/etc/prometheus/prometheus.yml", "global: {evaluation_interval: 1s}\n"+config, 0o644)
	s.Copy(t, "../docs/alerts.yml", "/etc/prometheus/alerts.yml", 0o644)
	s.Must(t, "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
	s.Must(t, "systemctl", "restart", "prometheus")
	machine.Eventually(t, "prometheus sees lbd", func() bool { return len(s.ask(t, "lbd_ready == 1")) == 1 }, func() string { return s.Journal("prometheus") })

	machine.Eventually(t, "prometheus has two samples", func() bool { return len(s.ask(t, "rate(process_cpu_seconds_total[20s])")) == 1 }, s.readyz)
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err = os.ReadFile("../docs/grafana/lbd.json")
	if err == nil {
		err = json.Unmarshal(text, &board)
	}
	if err != nil {
		t.Fatal(err)
	}
	queries := 0
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			queries++
			expr := strings.NewReplacer("$__rate_interval", "20s", "$job", ".*", "$instance", ".*").Replace(q.Expr)
			// The one query that shows a fault has nothing to show. A rate needs two scrapes.
			if !strings.HasSuffix(expr, "== 0") && !machine.Until(func() bool { return len(s.ask(t, expr)) > 0 }) {
				t.Errorf("panel %q is empty: %s", p.Title, expr)
			}
		}
	}
	if queries == 0 {
		t.Error("the dashboard asks for nothing")
	}
	if firing := s.ask(t, `ALERTS{alertstate="firing"}`); len(firing) > 0 {
		t.Errorf("all is well, and there are alerts: %v", firing)
	}
	s.Must(t, "systemctl", "stop", "nginx")
	machine.Eventually(t, "LbdNginxDown", func() bool { return strings.Contains(fmt.Sprint(s.ask(t, "ALERTS")), "LbdNginxDown") }, s.readyz)
	s.Must(t, "systemctl", "start", "nginx")
	s.ready(t)
	s.Must(t, "systemctl", "stop", "prometheus")
}

// ask puts a query to Prometheus and returns the labels of what it answers.
func (s *site) ask(t *testing.T, query string) (series []map[string]string) {
	t.Helper()
	_, body, err := s.Get("http://127.0.0.1:9090/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return nil // not yet
	}
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Status != "success" {
		if strings.Contains(body, "Service Unavailable") || strings.Contains(body, "Starting") {
			return nil
		}
		t.Fatalf("%s: %v %s", query, err, body)
	}
	for _, r := range answer.Data.Result {
		series = append(series, r.Metric)
	}
	return series
}
