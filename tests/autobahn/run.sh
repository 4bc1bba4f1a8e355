#!/usr/bin/env bash
# Autobahn's fuzzing client against the codec alone (crates/ws/examples/echo.rs) and against the server's own sockets
# (crates/gateway/examples/echo.rs).
#
#   tests/autobahn/run.sh            all cases against both (about 500 each; some minutes)
#   SUBJECTS=fanfare-gateway tests/autobahn/run.sh
#   CASES='["6.*","7.*"]' tests/autobahn/run.sh
#
# The suite exists for Python 2.7 only (25.10.1 installs on Python 3, and does not start there), so 0.8.2 is
# installed in a 2.7 environment, made by the last line of virtualenv that can make one. Where there is no
# Python 2.7 (searched: $PYTHON27, python2.7, pyenv) or no package index, this says so and succeeds; set
# AUTOBAHN_REQUIRED=1 to fail instead.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
work=${AUTOBAHN_DIR:-$root/.cache/autobahn}
port=${PORT:-9001}
cases=${CASES:-'["*"]'}
subjects=${SUBJECTS:-fanfare-ws fanfare-gateway}

skip() {
    echo "test-autobahn: SKIPPED: $1" >&2
    [[ ${AUTOBAHN_REQUIRED:-0} == 1 ]] && exit 1
    exit 0
}

find_python27() {
    local candidate
    for candidate in "${PYTHON27:-}" python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
        [[ -n $candidate ]] || continue
        # A pyenv shim is found by name and still refuses to run: ask it.
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

install() {
    local python27
    python27=$(find_python27) || skip "no Python 2.7 (set PYTHON27=/path/to/python2.7)"
    mkdir -p "$work"
    {
        python3 -m venv "$work/tools" &&
            "$work/tools/bin/pip" install 'virtualenv<20.22' &&
            "$work/tools/bin/virtualenv" -p "$python27" "$work/py27" &&
            "$work/py27/bin/pip" install 'autobahntestsuite==0.8.2'
    } >"$work/install.log" 2>&1 || skip "installation failed, see $work/install.log"
    touch "$work/installed"
}

[[ -e $work/installed ]] || install

cd "$root"
target=$(cargo metadata --no-deps --format-version 1 | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null || true' EXIT

# One crate's echo, all cases.
run() {
    local crate=$1
    cargo build --release -p "$crate" --example echo || return 1
    "$target/release/examples/echo" "$port" 2>"$work/$crate.log" &
    server=$!
    sed -e "s#@OUTDIR@#$work/reports/$crate#" -e "s#@PORT@#$port#" -e "s#@CASES@#$cases#" -e "s#@AGENT@#$crate#" \
        "$root/tests/autobahn/fuzzingclient.json" >"$work/spec.json"
    # The client leaves its own log and a cache in the working directory.
    (cd "$work" && "$work/py27/bin/wstest" -m fuzzingclient -s "$work/spec.json" >"$work/wstest.log" 2>&1) ||
        { tail -20 "$work/wstest.log" >&2; return 1; }
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
    echo -n "$crate: "
    python3 "$root/tests/autobahn/verdict.py" "$work/reports/$crate/index.json"
}

rm -rf "$work/reports"
verdict=0
for crate in $subjects; do
    run "$crate" || verdict=1
done
exit "$verdict"
