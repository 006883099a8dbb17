#!/usr/bin/env python3
"""How often the cache answers the wrong question, and how many harmless rewordings it answers, through the front door.

    e2e/cache/evaluate.py                       tables of the pairs in e2e/cache/pairs
    e2e/cache/evaluate.py --write               and puts them, with a picture, into docs/ (make cache-eval)
    e2e/cache/evaluate.py --pairs FOLDER        other pairs: FOLDER/NAME.jsonl, FOLDER/LANGUAGE/{tune,tune_more,held_out}.jsonl
    e2e/cache/evaluate.py --half tune --show-failures
    e2e/cache/evaluate.py --short 0.5           some of the tune halves: no trap may be served, half of the rewordings must be

For each mode a gateway of its own is started, before simulated providers and without rate limits. There, `a` of each pair is
asked and then `b`: with nothing else in the cache, and once more with every `a` in it. The halves that are held out are
shown as totals, never pair by pair. LLM_GATEWAY_BIN names the program; without it, it is the debug build.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import minilm
import questions
import report
from asking import Asker
from tally import curve, tally

sys.path.append(str(Path(__file__).resolve().parents[1]))
from world import Simulator, gateway_before

# Pairs of each set in the short form.
SHORT = 60


@dataclass(frozen=True)
class Run:
    mode: str
    threshold: float

    @property
    def name(self):
        return self.mode if self.mode == "strict" else f"{self.mode} {self.threshold:.2f}"


STRICT = Run("strict", 0.95)
RUNS = [STRICT, Run("cosine", 0.95), Run("cosine", 0.90)]
# For the picture: each pair's similarity is known from what is served, so one run with a low threshold tells all above it.
SWEEPS = {"strict": Run("strict", 0.0), "cosine": Run("cosine", 0.5)}
MARKED = (0.90, 0.95)


def gateway(simulator, run, folder):
    """A gateway with nothing between the questions and the cache."""
    file = folder / "gateway.yaml"
    # Everything that is asked fits in, many times over.
    file.write_text(f"cache: {{mode: {run.mode}, threshold: {run.threshold}, ttl_seconds: 86400, max_mib: 1024}}\n")
    return gateway_before(simulator.url, "--config", str(file), CACHE_ENABLED="true", LOG_LEVEL="error")


class Measured:
    """What came of all pairs: {set name: {run name: outcomes}}."""

    def __init__(self):
        self.alone = {}
        self.crowds = {}
        self.sweeps = {}

    def ask(self, sets, runs):
        with Simulator() as simulator, tempfile.TemporaryDirectory() as folder:
            for run in runs:
                print(f"{run.name} ...", file=sys.stderr, flush=True)
                with gateway(simulator, run, Path(folder)) as under_test, Asker(under_test.url, explained=run is STRICT) as asker:
                    for one in sets:
                        self.alone.setdefault(one.name, {})[run.name] = asker.alone(one)
                        self.crowds.setdefault(one.name, {})[run.name] = asker.among_all(one)

    def sweep(self, sets):
        with Simulator() as simulator, tempfile.TemporaryDirectory() as folder:
            for name, run in SWEEPS.items():
                print(f"{name}, all thresholds ...", file=sys.stderr, flush=True)
                with gateway(simulator, run, Path(folder)) as under_test, Asker(under_test.url) as asker:
                    self.sweeps[name] = [outcome for one in sets for outcome in asker.alone(one)]

    def compare(self, sets):
        """The same by MiniLM, without a gateway."""
        model = minilm.MiniLM()
        print("MiniLM ...", file=sys.stderr, flush=True)
        for one in sets:
            for threshold in MARKED[::-1]:
                name = f"MiniLM {threshold:.2f}"
                self.alone[one.name][name] = model.alone(one, threshold)
                self.crowds[one.name][name] = model.among_all(one, threshold)
        return model


def tables(measured, sets):
    shown = {one.name: measured.alone[one.name] for one in sets if not one.secret}
    text = "One stored question, one asked:\n\n" + report.one_by_one(measured.alone)
    text += "\nEvery `a` of the set stored, then every `b` asked:\n\n" + report.in_a_crowd(measured.crowds)
    if shown:
        strict = [outcome for runs in shown.values() for outcome in runs[STRICT.name]]
        text += "\nWithout the halves that are held out. Traps served, by kind:\n\n" + report.kinds(shown, same=False)
        text += "\nHarmless rewordings served, by kind:\n\n" + report.kinds(shown, same=True)
        text += "\nWhat `strict` refused, by the rule that refused it:\n\n" + report.refusals(strict)
    return text


def short(sets, least):
    """Prints a line that sums up as a test run does, and returns the exit code."""
    measured = Measured()
    measured.ask([one.sample(SHORT) for one in sets], [STRICT])
    alone = tally(outcome for runs in measured.alone.values() for outcome in runs[STRICT.name])
    crowds = [runs[STRICT.name] for runs in measured.crowds.values()]
    wrong = alone.wrong + sum(tally(crowd.filling + crowd.asked).wrong for crowd in crowds)
    asked = alone.traps + alone.rewordings + sum(len(crowd.filling + crowd.asked) for crowd in crowds)
    too_few = alone.recall is None or alone.recall < least
    print(f"{wrong} of {asked} questions got the answer to another one")
    served = f"{alone.rewordings_served} of {alone.rewordings} harmless rewordings were served"
    print(f"{served}, {report.percent(alone.recall)}; wanted are {report.percent(least)}")
    failed = wrong + too_few
    print(f"{asked - wrong + (not too_few)} passed, {failed} failed")
    return 1 if failed else 0


def arguments(given=None):
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=Path, action="append", metavar="FOLDER", help="not e2e/cache/pairs; may be repeated")
    options.add_argument("--half", choices=["tune", "held_out"], help="only these halves")
    options.add_argument("--only", metavar="LANGUAGE", help="only the sets of this language, or of this name")
    options.add_argument("--show-failures", action="store_true", help="what `strict` got wrong, of the tune halves")
    options.add_argument("--minilm", action="store_true", help="compare with all-MiniLM-L6-v2; see e2e/cache/minilm.py")
    options.add_argument("--write", action="store_true", help="put the tables and a picture into docs/")
    options.add_argument("--short", type=float, metavar="RECALL", help="the short form, for `make test`")
    chosen = options.parse_args(given)
    if chosen.show_failures and chosen.half != "tune":
        options.error("--show-failures needs --half tune: the halves that are held out are shown as totals only")
    if chosen.short is not None and (chosen.half == "held_out" or chosen.write or chosen.show_failures):
        options.error("--short goes over the tune halves, and writes nothing")
    return chosen


def evaluate(chosen):
    sets = [one for folder in chosen.pairs or [questions.PAIRS] for one in questions.sets(folder)]
    half = "tune" if chosen.short is not None else chosen.half
    sets = [one for one in sets if half in (None, one.half) or not (one.secret or "/" in one.name)]
    sets = [one for one in sets if chosen.only in (None, one.name, one.name.partition("/")[0])]
    if not sets:
        sys.exit("there are no such pairs")
    if chosen.short is not None:
        sys.exit(short(sets, chosen.short))

    measured = Measured()
    measured.ask(sets, RUNS)
    model = None
    if chosen.minilm:
        if minilm.missing():
            print(f"MiniLM is skipped, it needs {', '.join(minilm.missing())}; see e2e/cache/minilm.py", file=sys.stderr)
        else:
            model = measured.compare(sets)
    text = tables(measured, sets)
    print(text)
    if chosen.show_failures:
        for one in sets:
            if not one.secret:
                print(f"\n{one.name}:\n" + "\n".join(report.failures(measured.alone[one.name][STRICT.name])))
    if chosen.write:
        drawn = [one for one in sets if one.secret] or sets
        measured.sweep(drawn)
        if model:
            measured.sweeps["MiniLM"] = [outcome for one in drawn for outcome in model.alone(one, SWEEPS["cosine"].threshold)]
        report.write(text, report.picture({name: curve(outcomes) for name, outcomes in measured.sweeps.items()}, MARKED))


if __name__ == "__main__":
    try:
        evaluate(arguments())
    except (RuntimeError, httpx.HTTPError) as error:
        sys.exit(f"evaluate: {error}")
