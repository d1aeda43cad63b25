#!/bin/sh
# Starts a Sentinel that keeps what it knows in /data.
set -eu
conf=/data/sentinel.conf
if [ ! -e $conf ]; then
	{
		echo "port 26379"
		echo "dir /data"
		echo "protected-mode no"
		echo "sentinel monitor bazbeans $MASTER 6379 2"
		echo "sentinel down-after-milliseconds bazbeans 3000"
		echo "sentinel failover-timeout bazbeans 10000"
	} >$conf
fi
exec redis-server $conf --sentinel
