#!/bin/sh
# Starts a Redis whose role outlives its container: Sentinel has Redis rewrite /data/redis.conf, which is made once.
set -eu
conf=/data/redis.conf
if [ ! -e $conf ]; then
	{
		echo "include /site/redis.conf"
		echo "dir /data"
		[ -z "${REPLICA_OF:-}" ] || echo "replicaof $REPLICA_OF 6379"
	} >$conf
fi
exec redis-server $conf
