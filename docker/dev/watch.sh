#!/bin/sh
# watch.sh FOLDER: compiles lbd and bbagent of the checkout in /src into a folder, and again after each change.
set -u
out=$1
cd /src || exit 1
mkdir -p "$out/new"
stamp=$out/stamp
while :; do
	if [ ! -e "$stamp" ] || [ -n "$(find . -newer "$stamp" -type f \( -name '*.go' -o -name '*.tmpl' -o -name '*.lua' -o -name go.mod \) -print -quit)" ]; then
		touch "$stamp" # before the build: what is changed while it runs is built next
		if CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$out/new/" ./cmd/lbd ./cmd/bbagent; then
			# The old file is not overwritten, as it runs; and nobody sees half a file.
			mv "$out/new/lbd" "$out/new/bbagent" "$out/"
			echo "built at $(date +%T)"
		fi
	fi
	sleep 1
done
