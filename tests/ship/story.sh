#!/bin/sh
# The main job, as somebody types it who has only what is installed: story.sh PARLER
set -eu
parler=$1
folder=$(mktemp -d)
trap 'kill "$hub" 2>/dev/null || true; rm -rf "$folder"' EXIT
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
as() {
  home=$folder/$1
  shift
  "$parler" "$@" --home "$home"
}
until_true() {
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { echo "story: waited in vain for: $*" >&2; exit 1; }
    sleep 0.1
  done
}

cd "$folder"
"$parler" version
"$parler" hub --addr 127.0.0.1:0 --db hub.sqlite --ready-file ready.json >hub.log 2>&1 &
hub=$!
until_true test -s ready.json
url=$(field url <ready.json)

as alice init --name alice --hub "$url"
as bob init --name bob --role webdev --hub "$url"
key=$(as alice session open --topic ship --context "the whole context" --json | field portable)
as bob session join "$key" --json | grep -q pending
as alice session requests | grep -q bob
as alice approve bob --yes
as bob session join "$key" | grep -q "the whole context"
as alice send "the tests are green"
as bob recv | grep -q "the tests are green"
as bob handoff --for alice --next "look at the cart page"
as alice recv | grep -q "HANDOFF TO YOU"
as alice handoff --for webdev --next "answer"
as bob work --once --runner 'cat >/dev/null; echo an answer of a worker'
as alice recv | grep -q "an answer of a worker"
kill "$hub"
wait "$hub"
"$parler" hub check --db hub.sqlite --deep

# This machine's own hub starts in the background: by the very program that runs.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir -p "$HOME/.cursor"
"$parler" connect cursor --local --port "$port"
"$parler" hub status
server=$(python3 -c 'import json, pathlib as p; s = json.loads((p.Path.home() / ".cursor/mcp.json").read_text())["mcpServers"]["parler"]; print(s["command"], *s["args"])')
printf '%s\n' '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"story","version":"1"}}}' |
  env -i HOME="$HOME" PATH=/usr/bin:/bin PARLER_HOME="$folder/mcp" $server | grep -q serverInfo
"$parler" connect --remove
"$parler" hub stop
"$parler" hub start
"$parler" hub stop
echo "story: all of it held"
