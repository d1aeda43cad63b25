package servers

import (
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// defaultConf is a small load balancer. The folders for temporary files are
// named, one level deep, because the compiled-in ones (/var/lib/nginx, …) are
// not ours and a normal user cannot make them.
var defaultConf = template.Must(template.New("nginx.conf").Parse(`
{{- if .Root}}# Started by root the workers would become nobody, who may not enter this folder.
user root;
{{end -}}
{{range .Modules -}}
load_module {{.}};
{{end -}}
worker_processes {{.Workers}};
worker_shutdown_timeout 10s;
pid nginx.pid;
error_log error.log notice;

events {
    worker_connections 1024;
}

http {
    access_log off;
    default_type text/plain;
    client_body_temp_path client_body_temp;
    proxy_temp_path proxy_temp;
    fastcgi_temp_path fastcgi_temp;
    uwsgi_temp_path uwsgi_temp;
    scgi_temp_path scgi_temp;

    include conf.d/*.conf;

    server {
{{- range .Listen}}
        listen {{.}};
{{- end}}

        location / {
            proxy_pass http://app_backend;
            proxy_http_version 1.1;          # with the next line: keep-alive to the nodes
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }
    }
}
`))

// DefaultConf is the nginx.conf that StartNginx writes when it is given none:
// it takes Listen, Workers and Modules from opts.
func DefaultConf(opts NginxOptions) string {
	var text strings.Builder
	workers := opts.Workers
	if workers == 0 {
		workers = 2
	}
	err := defaultConf.Execute(&text, struct {
		Root    bool
		Workers int
		Listen  []string
		Modules []string
	}{os.Geteuid() == 0, workers, opts.Listen, opts.Modules})
	if err != nil {
		panic(err) // the template and its data are both in this file
	}
	return text.String()
}

// placeholder gives the default configuration an upstream without a node when
// conf.d has no file yet: Nginx refuses a proxy_pass to an upstream that is not
// there. What a site left in the folder the last time stays.
func placeholder(prefix string) error {
	if found, _ := filepath.Glob(filepath.Join(prefix, "conf.d/*.conf")); len(found) > 0 { // the pattern is well formed
		return nil
	}
	return writeFile(filepath.Join(prefix, "conf.d/upstream.conf"), "upstream app_backend { server 127.0.0.1:9 down; }\n")
}
