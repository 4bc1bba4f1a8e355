"""Reads Autobahn's index.json, prints a summary, and fails if any case failed.

NON-STRICT is accepted only where it means "refused later than it could have been" (6.4.*: invalid UTF-8 in a
fragmented message). INFORMATIONAL and UNIMPLEMENTED are counted; UNIMPLEMENTED fails, because we implement it all.
"""

import collections
import json
import sys

ACCEPTED = {"OK", "INFORMATIONAL"}


def accepted(case: str, result: dict) -> bool:
    behaviour = result["behavior"]
    if behaviour == "NON-STRICT":
        return case.startswith("6.4.")
    return behaviour in ACCEPTED and result["behaviorClose"] in ACCEPTED


def main(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        (results,) = json.load(file).values()
    counts = collections.Counter(result["behavior"] for result in results.values())
    failed = {case: result for case, result in results.items() if not accepted(case, result)}
    print(f"{len(results)} cases: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    for case, result in sorted(failed.items()):
        print(f"  {case}: {result['behavior']}, close {result['behaviorClose']} ({result['reportfile']})")
    if not results:
        print("no case ran")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
