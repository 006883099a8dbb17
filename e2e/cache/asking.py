"""Asks a gateway the questions of a set, and tells what it served."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
from questions import Labels
from tally import Outcome

MODEL = "openai/gpt-5-mini"
# Requests on their way at once.
CONCURRENCY = 8
# An explanation is there once the thread of the log has had its turn.
EXPLAINED_WITHIN_SECONDS = 2.0


@dataclass(frozen=True)
class Answer:
    # Of the provider, and therefore of the request that made it: a stored answer keeps it.
    id: str
    request_id: str
    hit: bool
    tier: str | None
    similarity: float | None


class Asker:
    """A client of the gateway at `url`. With `explained`, what is not served is looked up for the rule that refused it."""

    def __init__(self, url, explained=False):
        limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
        self.http = httpx.Client(base_url=url, limits=limits, timeout=30, trust_env=False)
        self.explained = explained

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def ask(self, scope, question):
        """Asks in a scope of its own: answers are shared under one system prompt only."""
        messages = [{"role": "system", "content": scope}, {"role": "user", "content": question}]
        reply = self.http.post("/v1/chat/completions", json={"model": MODEL, "messages": messages})
        if reply.status_code != 200:
            raise RuntimeError(f"a question of {scope} was answered with {reply.status_code}: {reply.text[:500]}")
        said = reply.headers
        if "x-gateway-cache" not in said:
            raise RuntimeError("the gateway answers without x-gateway-cache: it has no cache, or it is off")
        hit = said["x-gateway-cache"] == "hit"
        tier = said.get("x-gateway-cache-type") if hit else None
        similarity = float(said.get("x-gateway-cache-similarity", 1)) if hit else None
        return Answer(reply.json()["id"], said.get("x-request-id", ""), hit, tier, similarity)

    def refused_by(self, answer):
        """The name of the rule that held the nearest stored question different; None if nothing was near enough to judge."""
        if answer.hit or not self.explained:
            return None
        deadline = time.monotonic() + EXPLAINED_WITHIN_SECONDS
        while True:
            reply = self.http.get(f"/v1/requests/{answer.request_id}")
            if reply.status_code == 200:
                return rule_in(reply.json().get("cache"))
            if reply.status_code != 404 or time.monotonic() > deadline:
                raise RuntimeError(f"no explanation of {answer.request_id}: {reply.status_code}")
            time.sleep(0.01)

    def alone(self, pairs):
        """Each pair by itself: nothing is stored but `a` when `b` is asked."""
        scopes = [f"{pairs.name}, pair {number}" for number in range(len(pairs.pairs))]
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            return list(pool.map(self._pair, scopes, pairs.pairs))

    def _pair(self, scope, pair):
        if self.ask(scope, pair.a).hit:
            raise RuntimeError(f"{scope} was asked before: its scope is not its own")
        answer = self.ask(scope, pair.b)
        return Outcome(pair, answer.hit, pair.same, answer.similarity, answer.tier, self.refused_by(answer))

    def among_all(self, pairs):
        """All pairs in one scope: first every `a`, then every `b`. Whatever is served must be labelled to serve; what is not
        served is stored too, as in any cache. One after the other, so that every run is the same."""
        labels, scope, made_for, outcomes = Labels(pairs.pairs), f"{pairs.name}, all pairs", {}, []
        for role in ("a", "b"):
            for pair in pairs.pairs:
                question = getattr(pair, role)
                answer = self.ask(scope, question)
                if answer.hit and answer.id not in made_for:
                    raise RuntimeError(f"{scope} was served {answer.id}, an answer that was made for nobody in it")
                stored = made_for.setdefault(answer.id, question)
                if answer.hit and stored == question:
                    # Two pairs share this question: that it is its own answer says nothing.
                    continue
                right = answer.hit and labels.serves(stored, question)
                outcomes.append((role, Outcome(pair, answer.hit, right, answer.similarity, answer.tier)))
        return Crowd([one for role, one in outcomes if role == "a"], [one for role, one in outcomes if role == "b"])


@dataclass(frozen=True)
class Crowd:
    """What came of asking in a cache that is full: of the questions of all pairs while it filled, and then of their `b`."""

    filling: list[Outcome]
    asked: list[Outcome]


def rule_in(explained):
    """Finds `rule` in what an explanation says of the cache."""
    if isinstance(explained, dict):
        if isinstance(explained.get("rule"), str):
            return explained["rule"]
        return next((rule for rule in map(rule_in, explained.values()) if rule), None)
    return None
