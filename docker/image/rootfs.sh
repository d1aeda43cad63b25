#!/bin/sh
# Lays out the files of each image below a folder: run by the Dockerfile, in its first stage.
# VERSION, SOURCE_DATE_EPOCH and BINARIES (source: compile; prebuilt: from bin/) come in the environment.
set -eu
out=$1
mkdir -p "$out"
if [ "${BINARIES:-source}" = prebuilt ]; then
	bin=bin
else
	bin=$out/bin
	mkdir -p "$bin"
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X github.com/bazbeans/bazbeans/cli.version=$VERSION" \
		-o "$bin/" ./cmd/lbd ./cmd/bbagent ./cmd/bbctl ./cmd/bbinit
fi

# place IMAGE MODE FROM TO
place() {
	mkdir -p "$out/$1$(dirname "$4")"
	cp "$3" "$out/$1$4"
	chmod "$2" "$out/$1$4"
}
for program in lbd bbinit; do place lbd 755 "$bin/$program" "/usr/local/bin/$program"; done
for program in bbagent bbinit; do place bbagent 755 "$bin/$program" "/usr/local/bin/$program"; done
place bbctl 755 "$bin/bbctl" /usr/local/bin/bbctl

# lbd tests a copy of nginx.conf that has to be beside it: this link lets it write the copy in its own folder.
place lbd 644 docker/image/nginx.conf /etc/nginx/nginx.conf
# The base image's welcome page would be a site of its own.
echo "# Emptied: your sites go beside this file." >default.conf
place lbd 644 default.conf /etc/nginx/conf.d/default.conf
ln -s /var/lib/lbd/nginx.conf "$out/lbd/etc/nginx/.nginx.conf.lbd"
# Folders that belong to the image's user.
mkdir -p "$out/lbd-state/lbd" "$out/lbd-conf/upstreams" "$out/bbagent-state/bbagent"
place web 644 docker/image/web.conf /etc/nginx/nginx.conf

# An image from scratch has no users and trusts nobody.
for image in bbagent bbctl; do
	echo "$image:x:65532:65532::/:/sbin/nologin" >passwd
	place $image 644 passwd /etc/passwd
	if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
		place $image 644 /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
	fi
done

chmod 700 "$out"/*-state/*
find "$out" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
