#!/bin/sh
# rerun.sh PROGRAM [ARG…]: runs a program, and runs it anew when its file is replaced. What it may not survive is a
# signal that it does not know: TERM, INT and HUP are passed on.
set -u
child=
trap '[ -z "$child" ] || kill -TERM "$child"; wait; exit' TERM INT
trap '[ -z "$child" ] || kill -HUP "$child"' HUP
while :; do
	until [ -x "$1" ]; do sleep 0.5; done
	file=$(stat -c %i "$1")
	"$@" &
	child=$!
	while kill -0 "$child" 2>/dev/null && [ "$(stat -c %i "$1")" = "$file" ]; do sleep 0.5; done
	kill -TERM "$child" 2>/dev/null && echo "rerun: $1 is new"
	wait "$child"
done
