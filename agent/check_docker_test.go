package agent

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"testing"
)

// docker plays the Engine API on a socket, with answers as the real one gives them, and returns the socket.
func docker(t *testing.T, lists map[string]string, containers map[string]string) string {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containers/{name}/json", func(w http.ResponseWriter, r *http.Request) {
		state, ok := containers[r.PathValue("name")]
		if !ok {
			http.Error(w, `{"message":"No such container"}`, http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(`{"Id":"abc","State":` + state + `,"Name":"/x"}`))
	})
	mux.HandleFunc("GET /containers/json", func(w http.ResponseWriter, r *http.Request) {
		var filters struct{ Label []string }
		if err := json.Unmarshal([]byte(r.FormValue("filters")), &filters); err != nil || len(filters.Label) != 3 || r.FormValue("all") != "1" {
			http.Error(w, `{"message":"bad filters"}`, http.StatusBadRequest)
			return
		}
		if list, ok := lists[filters.Label[0]+" "+filters.Label[2]]; ok {
			_, _ = w.Write([]byte(list))
			return
		}
		_, _ = w.Write([]byte("[]"))
	})
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: mux}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	return socket
}

func TestDockerCheck(t *testing.T) {
	socket := docker(t, nil, map[string]string{
		"plain":   `{"Status":"running","Running":true,"ExitCode":0}`,
		"healthy": `{"Status":"running","Health":{"Status":"healthy","FailingStreak":0,"Log":[]}}`,
		"slow":    `{"Status":"running","Health":{"Status":"starting"}}`,
		"sick":    `{"Status":"running","Health":{"Status":"unhealthy","Log":[{"Output":"a"},{"Output":"trying\ncurl: (7) refused\n"}]}}`,
		"gone":    `{"Status":"exited","ExitCode":137}`,
		"paused":  `{"Status":"paused"}`,
	})
	for name, want := range map[string]string{
		"plain": "", "healthy": "", "slow": "health is starting", "sick": "health is unhealthy: curl: (7) refused",
		"gone": "exited with code 137", "paused": "is paused", "none": "there is no container none", "a/../b": "there is no container",
	} {
		wantLook(t, "", `{name: c, docker: {container: "`+name+`", socket: "`+socket+`"}}`, want)
	}
	wantLook(t, "", `{name: c, docker: {container: x, socket: /no/such.sock}}`, "ask docker: dial unix /no/such.sock")
}

func TestComposeCheck(t *testing.T) {
	const here = " com.docker.compose.project.working_dir=/opt/app"
	service := func(name string) string { return "com.docker.compose.service=" + name + here }
	socket := docker(t, map[string]string{
		service("web"):  `[{"Names":["/app-web-1"],"State":"running","Status":"Up 3 minutes (healthy)"},{"Names":["/app-web-2"],"State":"running","Status":"Up 3 minutes"}]`,
		service("sick"): `[{"Names":["/app-sick-1"],"State":"running","Status":"Up 3 minutes"},{"Names":["/app-sick-2"],"State":"running","Status":"Up 3 minutes (unhealthy)"}]`,
		service("one"):  `[{"Names":["/app-one-1"],"State":"running","Status":"Up 3 minutes"},{"Names":["/app-one-2"],"State":"exited","Status":"Exited (1) 5 minutes ago"}]`,
		"com.docker.compose.service=web com.docker.compose.project=other": `[{"Names":["/other-web-1"],"State":"running","Status":"Up 1 second (health: starting)"}]`,
	}, nil)
	for settings, want := range map[string]string{
		"service: web":                 "",
		"service: sick":                "app-sick-2: running, Up 3 minutes (unhealthy)",
		"service: one":                 "app-one-2: exited, Exited (1) 5 minutes ago",
		"service: none":                "service none has no container (com.docker.compose.project.working_dir=/opt/app)",
		"service: web, project: other": "other-web-1: running, Up 1 second (health: starting)",
	} {
		wantLook(t, "", `{name: c, compose: {`+settings+`, socket: "`+socket+`"}}`, want)
	}
}
