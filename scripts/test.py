#!/usr/bin/env python3
"""Runs the checks and the tests, and counts them.

scripts/test.py [lint | test]

`lint` runs the checks only; `test`, the default, both. Every step runs, so that one run tells everything that is wrong, but
nothing that needs the programs runs when they do not build. The last line is `N passed, N failed`: the tests of cargo and of the
official clients. A check is not a test and counts only when it fails, as one failure; so does a runner that fails without
naming a failed test. The exit code is 0 when nothing failed.
"""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".cache/tools/bin"
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class Step:
    name: str
    command: list[str]
    # Lines that sum up a test run. Numbers before or after the words passed and failed are read from them.
    summary: re.Pattern = NOTHING
    # Nothing after this step makes sense without it.
    essential: bool = False


def tracked(*patterns):
    """Files of the project that match, as git sees them: also those not yet committed, but none that it ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


SHELL = re.compile(r"#!.*\b(bash|sh)\b")


def shell_scripts():
    candidates = [name for name in tracked(".ci/*", "scripts/*", "e2e/*", "bench/*") if Path(name).suffix in ("", ".sh")]
    return [name for name in candidates if SHELL.match((ROOT / name).read_text(errors="replace"))]


CHECKS = [
    Step("format", ["cargo", "fmt", "--all", "--check"]),
    Step("spelling", ["typos"]),
    Step("dependencies", ["cargo", "deny", "--log-level", "error", "check", "licenses", "bans", "sources"]),
    Step("advisories", [str(ROOT / "scripts/advisories.sh")]),
    Step("shell", ["shellcheck", *shell_scripts()]),
    Step("docker", ["hadolint", "Dockerfile"]),
    Step("yaml", ["yamllint", "--strict", *tracked("*.yml", "*.yaml")]),
    Step("python", ["ruff", "check", "--quiet"]),
    Step("python format", ["ruff", "format", "--quiet", "--check", "--diff"]),
    Step("clippy", ["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
]

PYTEST = re.compile(r"(=+ )?\d+ (passed|failed|error|skipped).* in [\d.]+s\b")
# One file at a time: the tests look into the ledger of one simulator.
NODE_FLAGS = ["--test-concurrency=1", "--test-timeout=30000", "--test-reporter=spec"]

TESTS = [
    # With --all-targets the programs get the same dependency features as the tests: nothing is built twice.
    Step("build", ["cargo", "build", "--workspace", "--all-targets"], essential=True),
    Step(
        "rust",
        ["cargo", "nextest", "run", "--workspace", "--no-fail-fast", "--no-tests=pass", "--status-level=slow"],
        summary=re.compile(r"\s+Summary \["),
    ),
    Step("rust docs", ["cargo", "test", "--workspace", "--doc"], summary=re.compile(r"test result: ")),
    Step("faults", [str(BUILT / "faults"), "marathon", "--requests", "2000", "--short"]),
    Step("project", ["pytest", "e2e/project", "e2e/cache"], summary=PYTEST),
    # A part of the pairs: none of its traps may be served, and this share of its rewordings must be.
    Step("cache", ["python3", "e2e/cache/evaluate.py", "--short", "0.25"]),
    Step("examples", ["python3", "scripts/check-docs.py"], summary=re.compile(r"\d+ passed, ")),
    Step("openapi", ["pytest", "e2e/openapi"], summary=PYTEST),
    Step("python clients", ["pytest", "e2e/sdk"], summary=PYTEST),
    Step(
        "javascript clients",
        ["python3", "e2e/world.py", "node", "--test", *NODE_FLAGS, "e2e/sdk/*.test.mjs"],
        summary=re.compile(r"ℹ (pass|fail) \d+$"),
    ),
]


def count(line):
    """(passed, failed) as a runner's summary line says it: `3 passed, 1 failed`, or `ℹ pass 3`."""
    number = lambda pattern: sum(int(n) for n in re.findall(pattern, line))
    passed = number(r"(\d+) passed") + number(r"\bpass (\d+)")
    failed = number(r"(\d+) (?:(?:exec )?failed|timed out|errors?)\b") + number(r"\bfail (\d+)")
    return passed, failed


COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run(step):
    """Runs one step, shows what it says, and returns (exit code, passed, failed)."""
    print(f"\n==> {step.name}: {' '.join(step.command)[:160]}", flush=True)
    began = time.monotonic()
    passed = failed = 0
    environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        process = subprocess.Popen(
            step.command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        print(f"cannot run {step.command[0]}: {error}")
        return 127, 0, 1
    for raw in process.stdout:
        text = raw.decode(errors="replace")
        print(text, end="", flush=True)
        plain = COLOUR.sub("", text).rstrip()
        if step.summary.match(plain):
            more = count(plain)
            passed, failed = passed + more[0], failed + more[1]
    code = process.wait()
    if code and not failed:
        failed = 1
    print(f"    {step.name}: {'ok' if not code else 'FAILED'}, {time.monotonic() - began:.1f} s", flush=True)
    return code, passed, failed


def main():
    what = sys.argv[1] if len(sys.argv) > 1 else "test"
    steps = {"lint": CHECKS, "test": CHECKS + TESTS}.get(what)
    if steps is None:
        sys.exit(__doc__)
    passed = failed = 0
    broken = []
    for step in steps:
        code, more_passed, more_failed = run(step)
        passed, failed = passed + more_passed, failed + more_failed
        if code:
            broken.append(step.name)
            if step.essential:
                break
    print()
    if broken:
        print(f"failed: {', '.join(broken)}")
    if what == "test":
        print(f"{passed} passed, {failed} failed")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
