"""The measure itself is measured: against a gateway that is known to be wrong, and about what may be shown."""

import json
import math
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import questions
import report
from asking import Asker
from evaluate import arguments, tables
from questions import Labels, Pair, PairSet
from tally import Outcome, Tally, Z, curve, tally, wilson


class CarelessGateway(BaseHTTPRequestHandler):
    """Takes questions for the same that begin with the same three words, whatever their case, and says so."""

    protocol_version = "HTTP/1.1"
    # Head and body in one write, or the client waits for a delayed acknowledgement.
    wbufsize = -1

    def do_POST(self):
        system, asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"]
        key = (system["content"], " ".join(asked["content"].lower().split()[:3]))
        stored = self.server.stored
        with self.server.lock:
            found = key in stored
            number = stored.setdefault(key, len(stored))
        said = {"x-gateway-cache": "hit" if found else "miss", "x-request-id": "req_1"}
        if found:
            said |= {"x-gateway-cache-type": "semantic", "x-gateway-cache-similarity": "0.975"}
        self.answer({"id": f"chatcmpl-{number}"}, said)

    def do_GET(self):
        self.answer({"request_id": "req_1", "cache": {"nearest": {"cosine": 0.91, "rule": "number"}}}, {})

    def answer(self, body, headers):
        body = json.dumps(body).encode()
        self.send_response(200)
        for name, value in (headers | {"content-length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def asker():
    server = ThreadingHTTPServer(("127.0.0.1", 0), CarelessGateway)
    server.stored, server.lock = {}, threading.Lock()
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    with Asker(f"http://127.0.0.1:{server.server_address[1]}", explained=True) as asker:
        yield asker
    server.shutdown()
    thread.join()
    server.server_close()


PAIRS = PairSet(
    "en/tune",
    (
        Pair("when do trains leave on sunday", "When do trains leave on Sunday", True, "case"),
        Pair("when do trains arrive", "at what time do trains arrive", True, "synonym"),
        Pair("how to oil a lock", "how to oil a wok", False, "noun"),
        Pair("bake bread at 200 degrees", "roast bread at 200 degrees", False, "verb"),
    ),
)


def test_each_pair_is_asked_by_itself_and_what_is_not_served_has_the_rule_that_refused_it(asker):
    outcomes = asker.alone(PAIRS)
    assert [outcome.served for outcome in outcomes] == [True, False, True, False]
    assert [outcome.rule for outcome in outcomes] == [None, "number", None, "number"]
    assert (outcomes[0].tier, outcomes[0].similarity) == ("semantic", 0.975)
    sums = tally(outcomes)
    assert (sums.traps_served, sums.traps, sums.rewordings_served, sums.rewordings, sums.precision) == (1, 2, 1, 2, 0.5)


def test_among_all_an_answer_is_right_only_if_it_was_made_for_a_question_that_is_labelled_the_same(asker):
    crowd = asker.among_all(PAIRS)
    # The second pair's question is served the first one's answer while the cache fills.
    assert [(outcome.served, outcome.right) for outcome in crowd.filling] == [
        (False, False),
        (True, False),
        (False, False),
        (False, False),
    ]
    assert [(outcome.served, outcome.right) for outcome in crowd.asked] == [
        (True, True),
        (False, False),
        (True, False),
        (False, False),
    ]


def test_a_question_that_was_asked_before_is_no_measure(asker):
    asker.alone(PAIRS)
    with pytest.raises(RuntimeError, match="asked before"):
        asker.alone(PAIRS)


@pytest.mark.parametrize(("hits", "of"), [(0, 293), (1, 8), (12, 100), (90, 90), (821, 1192)])
def test_the_ends_of_an_interval_are_the_shares_that_the_observation_just_does_not_contradict(hits, of):
    for end in wilson(hits, of):
        if 0 < end < 1:
            assert abs(hits / of - end) == pytest.approx(Z * math.sqrt(end * (1 - end) / of))
    low, high = wilson(hits, of)
    assert low <= hits / of <= high
    assert (low == 0) == (hits == 0) and (high == 1) == (hits == of)


def test_a_curve_has_a_point_for_each_threshold_at_which_something_changes():
    same, trap = Pair("a", "b", True, "x"), Pair("c", "d", False, "y")
    outcomes = [Outcome(same, True, True, 0.99), Outcome(trap, True, False, 0.9), Outcome(same, True, True, 0.9)]
    outcomes.append(Outcome(same, False, True))
    assert curve(outcomes) == [(0.99, 1 / 3, 1.0), (0.9, 2 / 3, 2 / 3)]


def test_labels_reach_over_chains_but_not_over_what_is_labelled_different():
    pairs = [Pair("a", "b", True, ""), Pair("b", "c", True, ""), Pair("a", "d", False, ""), Pair("e", "f", True, "")]
    labels = Labels(pairs)
    assert labels.serves("a", "c") and labels.serves("c", "a") and labels.serves("a", "a")
    assert not labels.serves("a", "d") and not labels.serves("a", "e")


def test_nothing_served_has_no_precision():
    assert Tally().precision is None and Tally().recall is None
    assert report.percent(None) == "-"


def test_of_held_out_pairs_only_totals_are_shown(asker):
    secret = PairSet("en/held_out", tuple(Pair(f"un{p.a}", f"un{p.b}", p.same, f"secret {p.kind}") for p in PAIRS.pairs))
    measured = type("Measured", (), {"alone": {}, "crowds": {}})()
    for one in (PAIRS, secret):
        measured.alone[one.name] = {"strict": asker.alone(one)}
        measured.crowds[one.name] = {"strict": asker.among_all(one)}
    text = tables(measured, [PAIRS, secret])
    assert "| en/held_out | strict |" in text and "| noun | 1 |" in text
    assert "secret" not in text
    for wrong in (["--show-failures"], ["--show-failures", "--half", "held_out"]):
        with pytest.raises(SystemExit):
            arguments(wrong)


def test_languages_are_added_up(asker):
    other = PairSet("de/tune", PAIRS.pairs)
    text = report.one_by_one({one.name: {"strict": asker.alone(one)} for one in (PAIRS, other)})
    assert "| all/tune | strict | 2 of 4 | 50.0 % | 15.0 to 85.0 % | 2 of 4 | 50.0 % | 50.0 % |" in text


def test_tables_come_between_the_marks_of_the_page(tmp_path, monkeypatch):
    page, picture = tmp_path / "page.md", tmp_path / "picture.svg"
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "PICTURE", picture)
    page.write_text(f"before\n{report.BEGIN}old\n{report.END}\nafter\n")
    report.write("new\n", report.picture({"strict": [(0.96, 0.4, 1.0), (0.5, 0.8, 0.9)]}, [0.95]))
    text = page.read_text()
    assert text.startswith(f"before\n{report.BEGIN}new\n") and text.endswith(f"{report.END}\nafter\n")
    assert "(picture.svg)" in text and "old" not in text
    assert picture.read_text().count("<circle") == 1


def test_what_was_written_later_belongs_to_the_half_that_its_file_names(tmp_path):
    (tmp_path / "en").mkdir()
    for file, asked in (("tune", "first"), ("tune_more", "later"), ("held_out", "unseen")):
        row = {"a": asked, "b": asked.upper(), "same": 1, "kind": "case"}
        (tmp_path / "en" / f"{file}.jsonl").write_text(json.dumps(row) + "\n")
    found = [(one.name, one.secret, [pair.a for pair in one.pairs]) for one in questions.sets(tmp_path)]
    assert found == [("en/tune", False, ["first", "later"]), ("en/held_out", True, ["unseen"])]


SETS = questions.sets(questions.PAIRS)


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_the_pairs_of_the_project_are_pairs(one):
    assert all(pair.a.strip() and pair.b.strip() and pair.a != pair.b and pair.kind for pair in one.pairs)
    # How many, not which: one of the halves is not for looking.
    doubled = sum(times - 1 for times in Counter((pair.a, pair.b) for pair in one.pairs).values())
    assert doubled == 0


def test_no_pair_is_in_both_halves():
    for language in {one.name.partition("/")[0] for one in SETS}:
        tune, held_out = ({(p.a, p.b) for p in one.pairs} for one in SETS if one.name.partition("/")[0] == language)
        shared = len(tune & held_out)
        assert shared == 0
