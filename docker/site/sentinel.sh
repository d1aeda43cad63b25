#!/bin/sh
# Starts a Sentinel that keeps what it knows in /data. It knows all by name: addresses change with each container.
set -eu
conf=/data/sentinel.conf
if [ ! -e $conf ]; then
	{
		echo "port 26379"
		echo "dir /data"
		echo "protected-mode no"
		echo "sentinel resolve-hostnames yes"
		echo "sentinel announce-hostnames yes"
		echo "sentinel announce-ip $(hostname)"
		echo "sentinel monitor bazbeans redis-1 6379 2"
		echo "sentinel down-after-milliseconds bazbeans 3000"
		echo "sentinel failover-timeout bazbeans 10000"
	} >$conf
fi
# A name that is not there yet would be the end.
until getent hosts redis-1 >/dev/null; do sleep 1; done
exec redis-server $conf --sentinel
