"""The command line as a program sees it: output, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from foils import load
from foils.catalogue import KINDS
from foils.cli.arguments import whole
from foils.core.spec import registry
from foils.mine import Miner
from foils.recipe import load_recipe, shipped
from foils.terminal.negatives import _histogram
from shell import foils


@pytest.fixture(scope="module")
def negatives(little, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "neg"
    report = json.loads(foils("mine", little, "BM25(k=20) >> NoAnswer() >> Top(k=3)", "-o", str(out), "--json"))
    assert report["counts"]["kept"] > 0
    return str(out)


def test_help_needs_no_model_library():
    code = "import sys, foils.cli; print([m for m in ('torch', 'pandas', 'rich.table') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    shell = subprocess.run([sys.executable, "-m", "foils.cli", "stages", "Nope"], capture_output=True, text=True)
    assert (shell.returncode, shell.stdout) == (2, "")
    assert shell.stderr.startswith("foils: unknown stage 'Nope'")
    for command in (
        "demo",
        "prompts",
        "inspect",
        "import",
        "mine",
        "show",
        "export",
        "check",
        "teach",
        "train",
        "evaluate",
        "recipes",
        "stages",
    ):
        assert command in foils("--help")
        assert "--json" in foils(command, "--help")
    assert foils("--version").startswith("foils 0.")


def test_tables_fit_80_columns(little, negatives):
    for arguments in (
        ["recipes"],
        ["stages"],
        ["stages", "SimANS"],
        ["stages", "--kind", "loss"],
        ["inspect", little],
        ["show", negatives],
    ):
        assert max(map(len, foils(*arguments).splitlines())) <= 80


def test_the_most_kept_per_query_is_the_largest_number():
    kept = {str(n): 1 for n in sorted(range(21), key=str)}
    assert _histogram(kept) == "0 to 20, mean 10.0; none: 1 queries"


def test_every_stage_and_recipe_has_a_page():
    for kind in KINDS:
        listed = {page["name"]: page for page in json.loads(foils("stages", "--kind", kind, "--json"))}
        for name, cls in registry(kind).items():
            if cls.__module__.startswith("foils."):
                assert listed[name]["doc"]
                fields = listed[name]["fields"]
                assert all(field["help"] or field["type"].startswith("one of") for field in fields), name
    assert "  'each': each is a positive" not in foils("stages", "InfoNCE")
    assert "\n- 'each': each is a positive" in foils("stages", "InfoNCE")
    for name in shipped():
        recipe = load_recipe(name)
        assert len(recipe.cite) > 40
        assert f"--recipe {name}" in foils("recipes", name).splitlines()[0]


def test_show_says_why(negatives, little):
    found = json.loads(foils("show", negatives, "-n", "60", "--json"))
    reasons = {item["reason"] for example in found for item in example["rejected"]}
    assert {"2: NoAnswer()", "3: Top(k=3)"} <= reasons
    assert all(example["positives"] and example["positives"][0]["reason"] is None for example in found)
    one = json.loads(foils("show", negatives, "--data", little, "--query", "q1", "--json"))
    assert [example["query"] for example in one] == ["q1"]
    assert "no mined pairs" in foils("show", negatives, "--query", "q0", check=1)


def test_export_through_the_command_line(negatives, tmp_path):
    out = tmp_path / "triplets.jsonl"
    report = json.loads(foils("export", negatives, "-o", str(out), "--format", "jsonl", "--scores", "bm25", "--json"))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows
    assert report["rows"] == len(rows)
    assert set(rows[0]) == {"query", "pos", "neg", "pos_scores", "neg_scores"}


def test_import_and_inspect_other_forms(tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("frage,antwort\nwhat is a foil?,a contrast\nwhat is a mine?,a hole in the ground\n")
    out = tmp_path / "beir"
    report = json.loads(foils("import", str(pairs), str(out), "--columns", "query=frage,positive=antwort", "--json"))
    assert report["documents"] == 2
    assert json.loads(foils("inspect", str(out), "--json"))["queries"] == 2


def test_import_makes_queries_of_documents(little, tmp_path):
    out = tmp_path / "weak"
    report = json.loads(foils("import", little, str(out), "--weak", "titles", "--json"))
    assert [split["name"] for split in report["splits"]] == ["train"]
    assert "one after the other" in foils(
        "import", little, str(tmp_path / "x"), "--weak", "titles", "--cut", "words:6", check=2
    )


def test_import_cuts_documents_into_pieces(little, tmp_path):
    out = tmp_path / "pieces"
    report = json.loads(foils("import", little, str(out), "--cut", "words:6", "--json"))
    assert report["documents"] == 2 * json.loads(foils("inspect", little, "--json"))["documents"]
    kept = json.loads(foils("mine", str(out), "Siblings(k=2)", "-o", str(tmp_path / "n"), "--json"))
    assert kept["counts"]["kept"] > 0


def test_evaluate_bm25_and_its_own_run_file(little, tmp_path):
    scores = tmp_path / "scores"
    report = json.loads(foils("evaluate", little, "--model", "bm25", "--per-query", str(scores), "--json"))
    run = json.loads(foils("evaluate", little, "--model", str(scores / "bm25.trec"), "--baseline", "bm25", "--json"))
    means = {system["system"]: system["measures"] for system in run["systems"]}
    assert means["bm25.trec"]["RR@10"]["mean"] == pytest.approx(report["systems"][0]["measures"]["RR@10"]["mean"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["mine", "/nowhere", "BM25(k=5)", "-o", "{out}"], 1, "/nowhere: no such file or folder"),
        (["mine", "{data}", "BM25(k=5) >> Topp(k=1)", "-o", "{out}"], 2, "Did you mean 'Top'"),
        (["mine", "{data}", "bm52", "-o", "{out}"], 2, "Did you mean 'bm25'"),
        (["mine", "{data}", "in-batch", "-o", "{out}"], 2, "mines nothing"),
        (["mine", "{data}", "BM25(k=5)", "--split", "trian", "-o", "{out}"], 1, "Did you mean 'train'"),
        (
            ["mine", "{data}", "Dense('student', k=5)", "-o", "{out}"],
            2,
            "the model 'student', but the models given are: none",
        ),
        (["mine", "{data}", "BM25(k=5)", "-o", "{out}", "--split", "tset"], 1, "Pass one of them with --split."),
        (["mine", "{data}", "BM25(k=5)", "--encoder", "x=minilm", "-o", "{out}"], 2, "names no model 'x'"),
        (["mine", "{data}", "BM25(k=5)", "--encoder", "minilm", "-o", "{out}"], 2, "write NAME=MODEL"),
        (["mine", "{data}", "BM25(k=5)", "--encoder", "x=a", "--encoder", "x=b", "-o", "{out}"], 2, "give it once"),
        (["mine", "{data}", "Load('/nowhere')", "-o", "{out}"], 1, "no such file or folder"),
        (["mine", "{data}", "BM25(k=5)"], 2, "Missing option"),
        (["evaluate", "{data}", "--model", "bm25", "--measure", "nDGC@10"], 2, "nDCG@10"),
        (["evaluate", "{data}", "--model", "/no/such/model"], 1, "/no/such/model"),
        (["show", "{data}"], 1, "no negatives here"),
        (["stages", "Simans"], 2, "Did you mean 'SimANS'"),
        (["train", "{data}", "--recipe", "bm52", "--model", "static", "-o", "{out}"], 2, "Did you mean 'bm25'"),
        (["train", "{data}", "--recipe", "bm25", "--model", "static", "-o", "{out}", "--set", "epoch=1"], 2, "epochs"),
        (
            ["train", "{data}", "-r", "bm25", "-m", "static", "-o", "{out}", "--epochs", "0.5", "--set", "epoch=1"],
            2,
            "unknown training option 'epoch'",
        ),
        (
            ["train", "{data}", "-r", "bm25", "-m", "static", "-o", "{out}", "--seed", "-1"],
            2,
            "greater than or equal to 0",
        ),
        (["train", "{data}", "-r", "bm25", "-m", "static", "-o", "{out}", "--set", "teach.layers=2"], 2, "teaches no"),
        (["train", "{data}", "-r", "rocketqa", "-m", "static", "-o", "{out}"], 1, "Pass --encoder teacher.base=minilm"),
        (
            ["train", "{data}", "-r", "rocketqa", "-m", "static", "-o", "{out}", "--encoder", "teacher=minilm"],
            1,
            "is a bi-encoder: a cross-encoder made from it would score at random. Train one first: foils teach.",
        ),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_wrong_input_is_one_message_and_an_exit_code(arguments, code, said, little, tmp_path):
    filled = [text.format(data=little, out=tmp_path / "out") for text in arguments]
    assert said in foils(*filled, check=code)
    assert not (tmp_path / "out").exists()


def test_whole_epochs_are_recorded_as_such():
    assert [repr(whole(number)) for number in (2.0, 0.5, None)] == ["2", "0.5", "None"]


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("bm25s.tokenization", ["mine", "{data}", "BM25(k=5)", "-o", "{out}"], "bm25"),
        (
            "faiss",
            ["mine", "{data}", "Dense('m', k=5, index='hnsw')", "--encoder", "m={vectors}", "-o", "{out}"],
            "faiss",
        ),
        ("ir_measures", ["evaluate", "{data}", "--model", "bm25"], "eval"),
        ("torch", ["train", "{data}", "--recipe", "in-batch", "--model", "static", "-o", "{out}"], "st"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(module, arguments, extra, little, tmp_path, monkeypatch):
    data = load(little)
    (tmp_path / "vectors").mkdir()
    for side, texts in (("queries", data.queries), ("corpus", data.corpus)):
        np.save(tmp_path / "vectors" / f"{side}.npy", np.ones((len(texts), 4), np.float32))
    monkeypatch.setenv("FOILS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, module, None)
    places = {"data": little, "out": tmp_path / "out", "vectors": f"vectors:{tmp_path / 'vectors'}"}
    said = foils(*(text.format(**places) for text in arguments), check=1)
    assert said == f"foils: '{module}' is not installed. Install it with: pip install 'foils[{extra}]'\n"


def test_a_reader_that_has_seen_enough_is_no_error(negatives):
    for arguments in (["show", negatives, "-n", "50"], ["stages", "--json"], ["recipes", "bm25"]):
        command = [sys.executable, "-m", "foils.cli", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)
        process.stderr.close()


def test_an_interrupted_command_says_how_to_go_on(little, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Miner, "mine", interrupted)
    said = foils("mine", little, "BM25(k=2)", "-o", str(tmp_path / "out"), check=130)
    assert said.endswith("foils: interrupted; the same command goes on from here.\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"mine: 5", "5 is no stage"),
        (b"mine: [a]", "['a'] is no stage"),
        (b"needs: 3\nmine: BM25(k=5)", "needs: 3 is no list"),
        (b"\xff\xfe", "not UTF-8"),
        (b"mine: |\n  BM25(k=5)  # first\n  >> Top(k=2)\n", "comments cannot stand in a pipeline (at column 12)"),
        (b"mime: BM25(k=5)", "Did you mean 'mine'"),
        (b"- BM25(k=5)", "a mapping with the keys"),
        (b"mine: 'BM25(k=5)", "not YAML"),
    ],
)
def test_recipes_that_cannot_be_read(content, said, little, tmp_path):
    (tmp_path / "own.yaml").write_bytes(content)
    assert said in foils("mine", little, str(tmp_path / "own.yaml"), "-o", str(tmp_path / "out"), check=2)


def test_prompts():
    assert "judge-list" in foils("prompts")
    assert {one["name"] for one in json.loads(foils("prompts", "--json"))} >= {"judge-list", "judge-pair"}
    assert foils("prompts", "judge-list").startswith("title: ")
    assert json.loads(foils("prompts", "judge-pair", "--json"))["schema"]["required"] == ["reason", "grade"]
    assert "Did you mean 'judge-list'" in foils("prompts", "judge-lst", check=2)


def test_errors_of_usage_and_of_the_system_are_json_too(little, tmp_path, monkeypatch):
    report = json.loads(foils("train", little, "-r", "bm25", "-m", "static", "--json", check=2))
    assert report == {"error": "Missing option '--out' / '-o'.", "kind": "MissingParameter", "exit_code": 2}
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("FOILS_CACHE", str(tmp_path / "a-file"))
    arguments = ["mine", little, "BM25(k=2)", "-o", str(tmp_path / "out")]
    assert foils(*arguments, check=1).startswith("foils: ")
    assert json.loads(foils(*arguments, "--json", check=1))["exit_code"] == 1


def test_errors_are_json_for_programs(little, tmp_path):
    report = json.loads(foils("mine", little, "Top(k=1)", "-o", str(tmp_path / "o"), "--json", check=2).splitlines()[0])
    assert report["kind"] == "PipelineError"
    assert report["exit_code"] == 2


def test_check_passes_and_fails(little, negatives, tmp_path):
    copies = "duplicate-negative"  # the collection holds a document twice, and both may be found
    report = json.loads(foils("check", negatives, "--json", "--allow", copies))
    assert report["passed"]
    assert report["format"] == "foils"
    out = tmp_path / "rows.jsonl"
    foils("export", negatives, "-o", str(out), "-f", "flag-embedding")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    rows[4]["neg"][0] = rows[4]["pos"][0].upper()
    out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shown = foils("check", str(out), "--data", little, check=1)
    assert "positive-among-negatives" in shown
    assert f"{out.name}:5" in shown.replace("\n", "").replace(" ", "")
    assert max(map(len, shown.splitlines())) <= 80
    assert not json.loads(foils("check", str(out), "--data", little, "--json", check=1))["passed"]
    assert "passed" in foils(
        "check", str(out), "--data", little, "--allow", "positive-among-negatives=1", "--allow", copies
    )
    assert "Did you mean" in foils("check", str(out), "--allow", "positive-amongst-negatives", check=2)
    assert "unknown format 'tevatrom'" in foils("check", str(out), "--format", "tevatrom", check=2)
    assert json.loads(foils("check", str(tmp_path / "none"), "--json", check=1))["kind"] == "DataError"
