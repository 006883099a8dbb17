"""Tables and a picture of what was measured."""

from itertools import chain
from pathlib import Path

from tally import by_kind, tally, wilson

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/semantic-cache.md"
PICTURE = ROOT / "docs/semantic-cache-precision.svg"
BEGIN = "<!-- generated: make cache-eval -->\n"
END = "<!-- end of generated -->"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def percent(share, digits=1):
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def interval(hits, of):
    low, high = wilson(hits, of)
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def share(hits, of):
    return percent(hits / of) if of else "-"


def with_sums(measured):
    """{set name: {run name: outcomes}} and, for each half of which there are several, all of them together."""
    together = {}
    for name, runs in measured.items():
        language, slash, half = name.rpartition("/")
        if slash:
            together.setdefault(half, []).append((language, runs))
    sums = {}
    for half, parts in together.items():
        others = [part for part in parts if part[0] != "en"]
        for title, members in {"all": parts, "all but en": others if len(others) < len(parts) else []}.items():
            if len(members) > 1:
                sums[f"{title}/{half}"] = {
                    run: list(chain.from_iterable(runs[run] for _, runs in members)) for run in members[0][1]
                }
    return measured | sums


def one_by_one(measured):
    """measured: {set name: {run name: outcomes}}, each pair asked in a scope of its own."""
    rows = []
    for name, runs in with_sums(measured).items():
        for run, outcomes in runs.items():
            sums = tally(outcomes)
            rows.append(
                (
                    name,
                    run,
                    f"{sums.traps_served} of {sums.traps}",
                    share(sums.traps_served, sums.traps),
                    interval(sums.traps_served, sums.traps),
                    f"{sums.rewordings_served} of {sums.rewordings}",
                    percent(sums.recall),
                    percent(sums.precision),
                )
            )
    return table(["pairs", "mode", "traps served", "", "95 % interval", "rewordings served", "", "precision"], rows)


def in_a_crowd(measured):
    """measured: {set name: {run name: Crowd}}."""
    rows = []
    filling = {name: {run: crowd.filling for run, crowd in runs.items()} for name, runs in measured.items()}
    asked = {name: {run: crowd.asked for run, crowd in runs.items()} for name, runs in measured.items()}
    filling, asked = with_sums(filling), with_sums(asked)
    for name, runs in asked.items():
        for run, outcomes in runs.items():
            before, sums = tally(filling[name][run]), tally(outcomes)
            wrong, of = before.wrong + sums.wrong, len(filling[name][run]) + len(outcomes)
            right = before.hits + sums.hits - wrong
            rows.append(
                (
                    name,
                    run,
                    f"{wrong} of {of}",
                    share(wrong, of),
                    interval(wrong, of),
                    share(sums.traps_served, sums.traps),
                    percent(sums.recall),
                    share(right, right + wrong),
                )
            )
    head = ["pairs", "mode", "wrong answers", "", "95 % interval", "traps served", "rewordings served", "precision"]
    return table(head, rows)


def kinds(measured, same):
    """For each kind how many were served, in each run; of sets that may be looked at."""
    runs = {}
    for of_set in measured.values():
        for run, outcomes in of_set.items():
            runs.setdefault(run, []).extend(outcomes)
    tallies = {run: by_kind(outcomes) for run, outcomes in runs.items()}
    rows = []
    for kind in next(iter(tallies.values()), {}):
        cells, of = [], 0
        for run in tallies:
            sums = tallies[run][kind]
            of = sums.rewordings if same else sums.traps
            hits = sums.rewordings_served if same else sums.traps_served
            cells += [hits, interval(hits, of)] if of else []
        if of:
            rows.append((kind, of, *cells))
    head = ["kind", "rewordings" if same else "traps", *(cell for run in tallies for cell in (run, "95 % interval"))]
    return table(head, rows)


def refusals(outcomes):
    refused = tally(outcomes).refused
    rules = sorted(refused[True] | refused[False], key=lambda rule: -(refused[True][rule] + refused[False][rule]))
    rows = [(rule, refused[False][rule], refused[True][rule]) for rule in rules]
    return table(["rule", "traps refused", "rewordings refused"], rows)


def failures(outcomes):
    """Pair by pair, what was served and should not have been, and the other way round."""
    for outcome in outcomes:
        pair = outcome.pair
        if outcome.served != pair.same:
            served = f"served ({outcome.tier}, {outcome.similarity})"
            how = served if outcome.served else f"not served ({outcome.rule or 'nothing near'})"
            yield f"{how}: {pair.kind}\n    {pair.a}\n    {pair.b}"


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 440, 70, 170, 30, 60
COLOURS = ["#2b6cb0", "#b7791f", "#718096"]


def picture(curves, marked):
    """An SVG of {name: [(threshold, recall, precision)]}; the thresholds in `marked` get a dot and their number."""
    x = lambda value: LEFT + value * (WIDTH - LEFT - RIGHT)
    y = lambda value: HEIGHT - BOTTOM - value * (HEIGHT - BOTTOM - TOP)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        "<title>Precision against harmless rewordings served, over thresholds</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<g stroke="#888" fill="none"><path d="M{LEFT} {TOP}V{y(0)}H{WIDTH - RIGHT}"/></g>',
    ]
    for tick in range(6):
        text = f"{20 * tick}"
        svg.append(f'<text x="{x(tick / 5):.1f}" y="{y(0) + 18:.1f}" text-anchor="middle" fill="#555">{text}</text>')
        svg.append(f'<text x="{LEFT - 8}" y="{y(tick / 5) + 4:.1f}" text-anchor="end" fill="#555">{text}</text>')
    centre = (LEFT + WIDTH - RIGHT) / 2
    svg.append(f'<text x="{centre:.1f}" y="{HEIGHT - 14}" text-anchor="middle">% of the harmless rewordings served</text>')
    svg.append(f'<text x="{LEFT}" y="18">% of what is served that serves (precision)</text>')
    for number, ((name, points), colour) in enumerate(zip(curves.items(), COLOURS, strict=False)):
        if points:
            path = " ".join(f"{x(recall):.1f},{y(precision):.1f}" for _, recall, precision in points)
            svg.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for threshold in marked:
            reached = [point for point in points if point[0] >= threshold]
            if reached:
                _, recall, precision = reached[-1]
                svg.append(f'<circle cx="{x(recall):.1f}" cy="{y(precision):.1f}" r="4" fill="{colour}"/>')
                place = f'x="{x(recall) + 7:.1f}" y="{y(precision) - 6:.1f}"'
                svg.append(f'<text {place} fill="{colour}" font-size="11">{threshold:.2f}</text>')
        svg.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 20 + 18 * number}" fill="{colour}">{name}</text>')
    dots = " and ".join(f"{threshold:.2f}" for threshold in marked)
    svg.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 20 + 18 * len(curves)}" fill="#555">dots: {dots}</text>')
    return "\n".join([*svg, "</svg>", ""])


def write(text, svg):
    """Puts the tables between the marks of the page, and the picture beside it."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise RuntimeError(f"{PAGE} has no place for the tables: {BEGIN.strip()} and {END}")
    PICTURE.write_text(svg)
    shown = f"\n![Precision against harmless rewordings served]({PICTURE.name})\n"
    PAGE.write_text(f"{before}{BEGIN}{text}{shown}{END}{after}")
