#!/usr/bin/env python3
"""Runs the examples of README.md and docs/*.md.

scripts/check-docs.py [FILE.md...]

Blocks of sh and python run, from top to bottom, against a gateway in sandbox mode that is started for their page; where they
say http://127.0.0.1:8000 its port is put in, and GATEWAY_ADMIN_KEY is its admin key. A block of output that follows one names
lines that must be among what it prints, in this order; `...` in a line stands for anything. Blocks of json must be JSON, blocks
of yaml must pass `llm-gateway check`, and so must sh blocks that begin with `# .env`. A comment `<!-- not run: REASON -->` before
a block leaves it out. The last line counts.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/llm-gateway"
BASE = "http://127.0.0.1:8000"
ADMIN_KEY = "the-operator-s-own-key"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SKIP = re.compile(r"<!-- not run: (.+?) -->\s*\Z")
SECONDS = 60


@dataclass
class Block:
    place: str
    language: str
    text: str
    skip: str | None
    expected: list[str]


def blocks(path):
    page = path.read_text()
    found = []
    for fence in FENCE.finditer(page):
        language, text = fence.groups()
        if language == "output":
            found[-1].expected = text.splitlines()
            continue
        skip = SKIP.search(page, 0, fence.start())
        line = page.count("\n", 0, fence.start()) + 1
        found.append(Block(f"{path.relative_to(ROOT)}:{line}", language, text, skip and skip[1], []))
    return found


def environment(**more):
    """Nothing of the caller's that configures a gateway or an SDK."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8", **more}


def run(command, folder, **more):
    """The exit code of a command, and what it prints on both outputs."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout


def missing(expected, printed):
    """The first expected line that does not come, in its turn."""
    lines = iter(printed.splitlines())
    for want in expected:
        pattern = re.compile(".*".join(re.escape(piece) for piece in want.strip().split("...")))
        if not any(pattern.fullmatch(line.strip()) for line in lines):
            return want
    return None


def check_settings(name, text):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(text)
        named = {variable: "sk-example-0123456789" for variable in re.findall(r"\$\{(\w+)\}", text)}
        code, printed = run([PROGRAM, "check"], folder, GATEWAY_ALLOW_ANONYMOUS="true", **named)
    return printed if code else None


def check(block, base, folder):
    """What is wrong with a block, or None."""
    text = block.text.replace(BASE, base)
    if block.language == "json":
        try:
            json.loads(text)
        except ValueError as error:
            return f"not JSON: {error}"
        return None
    if block.language == "yaml":
        return check_settings("gateway.yaml", block.text)
    if text.startswith("# .env\n"):
        return check_settings(".env", block.text)
    command = {"sh": ["bash", "-euo", "pipefail", "-c", text], "python": [sys.executable, "-c", text]}[block.language]
    try:
        code, printed = run(command, folder, GATEWAY_ADMIN_KEY=ADMIN_KEY)
    except subprocess.TimeoutExpired:
        return f"did not end within {SECONDS} s"
    if code:
        return f"exit code {code}\n{printed}"
    line = missing(block.expected, printed)
    return line and f"no line {line!r} in\n{printed}"


class Gateway:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [PROGRAM, "serve", "--port", "0"],
            cwd=self.folder.name,
            env=environment(GATEWAY_ADMIN_KEY=ADMIN_KEY),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in self.process.stderr:
            if " listens on " in line:
                self.base = line.split(" listens on ")[1].strip()
                return self
        sys.exit("the gateway does not start")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.folder.cleanup()


def main():
    files = [Path(name).resolve() for name in sys.argv[1:]] or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        # What the examples call llm-gateway is the program under test.
        (Path(folder) / "bin").mkdir()
        (Path(folder) / "bin/llm-gateway").symlink_to(PROGRAM)
        os.environ["PATH"] = f"{folder}/bin:{os.environ['PATH']}"
        for path in files:
            # What one page does to its gateway is none of the others' business.
            with Gateway() as gateway:
                for block in blocks(path):
                    if block.language not in ("sh", "python", "json", "yaml"):
                        continue
                    if block.skip:
                        skipped += 1
                        print(f"not run: {block.place}: {block.skip}")
                        continue
                    wrong = check(block, gateway.base, folder)
                    passed, failed = passed + (not wrong), failed + bool(wrong)
                    if wrong:
                        print(f"FAILED: {block.place}: {wrong}")
    print(f"{passed} passed, {failed} failed, {skipped} not run")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
