"""The demo collection: what is read of a made-up installation, how it is divided; and a real one, twice."""

import filecmp
import inspect
import json
import os
import subprocess
import sys
import textwrap
import warnings

import pytest

import foils
from foils.core.errors import DataError
from foils.demo import build
from foils.demo.docstrings import described, python_sources

REST = "word " * 20


def doc(summary, rest=REST):
    return f'"""{summary}\n\n{rest}\n"""\n'


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """Two folders that sysconfig names; returns a function that writes a file into one of them."""
    roots = {name: tmp_path / "python" / name for name in ("stdlib", "purelib")}
    roots |= {"platstdlib": roots["stdlib"], "platlib": roots["purelib"]}
    for root in roots.values():
        root.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr("sysconfig.get_paths", lambda: {name: str(root) for name, root in roots.items()})

    def write(name, text, root="purelib"):
        path = roots[root] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def read(folder, name):
    path = folder / name
    if path.suffix == ".tsv":
        return [tuple(line.split("\t")[:2]) for line in path.read_text().splitlines()[1:]] if path.exists() else []
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_which_files_are_read(installation):
    for name in ("a.py", "p/__init__.py", "p/b.py", "p/tests/c.py", "p/test_d.py", "p/_vendor/e.py", "p/x-y/f.py"):
        installation(name, "")
    installation("json.py", "", "stdlib")
    installation("site-packages/g.py", "", "stdlib")
    found = [(source.package, source.module) for source in python_sources()]
    assert found == [("json", "json"), ("a", "a"), ("p", "p"), ("p", "p.b")]


def test_which_objects_are_described():
    source = doc("The module does it.") + textwrap.dedent('''
        import something_that_is_not_there
        raise SystemExit("nothing is run")

        class Thing:
            """A thing that counts.

            %(rest)s
            """
            def method(self):
                r"""Count\\s up by one.

                %(rest)s
                """
            def _private(self):
                """Not for the public.

                %(rest)s
                """
        if True:
            async def fetch():
                """Fetch it over
                two lines.

                %(rest)s
                """
        def short(): """Too short.\\n\\n%(rest)s"""
        def bare(): """A summary and nothing more of it."""
        def outer():
            def inner():
                """Inside of a function body.

                %(rest)s
                """
    ''') % {"rest": REST}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [(item.id, item.kind, item.summary) for item in described("m", source.encode())]
    assert found == [
        ("m", "module", "The module does it."),
        ("m:Thing", "class", "A thing that counts."),
        ("m:Thing.method", "function", r"Count\s up by one."),
        ("m:fetch", "function", "Fetch it over two lines."),
    ]
    assert all(item.rest == REST.strip() for item in described("m", source.encode()))


@pytest.mark.parametrize("module", [textwrap, json, json.decoder, filecmp])
def test_the_texts_are_those_of_inspect(module):
    found = {item.name: item for item in described("m", inspect.getsource(module).encode())}
    texts = {"": inspect.cleandoc(module.__doc__ or "")}
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__ and value.__doc__:
            texts[name] = inspect.cleandoc(value.__doc__)
    expected = {}
    for name, text in texts.items():
        summary, _, rest = text.partition("\n\n")
        if 3 <= len(summary.split()) <= 60 and len(rest.split()) >= 20:
            expected[name] = (" ".join(summary.split()), rest.strip())
    assert expected
    assert {n: (i.summary, i.rest) for n, i in found.items() if "." not in n} == expected


def test_same_summaries_and_same_texts_are_united(installation, tmp_path):
    installation("p/a.py", "def f():\n    " + doc("Open the file.", f"first {REST}"))
    installation("p/b.py", "def g():\n    " + doc("open the  FILE.", f"second {REST}"))
    installation("p/c.py", "def h():\n    " + doc("Shut the file.", f"SECOND   {REST}"))
    installation("bad.py", doc("This cannot be parsed.") + "def (:")
    installation("nul.py", b'"""x"""\0')
    installation("latin.py", b"# coding: latin-1\n" + doc("Größe der Datei ändern.").encode("latin-1"))
    counts = build(tmp_path / "out")
    assert (counts["documents"], counts["queries"]) == (3, 3)
    assert (counts["files_read"], counts["files_unreadable"], counts["objects"]) == (6, 2, 4)
    corpus = {row["_id"]: row for row in read(tmp_path / "out", "corpus.jsonl")}
    assert {name: row["text"] for name, row in corpus.items()} == {
        "p.a:f": f"first {REST.strip()}",
        "p.b:g": f"second {REST.strip()}",
        "latin": REST.strip(),
    }
    assert corpus["p.a:f"]["metadata"] == {"module": "p.a", "object": "f", "kind": "function", "package": "p"}
    queries = {row["_id"]: row["text"] for row in read(tmp_path / "out", "queries.jsonl")}
    assert queries == {"p.a:f": "Open the file.", "p.c:h": "Shut the file.", "latin": "Größe der Datei ändern."}
    # Each package is more than a fifth of the documents, so all of them train.
    pairs = read(tmp_path / "out", "qrels/train.tsv")
    assert sorted(pairs) == [("latin", "latin"), ("p.a:f", "p.a:f"), ("p.a:f", "p.b:g"), ("p.c:h", "p.b:g")]


@pytest.mark.parametrize("seed", [0, 1])
def test_test_objects_are_unseen(installation, tmp_path, seed):
    for p in range(40):
        for m in range(5):
            own = doc(f"Compute quantity {p} {m}.", f"quantity {p} {m} {REST}")
            common = doc(f"Common summary {m}.", f"in package {p} {m} {REST}")
            shared = doc(f"Own summary {p} {m}.", f"shared text {m} {REST}")
            lines = ["def one():", own, "def two():", common, "def three():", shared]
            text = "\n".join(line if line.startswith("def") else textwrap.indent(line, "    ") for line in lines)
            installation(f"pack{p}/mod{m}.py", text)
    out = tmp_path / "out"
    counts = build(out, seed=seed)
    assert (counts["documents"], counts["files_read"]) == (40 * 5 * 2 + 5, 200)
    splits = {split: read(out, f"qrels/{split}.tsv") for split in ("train", "dev", "test")}
    queries = {split: {query for query, _ in pairs} for split, pairs in splits.items()}
    docs = {split: {document for _, document in pairs} for split, pairs in splits.items()}
    assert not queries["train"] & queries["test"]
    assert not queries["train"] & queries["dev"]
    assert not queries["dev"] & queries["test"]
    assert not docs["train"] & docs["test"]
    own = {split: {q.split(".")[0] for q in queries[split] if q.endswith(":one")} for split in splits}
    assert not own["train"] & own["test"]
    # Whole packages of ten or fifteen documents each fill a fifth and a twentieth of 405, and are never more.
    assert len(own["test"]) in (7, 8)
    assert len(own["dev"]) in (1, 2)
    assert sum(map(len, own.values())) == 40
    # A summary that occurs in a test package is a test query, with the objects of all packages as its positives.
    texts = {row["_id"]: row["text"] for row in read(out, "queries.jsonl")}
    common = [query for query, text in texts.items() if text.startswith("Common")]
    assert set(common) <= queries["test"]
    assert sum(query in common for query, _ in splits["test"]) == 40 * 5
    # A text that also occurs in a test package trains nothing.
    assert not any(text.startswith("Own summary") and query in queries["train"] for query, text in texts.items())
    data = foils.load(out, cache=tmp_path / "cache")
    assert data.report["leaks"] == []
    assert data.report["queries_without_positives"] == 0
    assert data.report["splits"]["train"]["queries"] == counts["train_queries"] == len(queries["train"])


def test_no_package_is_most_of_a_small_collection(installation, tmp_path):
    for p in range(30):
        for m in range(60 if p == 0 else 4):
            text = f"package {p} module {m} " + "w" * 5_000 + REST
            installation(f"pack{p}/mod{m}.py", doc(f"Compute quantity {p} {m}.", text))
    counts = build(tmp_path / "out", max_docs=100)
    assert 90 <= counts["documents"] <= 100
    packages = [row["metadata"]["package"] for row in read(tmp_path / "out", "corpus.jsonl")]
    assert max(packages.count(package) for package in packages) <= 30
    seen = []
    again = build(tmp_path / "again", max_docs=100, progress=lambda done, total: seen.append((done, total)))
    assert again == counts
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    other = build(tmp_path / "other", max_docs=100, seed=1)
    assert read(tmp_path / "other", "corpus.jsonl") != read(tmp_path / "out", "corpus.jsonl")
    assert other["documents"] <= 100


def test_the_real_one_is_the_same_in_another_process(tmp_path):
    counts = build(tmp_path / "here", max_docs=150)
    code = "import sys, foils.demo; foils.demo.build(sys.argv[1], max_docs=150)"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, env=environment)
    names = ["corpus.jsonl", "queries.jsonl", "counts.json", "README.md", "qrels/train.tsv", "qrels/test.tsv"]
    assert filecmp.cmpfiles(tmp_path / "here", tmp_path / "there", names, shallow=False) == (names, [], [])
    data = foils.load(tmp_path / "here", cache=tmp_path / "cache")
    assert len(data.corpus) == counts["documents"] <= 150
    assert data.report["linked_documents"] == data.report["merged_queries"] == 0
    assert data.report["leaks"] == []


def test_wrong_arguments(installation, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(DataError, match="not empty"):
        build(tmp_path / "full")
    with pytest.raises(DataError, match="max_docs is 99; the least is 100"):
        build(tmp_path / "out", max_docs=99)
    with pytest.raises(DataError, match="no documentation strings"):
        build(tmp_path / "out")
    assert not (tmp_path / "out").exists()
