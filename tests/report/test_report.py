"""The page as a file: what is on it, what is missing, and that nothing on it can do harm."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from foils.core.errors import DataError, MissingExtra, StoreError
from foils.mine import mine
from foils.recipe import load_recipe
from foils.report import Settings, report
from foils.report.alarms import alarms
from foils.report.blocks import Plot
from foils.report.making import page_of
from foils.report.missing import missing
from foils.report.page import THEME, embedded, plotting
from foils.report.sections.audit import audited
from foils.report.sections.influence import influential
from foils.report.sections.study import advised, compared
from foils.report.subject import find_subject
from shell import foils as command

AUDIT = {
    "kind": "foils audit",
    "version": 1,
    "judge": {"name": "qrels <i>", "kind": "qrels", "precision": 0.9, "recall": 1.0, "kappa": 0.88},
    "rate": {"value": 0.031, "low": 0.02, "high": 0.046, "level": 0.95, "method": "stratified"},
    "population": 4000,
    "judged": 300,
    "holes": 0.01,
    "strata": [{"source": "bm25", "ranks": [1, 5], "scores": [0.1, None], "items": 40, "judged": 9, "false": 1,
                "rate": 0.11, "low": 0.01, "high": 0.4}],
    "by": {
        "source": [{"name": "bm25", "items": 9, "judged": 9, "rate": 0.1, "low": 0.0, "high": 0.3}],
        "rank": [],
        "difficulty": None,
        "filter": [{"name": "PositiveAware()", "before": {"rate": 0.2}, "after": {"value": 0.1}, "dropped": None}],
    },
    "proxies": {"above_positive": 0.1},
    "examples": [{"query_id": "q", "doc_id": "d", "query": "<b>q", "document": "d", "source": "bm25", "rank": 3,
                  "verdict": True, "probability": 0.9, "reason": "in the qrels"}],
}  # fmt: skip
STUDY = {
    "kind": "foils study",
    "version": 1,
    "data": "little",
    "model": "static",
    "measures": ["nDCG@10", "RR@10"],
    "baseline": "in-batch",
    "arms": [
        {
            "name": name,
            "recipe": "contrast: InBatch()",
            "seeds": [0, 1],
            "scores": {m: {"value": v, "low": v - 0.01, "high": v + 0.01} for m in ("nDCG@10", "RR@10")},
            "versus": {} if name == "in-batch" else {
                "in-batch": {"nDCG@10": {"difference": 0.1, "low": 0.05, "high": 0.15, "p": 0.0001, "holm": 0.0002}}},
            "seconds": {"mine": 3.0 * place, "train": 60.0},
            "memory_mb": 800.0,
            "encoded": 1000,
            "rate": {"value": 0.01, "low": 0.0, "high": 0.02, "kind": "true"},
        }
        for place, (name, v) in enumerate({"in-batch": 0.4, "dense-hard": 0.5}.items())
    ],
    "pareto": ["in-batch", "dense-hard"],
    "advice": ["dense-hard adds .1 <script>"],
}  # fmt: skip
INFLUENCE = {
    "kind": "foils influence",
    "version": 1,
    "batches": 30,
    "concentration": {"pairs": {"number": 100, "share": 0.01, "gradient_share": 0.2}},
    "sources": [
        {
            "name": name,
            "times": 10,
            "times_share": 0.5,
            "gradient_share": s,
            "mean_mass": 0.1,
            "gap": 0.1,
            "above": None,
        }
        for name, s in (("in-batch", 0.2), ("bm25", 0.8))
    ],
    "tiers": [{"name": "1-5", "times": 10, "times_share": 0.5, "gradient_share": 0.8, "mean_mass": 0.1, "gap": -0.1}],
    "documents": [{"doc_id": "d1", "times": 3, "gradient_share": 0.1, "mined": 0.5}, {"doc_id": "<b>", "times": 1}],
    "queries": [{"query_id": "q1", "times": 3, "gradient_share": 0.1}],
    "total": {"times": 20.0, "gradient": 3.0},
}
PHENOMENA = {
    "kind": "foils phenomena",
    "pairs": 50,
    "phenomena": [
        {
            "name": "number",
            "says": "Other numbers",
            "pairs": 20,
            "prevalence": {"value": 0.4, "low": 0.3, "high": 0.5},
            "gradient_share": {"value": 0.6, "low": 0.5, "high": 0.7},
            "lift": {"value": 1.5, "low": 1.2, "high": 1.8},
            "examples": [{"query": "<b>", "positive_sentence": "in 1999", "document_sentence": "in 2001"}],
        }
    ],
}
VOID = {"meta", "link", "br", "input", "img"}


class Outline(HTMLParser):
    """Headings, ids and what would be fetched; tags must be closed in the order in which they were opened."""

    def __init__(self, text):
        super().__init__()
        self.levels, self.ids, self.open, self.fetched = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.levels.append(int(tag[1]))
        if "id" in named:
            self.ids.append(named["id"])
        if tag == "a":
            assert named["href"].startswith("#")
        if tag == "th":
            assert named["scope"] == "col"
        self.fetched += [
            v for k, v in attrs if k in ("src", "srcset", "data", "action") or (k == "href" and tag != "a")
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_is_one_file_and_the_same_bytes_every_time(negatives, tmp_path):
    first = report(negatives.path, tmp_path / "a.html").read_text()
    assert report(negatives.path, tmp_path / "b.html").read_text() == first
    other = report(negatives.path, tmp_path / "c.html", settings=Settings(examples=3, seed=1)).read_text()
    assert other != first
    outline = Outline(first)
    assert outline.fetched == ["data:,"]
    assert len(set(outline.ids)) == len(outline.ids)
    assert outline.levels[:2] == [1, 2]
    assert all(b - a <= 1 for a, b in zip(outline.levels, outline.levels[1:], strict=False))
    assert "default-src &#39;none&#39;" in first
    assert "connect-src &#39;none&#39;" in first
    assert "url(" not in first.split("</style>")[0]
    size = len(first.encode()) - len(plotting().encode())
    assert size < 300_000


def test_what_documents_say_is_text(negatives, tmp_path):
    text = report(negatives.path, tmp_path / "a.html").read_text()
    page = text.replace(plotting(), "")
    assert "window.hacked" in page  # as text
    assert not re.search(r"<script>window|<img|<svg|</textarea>", page)
    assert "{{ 7 * 7 }}" in page
    assert "neg &lt;b&gt;" in page


def test_data_in_a_script_element_cannot_end_it():
    made = embedded({"text": "</script><!-- <script> \u2028"})
    assert "<" not in made
    assert json.loads(made) == {"text": "</script><!-- <script> \u2028"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded({"a": float("nan")})


def test_every_section_has_its_data_and_what_is_missing_is_named(run, negatives, tmp_path):
    page = page_of(find_subject(run), Settings(examples=5))
    names = [section.name for section in page.sections]
    assert names == ["training", "generations", "survivors", "hardness", "check", "examples", "made"]
    missing = " ".join(one.what + one.command for one in page.missing)
    assert "foils audit" in missing
    assert "nfluence" in missing
    (run / "audit").mkdir()
    (run / "audit" / "audit.json").write_text(json.dumps({**AUDIT, "negatives_fingerprint": negatives.fingerprint}))
    (run / "influence").mkdir()
    (run / "influence" / "influence.json").write_text(json.dumps(INFLUENCE))
    page = page_of(find_subject(run), Settings(examples=5))
    assert {"audit", "influence"} <= {section.name for section in page.sections}
    assert "foils audit" not in " ".join(one.command for one in page.missing)
    assert ("False negatives", "3.1 % [2.0, 4.6]", "300 judged", "") in page.figures


@pytest.mark.parametrize(("name", "named"), [("ance", "ance"), ("rocketqa", "rocketqa"), ("ance", "recipe.yaml")])
def test_the_recipe_on_the_page_can_be_followed(run, tmp_path, name, named):
    recipe = load_recipe(name).text()
    recipe |= {} if name == named else {"refresh": "Every(steps=60)"}
    record = json.loads((run / "run.json").read_text())
    record["notes"]["recipe"] = recipe
    (run / "run.json").write_text(json.dumps(record))
    page = page_of(find_subject(run), Settings(examples=0, check=False))
    codes = {block.title: block.text for block in page.sections[-1].blocks if block.kind == "code"}
    assert f"--recipe {named} " in codes["Again"]
    (tmp_path / f"{name}.yaml").write_text(next(text for title, text in codes.items() if title.startswith("Recipe")))
    assert load_recipe(tmp_path / f"{name}.yaml").text() == recipe


def test_training_marks_what_happened(run):
    page = page_of(find_subject(run), Settings(examples=0, check=False))
    training = next(section for section in page.sections if section.name == "training")
    said = " ".join(block.text for block in training.blocks if block.kind == "words")
    assert "loss rose to 9, bound 4: back to step 40" in said
    assert "Rolled back to step 40" in said
    dev = next(block for block in training.blocks if block.kind == "plot" and block.name == "dev")
    marks = dev.spec["layer"][0]["data"]["values"]
    assert [(mark["step"], mark["tone"]) for mark in marks] == [
        (40, "rollback"), (43, "refresh"), (61, "breach"), (83, "refresh"), (100, "best")]  # fmt: skip
    assert {value["kind"] for value in dev.values} == {"nDCG@10", "RR@10"}


def test_dev_measures_have_bands_and_tasks_their_falls(run):
    def training(name="training"):
        page = page_of(find_subject(run), Settings(examples=0, check=False))
        section = next(section for section in page.sections if section.name == name)
        return {getattr(block, "name", getattr(block, "title", "")): block for block in section.blocks}, section

    blocks, section = training()
    spans = {v["step"]: (v["low"], v["high"]) for v in blocks["dev"].values if v["kind"] == "nDCG@10"}
    assert spans == {s: pytest.approx((0.28 + s / 1000, 0.33 + s / 1000)) for s in range(0, 101, 20)}
    assert all("low" not in value for value in blocks["dev"].values if value["kind"] == "RR@10")
    assert blocks["Dev measures by step"].rows[1] == ["20", "0.3200", "0.4200", "[0.3000, 0.3500]", ""]
    falls = {(v["kind"], v["step"]): v["value"] for v in blocks["tasks"].values}
    assert falls["some classes", 100] == pytest.approx(-0.0111, abs=1e-4)
    assert falls["pairs similarity", 0] == 0
    assert [b.text for b in section.blocks if b.kind == "words" and "transfer" in b.text] == [
        "Some classes fell from the start model's 0.500 to 0.489 at step 100. No interval is kept of it: foils "
        "transfer says whether that is more than luck."
    ]
    # Finished, the model that was taken counts; a run of an older version kept neither.
    record = json.loads((run / "run.json").read_text())
    curve = [{"step": step, "nDCG@10": 0.3 + (step == 20)} for step in (0, 20, 100)]
    tasks = [{"step": step, "some classes": 0.5 - step / 9000} for step in (0, 20, 100)]
    record |= {"status": "finished", "steps": 100, "best_step": 20, "curve": curve, "losses": [], "tasks": tasks}
    (run / "run.json").write_text(json.dumps(record))
    (run / "journal.jsonl").unlink()
    blocks, section = training()
    assert not [block for block in section.blocks if block.kind == "words" and "transfer" in block.text]
    assert blocks["Dev measures by step"].head == ("Step", "nDCG@10", "")
    assert "no interval was kept" in blocks["dev"].note


def test_what_language_models_said_and_took(tmp_path):
    llm = {
        "name": "llm:small,large",
        "kind": "llm",
        "models": ["small", "large"],
        "prompt": "judge-list 1",
        "grades": {"0": 200, "1": 60, "2": 20, "3": 10},
        "pairs": 300,
        "flagged": 45,
        "confirmed": 30,
        "undecided": 10,
        "problems": {"no JSON": 7, "cut off": 3},
        "calls": 21,
        "kept": 4,
        "tokens": [12345, 678],
        "cost": 0.0123,
    }
    section = audited({**AUDIT, "judge": llm})
    (facts,) = [block for block in section.blocks if block.kind == "facts"]
    assert dict(facts.rows) == {
        "Models": "small, then large",
        "Prompt": "judge-list 1",
        "Grades": "0: 200, 1: 60, 2: 20, 3: 10",
        "Flagged": "45 of 300 by small; 30 of these confirmed by large",
        "Undecided": "10 (no JSON: 7; cut off: 3)",
        "Calls": "21; 4 replies were there from before",
        "Tokens": "12,345 read, 678 written",
        "Cost": "0.0123, in the money of the prices given",
    }
    lost = audited({**AUDIT, "judge": {**llm, "undecided": 30}})
    assert "10.0 % of the pairs have no decision" in " ".join(b.text for b in lost.blocks if b.kind == "words")
    one = {"kind": "llm", "models": ["small"], "undecided": 0, "calls": 3, "kept": 0, "tokens": [1, 2]}
    (facts,) = [block for block in audited({**AUDIT, "judge": one}).blocks if block.kind == "facts"]
    assert [name for name, _ in facts.rows] == ["Models", "Undecided", "Calls", "Tokens"]
    assert not [block for block in audited(AUDIT).blocks if block.kind == "facts"]


def test_what_nothing_was_judged_of_is_said_of_filters():
    side = {"items": 90, "judged": 30, "rate": 0.1, "low": 0.05, "high": 0.2}
    filters = [{"name": "Top(k=4)", "before": {**side, "uncovered": 0.25}, "after": {**side, "uncovered": 0.0}}]

    def table(rows):
        blocks = audited({**AUDIT, "by": {"filter": rows}}).blocks
        return next(block for block in blocks if block.kind == "table" and "each filter" in block.title)

    found = table(filters)
    assert found.rows == [["Top(k=4)", "10.0 % [5.0, 20.0] (25.0 % unjudged)", "10.0 % [5.0, 20.0]", ""]]
    assert "nothing was judged" in found.note
    assert table([{"name": "Top(k=4)", "before": side}]).note == ""


def test_phases_have_their_own_sections(run, tmp_path):
    whole = tmp_path / "whole"
    (whole / "phases").mkdir(parents=True)
    record = json.loads((run / "run.json").read_text())
    phases = [
        {"name": "warm", "steps": 3, "seconds": 1.0},
        {"name": "hard", "nDCG@10": 0.4, "counts": {"negatives": 5}},
    ]
    (whole / "run.json").write_text(json.dumps({**record, "phases": phases, "breaches": [], "rollbacks": []}))
    for number, phase in enumerate(("warm", "hard"), 1):
        shutil.copytree(run, whole / "phases" / f"{number}-{phase}", symlinks=True)
    page = page_of(find_subject(whole), Settings(examples=0, check=False))
    names = [section.name for section in page.sections]
    assert names[:4] == ["training-warm", "generations-warm", "training-hard", "generations-hard"]
    assert "survivors" in names
    plots = [block.name for section in page.sections for block in section.blocks if isinstance(block, Plot)]
    assert len(set(plots)) == len(plots)
    said = [alarm.key for alarm in alarms(find_subject(whole))]
    assert said == [f"{phase}: {key}" for phase in ("warm", "hard") for key in ("breach 1", "task some classes")]
    Outline(report(whole, tmp_path / "page.html", settings=Settings(examples=0, check=False)).read_text())


def test_a_study_an_audit_and_influence_are_drawn(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    page = page_of(find_subject(tmp_path), Settings())
    assert [section.name for section in page.sections] == ["advice", "scores", "cost", "recipes"]
    assert "failed" in [section.name for section in compared({**STUDY, "failed": {"x": "no memory"}})]
    assert page.figures[1] == ("Highest nDCG@10", "0.500", "dense-hard", "")
    text = report(tmp_path / "study.json", tmp_path / "page.html").read_text()
    assert "dense-hard adds .1 &lt;script&gt;" in text
    assert "+0.100 [+0.050, +0.150]" in text
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.json").write_text(json.dumps(AUDIT))
    Outline(report(tmp_path / "audit", tmp_path / "audit.html").read_text())


def test_all_plots_are_vega_lite(run):
    library = pytest.importorskip("vl_convert")
    sections = [*page_of(find_subject(run), Settings(examples=0)).sections, *compared(STUDY), advised(STUDY)]
    sections += [audited(AUDIT), influential(INFLUENCE, PHENOMENA, None)]
    plots = [block for section in sections for block in section.blocks if isinstance(block, Plot)]
    assert len(plots) > 20
    for plot in plots:
        spec = {
            "data": {"values": list(plot.values)},
            "width": 300,
            "height": plot.height,
            "config": THEME,
            **plot.spec,
        }
        drawn = library.vegalite_to_svg(spec)
        assert drawn.count("<path") + drawn.count("<line") > 2, plot.name


def test_an_audit_is_shown_with_the_negatives_that_it_is_of_alone(hostile, negatives, tmp_path):
    other = mine(hostile, "BM25(k=5)", out=tmp_path / "other")
    mine(hostile, "BM25(k=6)", out=tmp_path / "neg")
    (tmp_path / "audit").mkdir()
    file = tmp_path / "audit" / "audit.json"
    for told, of in ((AUDIT, None), ({**AUDIT, "negatives_fingerprint": other.fingerprint}, "other")):
        file.write_text(json.dumps({**told, "negatives": str(tmp_path / "neg")}))
        for name in ("neg", "other"):
            subject = find_subject(tmp_path / name)
            assert (subject.audit is not None) == (name == of)
            assert ("foils audit" in " ".join(one.command for one in missing(subject, checked=True))) == (name != of)
        assert find_subject(tmp_path / "audit").negatives is None
        assert find_subject(tmp_path / "neg", audit=file).audit is not None  # named by hand
    file.write_text(json.dumps({**AUDIT, "negatives": "../other", "negatives_fingerprint": other.fingerprint}))
    assert find_subject(tmp_path / "audit").negatives.path.name == "other"


def test_half_of_a_file_is_as_if_it_were_not_there(run, tmp_path):
    (run / "audit.json").write_text('{"rate": {"val')
    assert find_subject(run).audit is None
    (run / "run.json").write_text('{"form')
    subject = find_subject(run)  # negatives are there still
    assert subject.negatives is not None
    assert subject.trainings == []
    page_of(subject, Settings(examples=0, check=False))


def test_what_cannot_be_shown_is_refused(tmp_path, negatives):
    with pytest.raises(StoreError, match=r"is not there.*run\.json"):
        report(tmp_path / "nothing", tmp_path / "a.html")
    with pytest.raises(StoreError, match="holds nothing"):
        report(tmp_path, tmp_path / "a.html")
    with pytest.raises(DataError, match="is no audit"):
        report(negatives.path, tmp_path / "a.html", audit=tmp_path)
    with pytest.raises(DataError, match=r"examples=2000.*1,000"):
        Settings(examples=2000)


def test_without_the_library_the_extra_is_named(negatives, tmp_path, monkeypatch):
    plotting.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)
    with pytest.raises(MissingExtra, match=r"foils\[report\]"):
        report(negatives.path, tmp_path / "a.html", settings=Settings(examples=0, check=False))


def test_without_the_collection_the_page_says_how_to_have_texts(negatives, tmp_path, monkeypatch):
    monkeypatch.setenv("FOILS_CACHE", str(tmp_path / "empty"))
    page = page_of(find_subject(negatives.path), Settings())
    assert [section.name for section in page.sections] == ["survivors", "hardness", "made"]
    assert any("--data DATA" in one.command for one in page.missing)


def test_the_command_writes_and_says_how_much(negatives, tmp_path):
    said = json.loads(command("report", str(negatives.path), "-o", str(tmp_path / "a.html"), "--json"))
    assert said["bytes"] == (tmp_path / "a.html").stat().st_size
    assert "bytes" in command("report", str(negatives.path), "-o", str(tmp_path / "b.html"), "--examples", "3")
    command("report", str(tmp_path / "no"), "-o", str(tmp_path / "c.html"), check=1)
    command("report", str(negatives.path), check=2)
