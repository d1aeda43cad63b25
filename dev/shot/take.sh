#!/bin/sh
# Takes the pictures of bbctl in docs/img from a real run: a demo site of six nodes, in a terminal of tmux.
# Usage: dev/shot/take.sh (after make build; needs tmux). Every port and folder is its own.
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
bin=$PWD/bin
redis=26391
"$bin/bbdev" --nodes 6 --redis-port $redis --http-port 28481 --status-port 29481 --node-port 28011 > "$dir/log" 2>&1 &
site=$!
stop() {
	for name in list-nodes status update; do
		tmux -L "shot-$name-$$" kill-server 2>/dev/null || true
	done
}
trap 'kill $site; wait $site || true; stop; rm -rf "$dir"' EXIT
mkdir -p "$dir/.config/bazbeans"
cat > "$dir/.config/bazbeans/config.yaml" <<END
current_context: shop
contexts:
  shop: {redis: {url: "redis://127.0.0.1:$redis"}, as: ann@desk}
END
bbctl() { HOME=$dir XDG_CONFIG_HOME='' "$bin/bbctl" "$@"; }
until bbctl lbs -o json 2>/dev/null | grep -q '"state": "ok"'; do sleep 0.2; done

# shot NAME UNTIL COMMAND: what the terminal shows once a line has the text UNTIL.
shot() {
	tmux="tmux -L shot-$1-$$ -f /dev/null"
	$tmux new-session -d -x 124 -y 40 "env -i HOME=$dir PATH=$bin:/usr/bin:/bin TERM=xterm-256color sh -c '$3; sleep 30'"
	until $tmux capture-pane -p | grep -q "$2"; do sleep 0.1; done
	sleep 0.3
	{ $tmux capture-pane -ep | sed -e :a -e '/^[[:space:]]*$/{$d;N;ba' -e '}'; } | go run ./dev/shot "$3" > "docs/img/$1.svg"
}

bbctl restart web4 --as bob@desk > "$dir/out"
bbctl freeze web4 --wait --reason "disk swap" > "$dir/out" 2>&1
shot list-nodes "^web6" "bbctl list-nodes"
shot status "node_frozen" "bbctl status web4"
shot update "web5 .* updating" "bbctl update --yes --pause 1s"
