#!/usr/bin/env bash
# Says what is missing, by the names of Debian's packages, and installs it where it may.
set -euo pipefail
missing=()
command -v gcc >/dev/null || missing+=(build-essential)
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v taskset >/dev/null || missing+=(util-linux)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq "${missing[@]}"
  else
    echo "Please install these packages as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
command -v cargo >/dev/null || { echo "Rust is missing (1.95 or newer, with cargo, rustfmt and clippy): install it with rustup" >&2; exit 1; }
command -v npm >/dev/null || { echo "Node.js 20 or newer with npm is missing: apt-get install nodejs npm, or your version manager" >&2; exit 1; }
