#!/usr/bin/env python3
"""Rebuild crates/policy/data/models.json from the PyPI package genai-prices, and print what changed.

    scripts/update-models.py                    the newest release, prices as of today (UTC)
    scripts/update-models.py --version 0.2.3    a certain release
    scripts/update-models.py --date 2026-11-23  prices as of a certain day

Needs python3 (3.11 or later) and a package index; the package goes into a virtual environment under target/.
How the data is read and reduced is described in docs/models.md.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import venv
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "crates/policy/data/models.json"
LICENCE = TABLE.with_name("models.LICENSE")
VENV = ROOT / "target/models-venv"

# Our name -> theirs. Vendors with a format that the gateway speaks; makers of models before those that resell them.
VENDORS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google": "google",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "moonshot": "moonshotai",
    "zai": "zai",
    "minimax": "minimax",
    "cohere": "cohere",
    "perplexity": "perplexity",
    "groq": "groq",
    "cerebras": "cerebras",
    "together": "together",
    "fireworks": "fireworks",
    "baseten": "baseten",
    "novita": "novita",
    "openrouter": "openrouter",
}

RATES = {"input": "input_mtok", "cache_read": "cache_read_mtok", "cache_write": "cache_write_mtok", "output": "output_mtok"}

# A snapshot of a model: gpt-4o-2024-08-06, claude-opus-4-5-20251101, claude-haiku-4-5@20251001, gemini-2.0-flash-001.
SNAPSHOT = re.compile(r"(?:-20\d\d-\d\d-\d\d|[-@]20\d{6}|-0\d\d)$")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--version")
    options.add_argument("--date", type=date.fromisoformat, default=datetime.now(UTC).date())
    chosen = options.parse_args()
    if Path(sys.prefix) != VENV:
        enter_venv(chosen.version)

    from genai_prices import data

    providers = {provider.id: provider for provider in data.providers}
    vendors = {ours: rows_of(ours, providers[theirs], chosen.date) for ours, theirs in VENDORS.items()}
    source = {
        "source": "https://pypi.org/project/genai-prices/",
        "version": metadata.version("genai-prices"),
        "licence": "MIT, Copyright (c) Pydantic Services Inc. 2025 to present",
        "date": chosen.date.isoformat(),
        "sha256": hashlib.sha256(Path(data.__file__).read_bytes()).hexdigest(),
    }

    before = json.loads(TABLE.read_text())["vendors"] if TABLE.exists() else []
    report_changes({block["vendor"]: block["models"] for block in before}, vendors)
    report_disagreements(vendors, providers, chosen.date)
    text = written(source, vendors)
    TABLE.write_text(text)
    licence = next(path for path in metadata.files("genai-prices") if path.name == "LICENSE")
    LICENCE.write_text(licence.read_text())
    print(
        f"{sum(map(len, vendors.values()))} models of {len(vendors)} vendors, {len(text) // 1024} KiB: {TABLE.relative_to(ROOT)}"
    )


def enter_venv(version):
    venv.create(VENV, with_pip=True)
    python = VENV / "bin/python"
    wanted = f"genai-prices=={version}" if version else "genai-prices"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--upgrade", wanted], check=True)
    os.execv(python, [str(python), *sys.argv])


def rows_of(vendor, provider, day):
    rows = []
    for model in provider.models:
        price = price_of(model, day)
        if not price or not usable(vendor, model.id):
            continue
        names, prefixes = spellings(model)
        real = next((name for name in sorted(names) if name.startswith("accounts/fireworks/")), model.id)
        row = {
            "model": real,
            "names": sorted(without_snapshots(names) - {real.lower()}),
            "prefixes": sorted(prefixes),
            "context": model.context_window,
            "deprecated": model.deprecated,
            "price": price,
        }
        rows.append({key: value for key, value in row.items() if value})
    return rows


def usable(vendor, model):
    """The package knows spellings found in logs and offers beyond the API that the gateway speaks."""
    match vendor:
        case "openrouter":
            return "/" in model  # Its real names have the maker in front.
        case "google":
            return not model.startswith("claude")  # Sold on Vertex, not on the Gemini API.
        case _:
            return not model.endswith(":free")


def spellings(model):
    """The matching rules as exact names and prefixes."""
    names, prefixes = {model.id.lower()}, set()

    def walk(clause):
        match type(clause).__name__:
            case "ClauseOr":
                for inner in clause.or_:
                    walk(inner)
            case "ClauseAnd":
                for inner in clause.and_:
                    walk(inner)
            case "ClauseEquals":
                names.add(clause.equals.lower())
            case "ClauseEndsWith":
                names.add(clause.ends_with.lower())
            case "ClauseStartsWith":
                prefixes.add(clause.starts_with.lower())
            case "ClauseContains":
                prefixes.add(clause.contains.lower())
            case "ClauseRegex":
                pass  # Dates of snapshots, and exclusions within a prefix.

    walk(model.match)
    return names, prefixes


def without_snapshots(names):
    """Without those that the program finds by the name of the model that they are snapshots of."""
    return {name for name in names if SNAPSHOT.sub("", name) == name or SNAPSHOT.sub("", name) not in names}


def price_of(model, day):
    """Tiers in US dollars per million tokens, of the dearest hour of the day; None if tokens have no price."""
    if model.id.endswith(":free"):
        return [{"input": 0, "output": 0}]
    midnight = datetime.combine(day, time(), tzinfo=UTC)
    during = [model.get_prices(midnight + timedelta(minutes=30 * n)) for n in range(48)]
    price = max(during, key=lambda price: sum(rate(price, field, 0) or 0 for field in RATES))
    if rate(price, "input", 0) is None:
        return None
    starts = {0} | {tier.start for field in RATES.values() for tier in getattr(getattr(price, field), "tiers", [])}
    tiers = []
    for start in sorted(starts):
        rates = {field: number(rate(price, field, start)) for field in RATES if rate(price, field, start) is not None}
        tiers.append({**({"above": start} if start else {}), **rates})
    return tiers


def rate(price, field, start):
    value = getattr(price, RATES[field])
    reached = [tier.price for tier in getattr(value, "tiers", []) if tier.start <= start]
    return reached[-1] if reached else getattr(value, "base", value)


def number(amount: Decimal):
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def find(rows, name):
    """What the program does with a name: exact, else the exact name of a snapshot, else the longest prefix."""
    exact = {}
    prefixes = {}
    for row in rows:
        for spelled in [row["model"].lower(), *row.get("names", [])]:
            exact.setdefault(spelled, row)
        for prefix in row.get("prefixes", []):
            prefixes.setdefault(prefix, row)
    if row := exact.get(name) or exact.get(SNAPSHOT.sub("", name)):
        return row
    return prefixes.get(max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default=None))


def report_disagreements(vendors, providers, day):
    """Names for which the reduced rules choose a model with another price than the package does."""
    for vendor, rows in vendors.items():
        provider = providers[VENDORS[vendor]]
        prices = {model.id: price_of(model, day) for model in provider.models if usable(vendor, model.id)}
        names = {name for model in provider.models if prices.get(model.id) for name in set.union(*spellings(model))}
        names |= {name + snapshot for name in names for snapshot in ["-20260102", "-2026-01-02"]}
        for name in sorted(names):
            theirs, ours = provider.find_model(name), find(rows, name)
            if theirs and prices.get(theirs.id) and (not ours or ours["price"] != prices[theirs.id]):
                print(f"? {vendor}/{name}: {theirs.id} in the package, {ours and ours['model']} here")


def report_changes(before, after):
    def flat(vendors):
        return {f"{vendor}/{row['model']}": row for vendor, rows in vendors.items() for row in rows}

    old, new = flat(before), flat(after)
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            print(f"+ {name}")
        elif name not in new:
            print(f"- {name}")
        else:
            for field in sorted(old[name].keys() | new[name].keys()):
                was, now = old[name].get(field), new[name].get(field)
                if was != now:
                    print(f"~ {name} {field}: {json.dumps(was)} -> {json.dumps(now)}")


def written(source, vendors):
    """JSON with one model per line, so that a change of a price is a change of a line."""

    def compact(value):
        return json.dumps(value, separators=(",", ":"))

    blocks = [
        f'{{"vendor":{compact(vendor)},"models":[\n' + ",\n".join(map(compact, rows)) + "\n]}" for vendor, rows in vendors.items()
    ]
    return '{"source":' + json.dumps(source) + ',\n"vendors":[\n' + ",\n".join(blocks) + "\n]}\n"


if __name__ == "__main__":
    main()
