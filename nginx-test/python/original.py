#!/usr/bin/env python3
"""A stand-in for the original Python system, for tests of mixed fleets.

It does what the original does on the wire, and no better: the same keys, the
same JSON, the same order of writes (an agent publishes before its address and
its first heartbeat are written), reads and writes that do not belong together
in one transaction, no revision, no operators' freezes. It knows nothing of
what the Go side added, and must not learn it: a fleet of this and ours is what
the tests prove.

    original.py agent   --redis-url URL --node-id ID --address IP [...]
    original.py cli     --redis-url URL list-nodes | COMMAND ID [ARG...]
    original.py updater --redis-url URL --upstream-file FILE --node-port PORT
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import time

import psutil
import redis

CHANNEL = "bazbeans:lb_events"


def log(*words):
    print(*words, file=sys.stderr, flush=True)


class NodePool:
    """node_pool.py: the shared state of all nodes, seen from one of them."""

    def __init__(self, client, config):
        self.redis, self.config, self.node_id = client, config, config.node_id

    def status_key(self, node_id):
        return f"bazbeans:node:{node_id}:status"

    def register(self):
        self.redis.sadd("bazbeans:nodes:all", self.node_id)
        self.redis.sadd("bazbeans:nodes:active", self.node_id)
        self.set_status("active", "", frozen=False)

    def set_status(self, status, details, frozen):
        self.redis.hset(self.status_key(self.node_id), mapping={
            "status": status,
            "details": details,
            "timestamp": str(time.time()),
            "data_center": self.config.data_center,
            "is_frozen": "true" if frozen else "false",
            "is_active": "false" if frozen else "true",
        })

    def heartbeat(self, metrics, frozen):
        self.redis.setex(f"bazbeans:node:{self.node_id}:heartbeat", self.config.heartbeat_ttl, json.dumps({
            "timestamp": time.time(),
            "node_id": self.node_id,
            "data_center": self.config.data_center,
            "is_frozen": frozen,
            "is_active": not frozen,
            **metrics,
        }))

    def freeze(self, reason):
        self.redis.srem("bazbeans:nodes:active", self.node_id)
        self.set_status("frozen", reason, frozen=True)

    def unfreeze(self):
        self.redis.sadd("bazbeans:nodes:active", self.node_id)
        self.set_status("active", "", frozen=False)

    def get_active_nodes(self):
        return sorted(self.redis.smembers("bazbeans:nodes:active"))


class NodeAgent:
    """node_agent.py: heartbeats, health, commands."""

    def __init__(self, client, config):
        self.redis, self.config = client, config
        self.pool = NodePool(client, config)
        self.is_frozen = False

    def run(self):
        self.pool.register()
        self.notify("registered", data_center=self.config.data_center, node_port=self.config.node_port)
        time.sleep(self.config.slow)
        self.redis.hset("bazbeans:node_ips", self.config.node_id, self.config.address)
        log("registered")
        beat = poll = 0.0
        while True:
            if time.monotonic() >= beat:
                self.pool.heartbeat(self.metrics(), self.is_frozen)
                beat = time.monotonic() + self.config.heartbeat_interval
            if time.monotonic() >= poll:
                self.take_commands()
                poll = time.monotonic() + self.config.command_poll_interval
            time.sleep(0.01)

    def metrics(self):
        return {
            "cpu_percent": psutil.cpu_percent(),
            "memory_percent": psutil.virtual_memory().percent,
            "disk_percent": psutil.disk_usage("/").percent,
        }

    def take_commands(self):
        while raw := self.redis.lpop(f"bazbeans:node:{self.config.node_id}:commands"):
            command = json.loads(raw)
            log("command", raw)
            result = self.execute(command)
            # For people; the state is in is_frozen.
            self.redis.hset(self.pool.status_key(self.config.node_id), mapping={
                "status": "executed_" + command["type"],
                "details": json.dumps(result),
                "timestamp": str(time.time()),
            })

    def execute(self, command):
        if command["type"] == "freeze":
            self.is_frozen = True
            self.pool.freeze(command.get("reason", ""))
            self.notify("frozen", command.get("reason", ""))
        elif command["type"] == "unfreeze":
            self.is_frozen = False
            self.pool.unfreeze()
            self.notify("unfrozen")
        elif command["type"] == "exec":
            if not command["command"].startswith(("docker", "systemctl", "ls", "cat")):
                return {"error": "command not allowed"}
            return self.shell(command["command"])
        elif command["type"] in ("start", "stop", "restart", "update"):
            result = self.shell(f"docker-compose -f docker-compose.yml {command['type']}")
            return {"stdout": result["stdout"], "stderr": result["stderr"]}
        elif command["type"] == "deploy_file":
            with open(command["path"], "w", encoding="utf-8") as f:
                f.write(command["content"])
            return {"status": "deployed"}
        elif command["type"] != "health_check":
            return {"error": "unknown command"}
        return {"status": "completed", "healthy": True}

    def shell(self, line):
        run = subprocess.run(line, shell=True, capture_output=True, text=True, cwd=self.config.app_dir, check=False)
        return {"stdout": run.stdout, "stderr": run.stderr, "returncode": run.returncode}

    def notify(self, action, reason="", **more):
        self.redis.publish(CHANNEL, json.dumps({
            "event": "node_" + action,
            "node_id": self.config.node_id,
            "timestamp": datetime.datetime.utcnow().isoformat() + "Z",
            "reason": reason,
            "active_nodes": self.pool.get_active_nodes(),
            **more,
        }))


class ControlCLI:
    """control_cli.py: it speaks to agents only, through their queues."""

    def __init__(self, client):
        self.redis = client

    def list_nodes(self):
        for node_id in sorted(self.redis.smembers("bazbeans:nodes:all")):
            status = self.redis.hgetall(f"bazbeans:node:{node_id}:status")
            beat = json.loads(self.redis.get(f"bazbeans:node:{node_id}:heartbeat") or "{}")
            state = "FROZEN" if status.get("is_frozen") == "true" else "ACTIVE" if status.get("is_active") == "true" else "INACTIVE"
            print(node_id, state, status["data_center"], f"{float(status['timestamp']):.0f}", beat.get("cpu_percent", "-"))

    def status(self, node_id):
        print(json.dumps(self.redis.hgetall(f"bazbeans:node:{node_id}:status"), indent=2))

    def send(self, node_id, command):
        self.redis.rpush(f"bazbeans:node:{node_id}:commands", json.dumps(command))
        print(f"Sent {command['type']} to {node_id}")


class NginxUpdater:
    """nginx_updater.py with RedisIPResolver: it believes an event's active_nodes. It does not reload here."""

    def __init__(self, client, config):
        self.redis, self.config = client, config

    def run(self):
        channel = self.redis.pubsub()
        channel.subscribe(CHANNEL)
        for message in channel.listen():
            if message["type"] == "subscribe":
                log("subscribed")
                continue
            event = json.loads(message["data"])
            log(event["event"], event["node_id"], event["timestamp"], event["reason"])
            self.write(event["active_nodes"])

    def write(self, nodes):
        lines = [f"    server {ip}:{self.config.node_port};\n" for ip in (self.redis.hget("bazbeans:node_ips", n) for n in nodes) if ip]
        temp = self.config.upstream_file + ".tmp"
        with open(temp, "w", encoding="ascii") as f:
            f.write("upstream app_backend {\n" + "".join(lines) + "}\n")
        os.replace(temp, self.config.upstream_file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)

    agent = parts.add_parser("agent")
    agent.add_argument("--node-id", required=True)
    agent.add_argument("--address", required=True)
    agent.add_argument("--data-center", default="default")
    agent.add_argument("--node-port", type=int, default=8000)
    agent.add_argument("--heartbeat-interval", type=float, default=10)
    agent.add_argument("--heartbeat-ttl", type=int, default=30)
    agent.add_argument("--command-poll-interval", type=float, default=5)
    agent.add_argument("--app-dir", default="/")
    agent.add_argument("--slow", type=float, default=0, help="seconds from the event to what it speaks of")

    cli = parts.add_parser("cli")
    cli.add_argument("command", choices=["list-nodes", "status", "freeze", "unfreeze", "start", "stop", "restart", "update", "exec", "deploy-file"])
    cli.add_argument("node_id", nargs="?")
    cli.add_argument("args", nargs="*")
    cli.add_argument("--reason", default="")

    updater = parts.add_parser("updater")
    updater.add_argument("--upstream-file", required=True)
    updater.add_argument("--node-port", type=int, default=8000)

    for part in (agent, cli, updater):
        part.add_argument("--redis-url", default="redis://localhost:6379/0")
    config = parser.parse_args()
    client = redis.Redis.from_url(config.redis_url, decode_responses=True)

    if config.part == "agent":
        NodeAgent(client, config).run()
    elif config.part == "updater":
        NginxUpdater(client, config).run()
    elif config.command == "list-nodes":
        ControlCLI(client).list_nodes()
    elif config.command == "status":
        ControlCLI(client).status(config.node_id)
    else:
        command = {"type": config.command.replace("-", "_")}
        if config.command == "freeze":
            command["reason"] = config.reason
        elif config.command == "exec":
            command["command"] = config.args[0]
        elif config.command == "deploy-file":
            with open(config.args[0], encoding="utf-8") as f:
                command.update(path=config.args[1], content=f.read())
        ControlCLI(client).send(config.node_id, command)


if __name__ == "__main__":
    main()
