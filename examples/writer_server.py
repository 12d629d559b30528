"""An OpenAI-compatible endpoint that writes by rules instead of a language model: to try foils write without one.

    python examples/writer_server.py --port 8398
    foils write DATA "SyNeg(k=1)" --model rule --llm-url http://127.0.0.1:8398/v1 -o SHARD

It reads the prompts of foils and fills templates with words of the document: negatives that go round the point, queries
out of single sentences, paraphrases with other small words; judges as judge_server.py does. The same question gets the
same reply. Nothing that it writes is of use for training. ``--faults 0.2`` makes a fifth of the questions go wrong at
first, in every way that endpoints know.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from judge_server import COMMON, between, judge

FAULTS = ("no JSON", "left out", "cut off", "withheld", "rate", "server", "dropped", "slow")
PASSING = {"rate", "server", "dropped", "slow"}  # the same question is answered the second time
ROUND = (
    "Much has been written about {} and {}, and most of it begins with {}.",
    "People who deal with {} soon hear of {} as well, often beside {}.",
    "It is an old question how {} came to be named together with {} and {}.",
    "Where {} is concerned, opinions on {} differ, and {} is no exception.",
    "Courses on {} spend a week on {} before they turn to {}.",
    "A library may keep its books about {} on one shelf with {} and {}.",
    "The words {} and {} are not the same, although {} stands near both.",
    "Those who collect figures on {} count {} apart from {}.",
    "In earlier years {} was seldom told apart from {} or from {}.",
    "Several groups publish news of {}, of {}, and now and then of {}.",
    "Before {} is discussed, one asks about {}; only then about {}.",
    "A glossary explains {} in a line, {} in two, and leaves {} to specialists.",
)
ASKED = ("what is known about {}", "how does {} come about", "{} explained", "which facts concern {}", "why {}")
AGAIN = ("tell me about {}", "{}: where do I read more", "looking for {}", "I want to know of {}", "information on {}")
OTHERS = {
    "symptoms": "history",
    "treatments": "costs",
    "treatment": "prevention",
    "causes": "names",
    "cause": "name",
    "diagnosis": "naming",
    "genetic": "seasonal",
    "outlook": "archive",
    "information": "rumours",
}
SMALL = {
    **{
        "a": "one",
        "an": "one",
        "and": "as well as",
        "are": "happen to be",
        "as": "like",
        "be": "become",
        "by": "through",
    },
    **{
        "can": "may",
        "for": "regarding",
        "from": "out of",
        "has": "shows",
        "have": "show",
        "in": "within",
        "is": "remains",
    },
    **{
        "it": "this",
        "may": "might",
        "of": "belonging to",
        "on": "upon",
        "or": "or else",
        "some": "a few",
        "that": "which",
    },
    **{"the": "this", "to": "toward", "was": "had been", "when": "once", "with": "along with", "which": "that"},
}


def number(*parts: object) -> int:
    """A number that looks drawn, of anything."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest(), "little")


def terms(text: str) -> list[str]:
    """The longer words of a text, each once, in their order."""
    found = (word for word in re.findall(r"[^\W\d_]{4,}", text) if word.lower() not in COMMON)
    return list({word.lower(): word for word in found}.values()) or ["this"]


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    return [one.strip() for one in re.split(r"(?<=[.!?])\s+", text) if one.strip()]


def document(prompt: str) -> tuple[str, str]:
    """Title and text of the document that a prompt is about: the last one."""
    text = between("document", prompt)[-1]
    title, blank, body = text.partition("\n\n")
    return (title.removeprefix("Title: "), body) if text.startswith("Title: ") and blank else ("", text)


def around(prompt: str, seed: int) -> tuple[str, str]:
    """A title and a text in words of the document that tell nothing."""
    title, body = document(prompt)
    words, long = terms(f"{title} {body}"), len(body.split())
    made: list[str] = []
    while sum(len(one.split()) for one in made) < long:
        at = number(title, body[:50], seed, len(made))
        picked = [words[(at // 7 + step * (1 + at % 5)) % len(words)] for step in range(3)]
        made.append(ROUND[at % len(ROUND)].format(*picked))
    return (f"{title}: remarks" if title else ""), " ".join(made)


def syneg(prompt: str, seed: int) -> dict:
    title, text = around(prompt, seed)
    need = " ".join(between("query", prompt)[0].split())
    check = "nothing is said that answers"
    reflection = {"need": need, "answered_by": sentences(document(prompt)[1])[0], "missed": "the point", "check": check}
    return {"reflection": reflection, "title": title, "text": text}


def e5(prompt: str, seed: int) -> dict:
    title, text = around(prompt, seed)
    return {"missing": "what is asked", "title": title, "hard_negative_document": text}


def counterfactual(prompt: str, seed: int) -> dict:
    """The document with another word wherever one of the query's words stands."""
    title, body = document(prompt)
    asked = sorted(terms(between("query", prompt)[0]), key=lambda word: (word.lower() not in OTHERS, word.lower()))[:6]
    asked = [*asked, "the subject"][: max(2, len(asked))]
    place = (int(re.search(r"requirement number (\d+)", prompt).group(1)) - 1) % len(asked)
    word = asked[place]
    other = OTHERS.get(word.lower(), ("another matter", "a neighbouring thing", "the opposite")[number(word, seed) % 3])
    changed, count = re.subn(re.escape(word), other, body, flags=re.IGNORECASE)
    if not count:
        changed = f"{body} All of this concerns {other}, and not {word}."
    kept = [i for i in range(1, len(asked) + 1) if i != place + 1]
    met = [{"requirement": f"it is about {one}", "met_by": "it names it"} for one in asked]
    return {
        **{"requirements": met, "violated": place + 1, "kept": kept, "change": f"{other} in place of {word}"},
        **{"title": re.sub(re.escape(word), other, title, flags=re.IGNORECASE), "text": changed},
    }


def queries(prompt: str, seed: int) -> dict:
    """A query out of each of some sentences."""
    title, body = document(prompt)
    told = sorted(sentences(body), key=lambda one: (-len(terms(one)), one))
    found = []
    for i in range(int(re.search(r"[Ww]rite (\d+)", prompt).group(1))):
        one = told[i % len(told)]
        words = sorted(terms(one), key=lambda word: (-len(word), word))[i // len(told) :][:3]
        about = " ".join([*terms(title)[:2], *words] if title else words)
        found.append(
            {"about": " ".join(one.split()[:15]), "query": ASKED[number(one, seed, i) % len(ASKED)].format(about)}
        )
    return {"queries": found}


def paraphrase(prompt: str, seed: int) -> dict:
    title, body = document(prompt)
    words = [SMALL.get(word.lower(), word) for word in body.split()]
    text = " ".join(words)
    return {
        "facts": [" ".join(one.split()[:8]) for one in sentences(body)[:5]],
        "title": f"About {title}" if title else "",
        "text": text[:1].upper() + text[1:],
    }


def again(prompt: str, seed: int) -> dict:
    query = between("query", prompt)[0]
    words = [word for word in re.findall(r"\w+", query) if word.lower() not in COMMON] or [query]
    count = int(re.search(r"Write (\d+)", prompt).group(1))
    found = []
    for i in range(count):
        turn = i % len(words)
        found.append(AGAIN[(number(query, seed) + i) % len(AGAIN)].format(" ".join([*words[turn:], *words[:turn]])))
    return {"need": " ".join(words), "queries": found}


WRITERS = {
    '{"reflection"': syneg,
    '"hard_negative_document"': e5,
    '{"requirements"': counterfactual,
    '{"queries"': queries,
    '{"facts"': paraphrase,
    '{"need"': again,
}


def reply(prompt: str, seed: int = 0) -> dict:
    """What is written for a prompt, told by the form of the reply that it asks for."""
    last = prompt[prompt.rindex("Reply with one JSON object") :]
    for form, writer in WRITERS.items():
        if form in last:
            return writer(prompt, seed)
    return judge(prompt)


def answer(body: dict, fault: str | None = None) -> dict:
    """What an endpoint replies to a request, with a fault of its content if there is to be one."""
    made = reply(body["messages"][-1]["content"], int(body.get("seed", 0)))
    if fault == "left out":
        made.pop(list(made)[-1])
    text = json.dumps(made, ensure_ascii=False)
    text = {"no JSON": "I cannot help with that.", "cut off": text[: len(text) // 2], "withheld": ""}.get(fault, text)
    finish = {"cut off": "length", "withheld": "content_filter"}.get(fault, "stop")
    count = [sum(len(message["content"]) for message in body["messages"]) // 4, len(text) // 4]
    return {
        "model": str(body.get("model", "rule")),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": count[0], "completion_tokens": count[1], "total_tokens": sum(count)},
    }


class Server(ThreadingHTTPServer):
    """Knows how often it is to fail, and which passing faults there were."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, faults: float = 0.0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.faults, self.asked = faults, 0
        self.passed: set[int] = set()
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def fault(self, body: dict) -> str | None:
        """What goes wrong with a request; what passes goes wrong once."""
        key = number(body["messages"], body.get("seed"), body.get("max_tokens"))
        chosen = FAULTS[key // 1000 % len(FAULTS)]
        with self.lock:
            self.asked += 1
            if key % 1000 >= 1000 * self.faults or (chosen in PASSING and key in self.passed):
                return None
            self.passed.add(key)
        return chosen


class Handler(BaseHTTPRequestHandler):
    """Speaks the protocol."""

    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.server.fault(body)
        if fault == "dropped":
            self.connection.close()
        elif fault in ("rate", "server"):
            code = 429 if fault == "rate" else 503
            self.send(code, {"error": {"message": "try again", "type": fault}}, {"Retry-After": "0.05"})
        else:
            if fault == "slow":
                time.sleep(0.2)
            self.send(200, answer(body, fault))

    def send(self, code: int, body: dict, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="An endpoint that writes by rules.")
    parser.add_argument("--port", type=int, default=8398)
    parser.add_argument(
        "--faults", type=float, default=0.0, metavar="SHARE", help="of questions that go wrong at first"
    )
    given = parser.parse_args()
    try:
        server = Server(given.port, given.faults)
    except OSError as error:
        sys.exit(f"port {given.port}: {error.strerror}. Name another one with --port.")
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
