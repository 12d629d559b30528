import json
import logging

import numpy as np
import pytest

import foils
from foils.core.errors import SpecError
from foils.core.pairs import joined
from foils.core.spec import full, parse
from foils.filling import share
from foils.mine import Miner
from foils.stages import BM25, Dense
from foils.stages.stage import Columns
from foils.staging import Staging
from foils.store import MANIFEST
from little import HashEncoder

pytest.importorskip("faiss")
ROUGH = ["hnsw(ef_search=1)", "ivf-flat(nprobe=1)", "ivf-pq(nprobe=1)", "scann(search=1)", "bits", "lsh(bits=16)"]


def run(stage, ctx, block):
    known = ctx.data.positives(ctx.split).bare()
    blocks = [ctx.rows[at : at + block] for at in range(0, len(ctx.rows), block)]
    return joined([stage(share(known, part), ctx.at(part)) for part in blocks])


def test_the_text_form_round_trips_and_exact_search_is_not_written():
    stage = Dense("student", k=5, index="ivf-flat(nlist=12, nprobe=3)")
    assert parse(repr(stage)) == stage
    assert parse(full(stage)) == stage
    assert repr(Dense("student", k=5)) == "Dense('student', k=5)"
    with pytest.raises(SpecError, match="Did you mean 'hnsw'"):
        parse("Dense('student', k=5, index='hnws')")
    with pytest.raises(SpecError, match="no parameter 'cells'"):
        Dense("student", k=5, index="ivf-flat(cells=3)")


def test_an_index_that_does_not_fit_is_refused_before_anything_is_encoded(context):
    ctx = context()
    with pytest.raises(SpecError, match="fetch must be at least"):
        Dense("student", k=50, index="bits(fetch=20)").check_columns(Columns(), ctx)
    with pytest.raises(SpecError, match="divisors of the dimension 16"):
        Dense("student", k=50, index="ivf-pq(m=5)").check_columns(Columns(), ctx)


@pytest.mark.parametrize("index", ROUGH)
@pytest.mark.parametrize("block", [1, 7])
def test_blocks_change_nothing(index, block, context):
    if index.startswith("scann"):
        pytest.importorskip("scann")
    stage = Dense("student", k=12, index=index)
    whole, parts = run(stage, context(), 1000), run(stage, context(), block)
    assert np.array_equal(whole.key, parts.key)
    assert np.array_equal(whole["student"], parts["student"])
    assert np.array_equal(whole.ranks["student"], parts.ranks["student"])


def test_scores_and_origin_are_those_of_exact_search(context):
    ctx = context()
    exact, found = (run(Dense("student", k=12, index=index), ctx, 99) for index in ("exact", "ivf-flat(nprobe=1)"))
    at = exact.find(found)
    both = at >= 0
    assert both.mean() > 0.5
    assert np.array_equal(exact["student"][at[both]], found["student"][both])
    pool = Dense("student", k=5) + Dense("student", k=5, index="ivf-flat")
    assert len(run(pool, ctx, 99))


def test_a_full_search_is_exact_search(context):
    exact, found = (
        run(Dense("student", k=12, index=index), context(), 99) for index in ("exact", "ivf-flat(nlist=5, nprobe=5)")
    )
    assert np.array_equal(exact.key, found.key)


@pytest.fixture
def miner(tmp_path):
    return Miner(cache=tmp_path / "cache")


def mine(miner, data, models, out, index="ivf-flat(nlist=10, nprobe=1)"):
    stage = parse(f"BM25(k=5) + Dense('student', k=10, index={index!r}) >> Uniform(k=3)")
    return miner.mine(data, stage, split="train", seed=0, encoders=models, out=out)


def test_the_recall_is_in_the_manifest_and_a_low_one_is_warned_of(miner, data, models, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="foils"):
        first = mine(miner, data, models, tmp_path / "a")
    (text, record), = first.manifest["indexes"].items()  # fmt: skip
    assert text == "Dense('student', k=10, index='ivf-flat(nlist=10, nprobe=1)')"
    assert record["encoder"] == "student"
    assert record["kind"] == "ivf-flat"
    assert record["parameters"]["nprobe"] == 1
    assert record["k"] == 10
    assert record["sample"] == len(data.query_rows("train"))
    assert 0.1 < record["recall_at_k"] < 0.95
    assert "ivf-flat finds" in caplog.text
    assert not mine(miner, data, models, tmp_path / "exact", "exact").manifest["indexes"]
    assert not mine(miner, data, models, tmp_path / "auto", "auto").manifest["indexes"]
    # built again, or found in the cache: the same bytes
    mine(miner, data, models, tmp_path / "b")
    mine(Miner(cache=tmp_path / "other"), data, models, tmp_path / "c")
    for other in ("b", "c"):
        assert (tmp_path / "a" / MANIFEST).read_bytes() == (tmp_path / other / MANIFEST).read_bytes()


def test_a_run_that_is_continued_writes_the_same_manifest(miner, data, models, tmp_path, monkeypatch):
    whole = mine(miner, data, models, tmp_path / "whole")

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Staging, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            mine(miner, data, models, tmp_path / "resumed")
    resumed = mine(miner, data, models, tmp_path / "resumed")
    assert resumed.manifest == whole.manifest


def test_new_weights_get_a_new_index(miner, data, models, tmp_path):
    mine(miner, data, models, tmp_path / "a")
    folders = [path for path in (tmp_path / "cache" / "indexes").iterdir() if path.is_dir()]
    assert len(folders) == 1
    mine(miner, data, {**models, "student": HashEncoder(salt=9)}, tmp_path / "b")
    assert len([path for path in (tmp_path / "cache" / "indexes").iterdir() if path.is_dir()]) == 2


def test_the_measured_queries_do_not_depend_on_those_that_are_mined(data, models, context, tmp_path):
    ctx = context()
    stage = Dense("student", k=7, index="ivf-flat(nprobe=1)")
    assert stage.found_by(ctx) == stage.found_by(ctx.to(ctx.rows[:5]))
    assert BM25(k=3).inputs(ctx) == {}


def test_foils_mine_writes_it_and_warns_on_stderr(beir, tmp_path, monkeypatch, capsys):
    import foils.cli as cli

    vectors = tmp_path / "vectors"
    vectors.mkdir()
    data = foils.load(beir)
    np.save(vectors / "queries.npy", HashEncoder().encode(data.queries.texts(), "query"))
    np.save(vectors / "corpus.npy", HashEncoder().encode(data.corpus.texts(), "document"))
    pipeline = "Dense('student', k=10, index='ivf-flat(nlist=10, nprobe=1)') >> Top(k=3)"
    out = tmp_path / "neg"
    arguments = ["foils", "mine", str(beir), pipeline, "--encoder", f"student=vectors:{vectors}", "-o", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 0
    assert "ivf-flat finds" in capsys.readouterr().err
    record = next(iter(json.loads((out / MANIFEST).read_text())["indexes"].values()))
    assert 0 < record["recall_at_k"] < 0.95
