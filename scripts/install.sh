#!/bin/sh
# Installs the command `parler` for one user, or takes it away again.
#
# With uv or pipx, whichever is here; else into an environment of its own. Needs Python
# 3.11 or newer and writes below the home of this user only.
set -eu
unset PYTHONHOME PYTHONPATH # of other Pythons: what is installed here has its own

PACKAGE=parler-agents
DATA=${XDG_DATA_HOME:-$HOME/.local/share}/parler
BIN=${XDG_BIN_HOME:-$HOME/.local/bin}

usage() {
  cat <<EOF
Usage: install.sh [--from SOURCE] [--with uv|pipx|venv]
       install.sh --uninstall [--purge]

  --from SOURCE  what pip can install: a folder, a wheel, a version (default: the
                 checkout this script lies in, else $PACKAGE from the package index)
  --with TOOL    how to install; default: uv if it is here, else pipx, else venv
  --uninstall    take the command away, and what it wrote into the agent apps
  --purge        with --uninstall: also ~/.parler, the keys of all your agents included
EOF
}

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install: %s\n' "$*" >&2
  exit 1
}
here() { command -v "$1" >/dev/null 2>&1; }

find_python() {
  bare=''
  for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
    here "$name" || continue
    "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    bare=$name
    "$name" -c 'import ensurepip, venv' 2>/dev/null || continue
    command -v "$name"
    return 0
  done
  if [ -n "$bare" ]; then
    bare=$("$bare" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    fail "$bare is here without its venv and ensurepip modules (Debian, Ubuntu: apt install $bare-venv)"
  fi
  fail "Python 3.11 or newer is needed (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python)"
}

default_source() {
  # Piped into a shell there is no file to lie beside.
  case $0 in
    */install.sh) folder=$(cd "$(dirname "$0")/.." && pwd -P) ;;
    *) folder= ;;
  esac
  if [ -n "$folder" ] && grep -q "^name = \"$PACKAGE\"" "$folder/pyproject.toml" 2>/dev/null; then
    say "$folder"
  else
    say "$PACKAGE"
  fi
}

choose_tool() {
  if here uv; then
    say uv
  elif here pipx; then
    say pipx
  else
    say venv
  fi
}

# What a tool says is shown if it fails; a person is told what is done meanwhile.
quietly() {
  said=$(mktemp)
  trap 'rm -f "$said"' EXIT
  if ! "$@" >"$said" 2>&1; then
    cat "$said" >&2
    return 1
  fi
  rm -f "$said"
}

install_in_venv() {
  python=$(find_python)
  case $(readlink "$BIN/parler" 2>/dev/null || true) in
    "$DATA"/env.*/bin/parler) ;;
    *) [ ! -e "$BIN/parler" ] || fail "$BIN/parler is there and is not ours; move it away first" ;;
  esac
  mkdir -p "$DATA" "$BIN"
  # Beside the one in use: a failed upgrade leaves a working command.
  fresh=$DATA/env.$(date +%s).$$
  if ! { quietly "$python" -m venv "$fresh" &&
    quietly "$fresh/bin/python" -m pip install --no-cache-dir --disable-pip-version-check "$1"; }; then
    rm -rf "$fresh"
    fail "could not install $1; what was installed before is as it was"
  fi
  before=$(readlink "$BIN/parler" 2>/dev/null || true)
  ln -sfn "$fresh/bin/parler" "$BIN/parler"
  # What runs now goes on from the environment it began in, so that one stays as well.
  for old in "$DATA"/env.*; do
    case $old in
      "$fresh" | "${before%/bin/parler}") ;;
      *) rm -rf "$old" ;;
    esac
  done
  if [ -n "$before" ]; then
    say "what runs already goes on as it was: restart your agent apps, and a local hub by"
    say "    parler hub stop && parler hub start"
  fi
}

check() {
  case $1 in
    uv) folder=$(uv tool dir --bin 2>/dev/null || say "$BIN") ;;
    pipx) folder=$(pipx environment --value PIPX_BIN_DIR 2>/dev/null || say "$BIN") ;;
    *) folder=$BIN ;;
  esac
  version=$("$folder/parler" version) || fail "$folder/parler does not run"
  say "installed: $folder/parler, $version"
  found=$(command -v parler || true)
  if [ -z "$found" ]; then
    say "$folder is not on PATH. Add this line to the start-up file of your shell:"
    say "    export PATH=\"$folder:\$PATH\""
  elif [ "$found" != "$folder/parler" ]; then
    say "note: \`parler\` in this shell is another one, $found"
  fi
  say "next: parler connect"
}

# Other programs are called so, too.
is_ours() {
  case $([ -x "$1" ] && "$1" version --json 2>/dev/null) in
    *'"protocol":"'*) return 0 ;;
    *) return 1 ;;
  esac
}

uninstall() {
  command=$BIN/parler
  [ -x "$command" ] || command=$(command -v parler || true)
  if is_ours "$command"; then
    # The apps must not be left with a command that is gone.
    "$command" connect --remove >/dev/null 2>&1 || say "note: parler connect --remove failed; look at your apps' MCP settings"
    "$command" hub uninstall-service >/dev/null 2>&1 || true
    "$command" hub stop >/dev/null 2>&1 || true
  fi
  removed=no
  if here uv && uv tool list 2>/dev/null | grep -q "^$PACKAGE "; then
    uv tool uninstall "$PACKAGE" && removed=yes
  fi
  if here pipx && pipx list --short 2>/dev/null | grep -q "^$PACKAGE "; then
    pipx uninstall "$PACKAGE" && removed=yes
  fi
  case $(readlink "$BIN/parler" 2>/dev/null || true) in
    "$DATA"/env.*/bin/parler)
      rm -f "$BIN/parler"
      rm -rf "$DATA"/env.*
      rmdir "$DATA" 2>/dev/null || true
      removed=yes
      ;;
  esac
  if [ "$removed" = yes ]; then
    say "parler is uninstalled"
  else
    say "parler was not installed"
  fi
  home=${PARLER_HOME:-$HOME/.parler}
  if [ "$1" = yes ]; then
    case $home in
      / | "$HOME" | "$HOME/") fail "PARLER_HOME is $home: that is not ours to delete" ;;
    esac
    rm -rf "$home"
  elif [ -d "$home" ]; then
    say "kept: $home, with the keys of your agents (--purge deletes it)"
  fi
}

source='' tool='' action=install purge=no
while [ $# -gt 0 ]; do
  case $1 in
    --from)
      [ $# -gt 1 ] || fail "--from needs a value"
      source=$2
      shift
      ;;
    --with)
      [ $# -gt 1 ] || fail "--with needs a value"
      tool=$2
      shift
      ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
  shift
done

if [ "$action" = uninstall ]; then
  uninstall "$purge"
  exit 0
fi
[ "$purge" = no ] || fail "--purge goes with --uninstall"
[ -n "$source" ] || source=$(default_source)
[ -n "$tool" ] || tool=$(choose_tool)
case $tool in
  uv | pipx | venv) say "installing $source with $tool; this may take a minute …" ;;
  *) fail "--with takes uv, pipx or venv" ;;
esac
case $tool in
  uv) quietly uv tool install --force "$source" || fail "could not install $source" ;;
  pipx) quietly pipx install --force "$source" || fail "could not install $source" ;;
  venv) install_in_venv "$source" ;;
esac
check "$tool"
