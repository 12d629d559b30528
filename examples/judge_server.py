"""An OpenAI-compatible endpoint that judges by a rule instead of a language model: to try foils without one.

    python examples/judge_server.py --port 8399
    foils audit NEG --judge llm:rule --llm-url http://127.0.0.1:8399/v1

It reads the prompts of foils (query, known positives, documents between tags) and grades a document by the share of the
query's words that it has, compared with the known positives. It is no judge to believe.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMON = {
    *(
        "a",
        "an",
        "and",
        "are",
        "can",
        "do",
        "does",
        "for",
        "from",
        "has",
        "have",
        "how",
        "in",
        "into",
        "is",
        "it",
        "its",
    ),
    *("of", "on", "or", "that", "the", "their", "there", "this", "to", "was", "what", "when", "where", "which", "who"),
    *("why", "with"),
}


def between(tag: str, text: str) -> list[str]:
    """The texts between tags of this name."""
    return [found.strip() for found in re.findall(rf"<{tag}(?: id=\"\d+\")?>\n(.*?)\n</{tag}>", text, re.DOTALL)]


def words(text: str) -> set[str]:
    """Beginnings of the words of a text, without the most common ones."""
    return {word[:6] for word in re.findall(r"\w+", text.lower()) if word not in COMMON}


def share(query: set[str], document: str) -> float:
    """Of the query's words that a document has."""
    return len(query & words(document)) / max(1, len(query))


def judge(prompt: str) -> dict:
    """The reply to a prompt."""
    query = words(between("query", prompt)[0])
    bar = max([share(query, known) for known in between("known", prompt)], default=0.6)
    made = []
    for number, document in enumerate(between("document", prompt), 1):
        found = share(query, document)
        grade = 3 if found >= max(bar, 0.7) else 2 if found >= 0.7 else 1 if found >= 0.3 else 0
        made.append({"id": number, "reason": f"has {found:.0%} of the query's words", "grade": grade})
    if '{"documents"' in prompt:
        return {"documents": made}
    return {"reason": made[0]["reason"], "grade": made[0]["grade"]}


def answer(body: dict) -> dict:
    """What an endpoint replies to a request."""
    text = json.dumps(judge(body["messages"][-1]["content"]))
    count = [sum(len(message["content"]) for message in body["messages"]) // 4, len(text) // 4]
    return {
        "model": "rule",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": count[0], "completion_tokens": count[1], "total_tokens": sum(count)},
    }


class Handler(BaseHTTPRequestHandler):
    """Speaks the protocol."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        data = json.dumps(answer(body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="An endpoint that judges by a rule.")
    parser.add_argument("--port", type=int, default=8399)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}/v1\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
