"""`foils write`, and every command on what it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import ClassVar

import pytest

import foils as library
from foils.core.spec import declare
from foils.writing import Author, Desk, Draft, Edit, Options, Role, Wanted, write
from little import make_beir, make_shard, write_jsonl
from serving import Server
from shell import foils


@declare
class LastWord(Author):
    """The positive with another last word: for tests."""

    family: ClassVar[Role] = "negative"

    told: bool = True  # whether it says that it is an edit

    def write(self, wanted: Wanted, desk: Desk) -> Iterator[Draft]:
        for query, doc in zip(wanted.query.tolist(), wanted.doc.tolist(), strict=True):
            text = desk.data.corpus.bodies([doc])[0]
            at = text.rindex(" ") + 1
            edits = (Edit(at, len(text), text[at:], "x"),) if self.told else ()
            yield Draft(query, doc, "", f"{text[:at]}x", "last", edits)


@pytest.fixture(scope="module")
def place(tmp_path_factory, _own_cache):
    """A folder with a collection, drafts for it, and a shard."""
    folder = tmp_path_factory.mktemp("commands")
    make_beir(folder / "data")
    data = library.load(folder / "data")
    rows = data.query_rows("train")
    drafts = [
        {"query_id": name, "text": text * (1 + i % 3), "kind": "odd" if i % 2 else "even"}
        for i, (name, text) in enumerate(zip(data.queries.id_list(rows), data.queries.texts(rows), strict=True))
    ]
    write_jsonl(folder / "drafts.jsonl", drafts)
    make_shard(data, folder / "shards")
    return folder


def test_a_table_that_fits_and_json_that_says_the_same(place, tmp_path):
    author = f"FromFile({str(place / 'drafts.jsonl')!r})"
    shown = foils("write", str(place / "data"), author, "-o", str(tmp_path / "a"))
    assert max(map(len, shown.splitlines())) <= 80
    said = json.loads(foils("write", str(place / "data"), author, "-o", str(tmp_path / "a"), "--json"))
    report = said["report"]
    assert f"{report['accepted']:,} of {report['drafts']:,} drafts" in shown
    assert report["rejected"]["length"] > 0
    for kind in ("odd", "even"):
        assert f"negative   {kind}" in shown
    assert "times as long as its source" in shown
    assert said["out"] == str(tmp_path / "a")
    assert json.loads((tmp_path / "a" / "shard.json").read_text())["fingerprint"] == said["fingerprint"]


def test_what_would_be_asked(place, tmp_path):
    author = f"FromFile({str(place / 'drafts.jsonl')!r})"
    shown = foils("write", str(place / "data"), author, "--dry-run", "--limit", "7")
    assert "nobody" in shown
    with Server(lambda *_: "{}") as server:
        arguments = ("--model", "m", "--llm-url", server.url, "--dry-run", "--limit", "5")
        shown = foils("write", str(place / "data"), "SyNeg(k=1)", *arguments)
        said = json.loads(foils("write", str(place / "data"), "SyNeg(k=1)", *arguments, "--json"))
    assert not server.asked
    assert said["calls"] == 5
    assert "5 calls" in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("FromFile('none.jsonl')", "-o", "x"), 1, "no such file"),
        (("FromFil('a')", "-o", "x"), 2, "Did you mean 'FromFile'"),
        (("FromFile('a')",), 2, "Missing option '--out'"),
        (("FromFile('a')", "-o", "x", "--split", "trian"), 1, "--split"),
        (("SyNeg()", "-o", "x"), 2, "--model NAME"),
        (("FromFile('a')", "-o", "x", "--checks", "Length(low=3)"), 2, "high must be at least low"),
        (("FromFile('a')", "-o", "x", "--split", "test"), 2, "--leaks keep"),
    ],
)
def test_faults_are_one_line_and_a_code(place, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    said = foils("write", str(place / "data"), *arguments, check=code)
    assert message in said
    assert "Traceback" not in said


def test_every_command_takes_a_shard(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shard = str(place / "shards" / "query")
    assert "written" in foils("inspect", shard)
    foils("mine", shard, "(BM25(k=12) >> Top(k=3)) + Written(k=1)", "-o", "neg")
    shown = foils("show", "neg", "-n", "3")
    assert "written:" in shown
    assert "indeed" in shown or "of course" in shown
    for layout in ("triplet", "n-tuple", "labeled-list", "flag-embedding"):
        made = json.loads(foils("export", "neg", "-f", layout, "-o", f"{layout}.jsonl", "--json"))
        assert made["rows"] > 0
    listed = (tmp_path / "n-tuple.jsonl").read_text()
    assert " indeed" in listed or " of course" in listed
    found = json.loads(foils("check", "neg", "--allow", "held-out-positive", "--allow", "leaked-positive", "--json"))
    assert {one["count"] for one in found["findings"] if one["code"] in ("unknown-document", "leaked-query")} == {0}
    audited = json.loads(foils("audit", "neg", "--judge", "qrels", "--complete", "--json"))
    assert audited["rate"]["value"] == 0
    assert "written" in {row["name"] for row in audited["by"]["source"]}
    foils("report", "neg", "-o", "page.html")
    assert "Written(k=1)" in (tmp_path / "page.html").read_text()


def test_stages_lists_authors_and_checks():
    assert "FromFile" in foils("stages", "--kind", "author")
    assert "Repeats" in foils("stages", "--kind", "check")


def test_an_edited_text_may_nearly_repeat_its_source(tmp_path):
    """`check` knows what was made from what; a text that was not edited is found."""
    pairs = [{"query": f"q {i}?", "positive": f"{i} " + " ".join(f"w{i}{j}" for j in range(40))} for i in range(9)]
    data = library.load({"train": pairs})
    for told, count in ((True, 0), (False, 9)):
        options = Options(checks="none")
        shard = write(data, LastWord(told=told), out=tmp_path / f"s{told}", options=options).collection()
        mined = library.mine(shard, "Random(k=3) + Written()", out=tmp_path / f"n{told}")
        found = {one["code"]: one["count"] for one in library.check(mined.path).to_dict()["findings"]}
        assert found["near-duplicate-of-positive"] == count
