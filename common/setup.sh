#!/usr/bin/env bash
# Makes or updates .venv from the lock for this machine; stdout is one line, its interpreter's path.
#
#   LOCK=micro|node8   the lock requirements/<LOCK>.txt. Default: the one that .venv was made from,
#                      else node8 where nvidia-smi lists a GPU, else micro.
#   PYTHON=...         the Python to make .venv with. Default: the first fitting one on PATH.
#
# Nothing outside the repository is written. The stamp is completed last: an interrupted set-up has
# none, and the next call repairs it. pip's output is kept in .venv/setup.log.
set -euo pipefail
# pip would count packages on PYTHONPATH as installed; the others act on `import verl` below.
unset CDPATH PYTHONPATH PYTHONHOME VERL_USE_EXTERNAL_MODULES VERL_PLATFORM

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
stamp=$venv/setup.stamp
log=$venv/setup.log
busy=$root/.venv.lock
cpu_index=https://download.pytorch.org/whl/cpu

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

digest() { # of what decides .venv's content: this procedure, the lock and the Python version
  cat -- "$root/common/setup.sh" "$root/requirements/$1.txt" "$venv/pyvenv.cfg" 2>/dev/null |
    { sha256sum 2>/dev/null || shasum -a 256; } | cut -d ' ' -f 1
}

ready() { # the stamp is "<lock> <digest>"; comparing it starts no Python
  local lock key
  [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && read -r lock key <"$stamp" || return 1
  [ "${LOCK:-$lock}" = "$lock" ] && [ "$key" = "$(digest "$lock")" ] || return 1
  [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON")" = "$(version "$venv/bin/python")" ]
}

finish_if_ready() { if ready; then printf '%s\n' "$venv/bin/python"; exit; fi; }

one_at_a_time() { # held until this process ends
  if command -v flock >/dev/null; then
    exec 9>"$busy"
    flock -n 9 || { say "another set-up of this repository is running: waiting for it"; flock 9; }
    return
  fi
  # macOS has no flock: a symbolic link is made atomically and carries its owner, "<host>:<pid>".
  local owner said=
  me=$(uname -n):$$ # global: the trap below needs it
  trap '[ "$(readlink "$busy")" != "$me" ] || rm -f "$busy"' EXIT
  until ln -s "$me" "$busy" 2>/dev/null && sleep 1 && [ "$(readlink "$busy")" = "$me" ]; do
    owner=$(readlink "$busy") || continue
    if [ "${owner%:*}" = "${me%:*}" ] && ! kill -0 "${owner##*:}" 2>/dev/null; then
      rm -f "$busy" # its owner is dead; the second look above settles who of several waiters won
      continue
    fi
    [ -n "$said" ] || say "another set-up of this repository is running: waiting for it"
    said=yes
    sleep 1
  done
}

choose_lock() {
  lock=${LOCK:-}
  if [ -z "$lock" ] && [ -f "$stamp" ]; then
    # .venv keeps its lock: machines that share this folder must not remake it under each other.
    read -r lock _ <"$stamp" || true
  fi
  if [ -z "$lock" ]; then
    lock=micro
    [[ $(nvidia-smi -L 2>/dev/null) != "GPU "* ]] || lock=node8
  fi
  [ -f "$root/requirements/$lock.txt" ] ||
    die "requirements/$lock.txt is missing: set LOCK to micro or node8; git checkout requirements restores both"
  pythons="3.10 3.11 3.12" gigabytes=4 hint=
  if [ "$lock" = node8 ]; then
    pythons=3.12 gigabytes=40 hint=", or LOCK=micro for the CPU packages"
  fi
}

find_python() { # candidates are run, not only found: a pyenv shim may exist and fail
  local candidate without_venv=
  local candidates=(python3 python3.12 python3.11 python3.10)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    found=$(version "$candidate") && [[ " $pythons " == *" $found "* ]] || continue
    python=$candidate
    "$candidate" -c 'import ensurepip, venv' 2>/dev/null && return
    without_venv=$found
  done
  [ -z "$without_venv" ] ||
    die "Python $without_venv lacks its venv module: apt install python$without_venv-venv, or set PYTHON to a complete Python"
  [ -z "${PYTHON:-}" ] ||
    die "PYTHON=$PYTHON is no working Python of ${pythons// /, }: unset it or set it to the path of one$hint"
  die "the packages of requirements/$lock.txt need a Python of ${pythons// /, } and PATH has none that runs: install one or set PYTHON to its path$hint"
}

make_venv() {
  local found disk=$root free output
  if found=$(version "$venv/bin/python") && [[ " $pythons " == *" $found "* ]] &&
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
    { [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON")" = "$found" ]; }; then
    return
  fi
  find_python
  [ ! -d "$venv" ] || disk=$venv # perhaps a link to another one
  free=$(df -Pk "$disk" | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free" -ge "$gigabytes" ] ||
    die "$free GB are free on the disk of $disk and the packages need $gigabytes: free some and call again$hint"
  say "making .venv with $(command -v "$python") (Python $found)"
  output=$("$python" -m venv --clear "$venv" 2>&1) ||
    die "python -m venv failed (${output##*$'\n'}): mend that, remove .venv and call again"
}

pip_install() {
  if [ -t 2 ]; then # progress bars to the terminal, warnings and errors to the log
    "$venv/bin/python" -m pip install --no-input "$@" >&2 2>>"$log"
  else
    "$venv/bin/python" -m pip install --no-input "$@" >>"$log" 2>&1
  fi
}

install() {
  local torch start
  # on the disk that was measured, and kept until the end: an interrupted download is not lost
  export PIP_CACHE_DIR=${PIP_CACHE_DIR:-$venv/build/cache} TMPDIR=$venv/build/tmp
  mkdir -p "$TMPDIR"
  : >"$log"
  torch=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$root/requirements/$lock.txt")
  if [ "$lock" = micro ] && [ "$(uname -s)" = Linux ]; then
    say "installing torch $torch (CPU build)"
    pip_install --no-deps --retries 0 --timeout 15 --index-url "$cpu_index" "torch==$torch+cpu" ||
      say "no CPU build of torch from $cpu_index: taking the index's own, with gigabytes of CUDA"
  fi
  say "installing the packages of requirements/$lock.txt (minutes; log: .venv/setup.log)"
  start=$(wc -l <"$log")
  pip_install -r "$root/requirements/$lock.txt" || explain "$((start + 1))"
  "$venv/bin/python" -c 'import torch, verl' >>"$log" 2>&1 ||
    die "the installed packages do not import ($(tail -n 1 "$log")): remove .venv and call again"
  rm -rf "$venv/build"
}

explain() { # pip's log from line $1 on, in one line for the user
  local trouble
  trouble=$(tail -n "+$1" "$log" |
    grep -E 'ERROR: |No space left|connection (broken|error)|confirming the ssl|Read timed out' || true)
  case $trouble in
    *"No space left"*)
      die "the disk of $venv is full: free $gigabytes GB and call again" ;;
    *"connection "* | *"confirming the ssl"* | *"Read timed out"*)
      die "the package index cannot be reached: check the network, the proxy or PIP_INDEX_URL and call again" ;;
  esac
  die "pip failed (${trouble##*ERROR: }): see .venv/setup.log, mend that and call again"
}

finish_if_ready
[ -w "$root" ] || die "$root is not writable: clone the repository to a folder of your own"
trap 'say "interrupted: call again to finish"; exit 130' INT TERM
one_at_a_time
finish_if_ready # made by the set-up that was waited for
choose_lock
make_venv
printf '%s\n' "$lock" >"$stamp"
install
printf '%s %s\n' "$lock" "$(digest "$lock")" >"$stamp"
say "ready: .venv ($lock)"
printf '%s\n' "$venv/bin/python"
