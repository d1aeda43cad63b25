#!/bin/sh
# Starts the Nginx of the harness's site. lbd tests copies of the configuration beside the original, so that is in a
# folder which both may write.
set -eu
cp /etc/site/nginx.conf /var/lib/site/
sh /etc/site/modules.sh >/var/lib/site/modules.conf
mkdir -p /var/lib/site/conf.d
upstreams=/var/lib/site/conf.d/app_backend.conf
# Nginx refuses a proxy_pass to an upstream that is not there yet. lbd takes the file over.
[ -s $upstreams ] || echo 'upstream app_backend { server 127.0.0.1:9 down; }' >$upstreams
exec nginx -c /var/lib/site/nginx.conf -g 'daemon off;'
