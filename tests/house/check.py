"""The house's own rules: no file grows into the system, and no crate reaches where it may not."""

import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINES_MAX = 1000
LINES_WARN = 600
# ARCHITECTURE.md draws these.
ALLOWED = {
    "fanfare-model": set(),
    "fanfare-ws": set(),
    "fanfare-store": {"fanfare-model"},
    "fanfare-engine": {"fanfare-store", "fanfare-model"},
    "fanfare-ably": {"fanfare-engine", "fanfare-store", "fanfare-model"},
    "fanfare-realtime-pubsub": {"fanfare-engine", "fanfare-model"},
    "fanfare-gateway": {"fanfare-engine", "fanfare-store", "fanfare-model", "fanfare-ws"},
    "fanfare-egress": {"fanfare-model"},
    "fanfare-bench": set(),
    "fanfare": {"fanfare-ably", "fanfare-bench", "fanfare-egress", "fanfare-engine", "fanfare-gateway",
                "fanfare-model", "fanfare-realtime-pubsub", "fanfare-store", "fanfare-ws"},
}


def sizes():
    files = subprocess.run(["git", "ls-files", "*.rs", "*.mjs", "*.py", "*.ts"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.split()
    for name in files:
        path = ROOT / name
        if not path.exists():
            continue
        lines = len(path.read_text().splitlines())
        if lines > LINES_MAX:
            yield f"{name} has {lines} lines; {LINES_MAX} is the most. Find the seam."
        elif lines > LINES_WARN:
            print(f"note: {name} has {lines} lines (over {LINES_WARN})")


def directions():
    for manifest in sorted(ROOT.glob("crates/*/Cargo.toml")):
        crate = tomllib.loads(manifest.read_text())
        name = crate["package"]["name"]
        if name not in ALLOWED:
            yield f"{name} is not in the drawing: add it to ARCHITECTURE.md and to this check"
            continue
        ours = {d for d in crate.get("dependencies", {}) if d.startswith("fanfare")}
        for extra in sorted(ours - ALLOWED[name]):
            yield f"{name} may not depend on {extra}"


problems = [*sizes(), *directions()]
for problem in problems:
    print(problem, file=sys.stderr)
print(f"house: {'right' if not problems else f'{len(problems)} problems'}")
sys.exit(bool(problems))
