#!/usr/bin/env python3
"""Makes crates/cache-data/data from packages, the same bytes each time, and the table of hashes in its README.

    scripts/build-cache-data.py           makes the files anew
    scripts/build-cache-data.py --check   makes them elsewhere, and fails where a byte differs
    scripts/build-cache-data.py --golden  also what the tests of the embedder compare with (needs tokenizers and numpy)

Needs pip, apt-get and dpkg-deb (Debian), cargo, and 300 MB below .cache.
"""

import re
import sys
import tempfile
from pathlib import Path

from cache_data import english, golden, inflected, model, sources

REPO = Path(__file__).resolve().parent.parent
CRATE = REPO / "crates/cache-data"


def build(found, folder: Path):
    model.build(found, folder / "model")
    english.build(found).write(folder / "en", REPO)
    for language in ("es", "fr", "de", "pt"):
        inflected.build(language, found).write(folder / language, REPO)


def table(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rows = [f"| {path.relative_to(folder)} | {path.stat().st_size:,} | `{sources.digest(path)}` |" for path in files]
    total = sum(path.stat().st_size for path in files)
    return "\n".join(["| file | bytes | SHA-256 |", "|---|---:|---|", *rows, f"\nTogether {total:,} bytes."])


def main():
    found = sources.fetch(REPO / ".cache/cache-data")
    if "--check" in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            build(found, Path(folder))
            if table(Path(folder)) != table(CRATE / "data"):
                sys.exit(f"the files made anew are others:\n{table(Path(folder))}")
        return
    build(found, CRATE / "data")
    readme = CRATE / "README.md"
    parts = re.split(r"(<!-- files -->\n|<!-- end of files -->)", readme.read_text())
    parts[2] = table(CRATE / "data") + "\n"
    readme.write_text("".join(parts))
    if "--golden" in sys.argv:
        golden.build(found, REPO / "crates/cache/testdata")


if __name__ == "__main__":
    main()
