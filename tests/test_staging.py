"""A store appears whole or not at all, whoever else writes there and whatever fails."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import foils
from foils.core.errors import PipelineError, StoreError
from foils.mine import Miner
from foils.staging import Staging
from foils.store import MANIFEST, Negatives

TEXT = "BM25(k=9) >> Uniform(k=2)"
mining = importlib.import_module("foils.mine")  # `foils.mine` is the function

SCRIPT = """
import importlib, sys, time, foils
mining = importlib.import_module("foils.mine")
mining.part_size = lambda queries: 8
real = mining.Staging.write
def write(self, number, table):
    real(self, number, table)
    print(number, flush=True)
    time.sleep(0.05)
mining.Staging.write = write
path, pipeline, out = sys.argv[1:]
foils.mine(foils.load(path), pipeline, out=out)
"""


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(mining, "part_size", lambda queries: 8)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def start(beir, pipeline: str, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(beir), pipeline, str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def test_of_two_processes_one_mines_and_the_other_finds_it_done(beir, data, small_parts, tmp_path):
    alone = foils.mine(data, TEXT, out=tmp_path / "alone")
    both = [start(beir, TEXT, tmp_path / "neg") for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    written = sorted(len(out.split()) for out, _ in outputs)
    assert written == [0, len(alone.parts())]
    assert bytes_of(tmp_path / "neg") == bytes_of(alone.path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone", "neg"]


def test_another_command_waits_and_is_then_refused(beir, data, small_parts, tmp_path):
    first = start(beir, TEXT, tmp_path / "neg")
    assert first.stdout is not None
    assert first.stdout.readline() == "0\n"
    told: list[tuple[str, int, int]] = []
    other = Miner(progress=lambda *told_: told.append(told_))
    with pytest.raises(StoreError, match="holds negatives of another run"):
        other.mine(data, foils.parse("BM25(k=3)"), split="train", seed=0, encoders={}, out=tmp_path / "neg")
    assert first.wait(30) == 0
    first.communicate()
    assert told == [("waiting for another process", 0, 1)]
    assert bytes_of(tmp_path / "neg") == bytes_of(foils.mine(data, TEXT, out=tmp_path / "again").path)


@pytest.mark.parametrize("place", [1, 2])
def test_cut_off_while_publishing_the_same_command_ends_it(place, data, small_parts, tmp_path, monkeypatch):
    out = tmp_path / "neg"
    foils.mine(data, "BM25(k=3)", out=out)
    whole = foils.mine(data, TEXT, out=tmp_path / "whole")
    renames = []
    real = Path.replace

    def cut_off(self, target):
        renames.append(target)
        if self.suffix != ".partial" and sum(r in (out, out.with_name(".neg.old")) for r in renames) == place:
            raise KeyboardInterrupt
        return real(self, target)

    again = Miner(overwrite=True)
    job = {"split": "train", "seed": 0, "encoders": {}, "out": out}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut_off)
        with pytest.raises(KeyboardInterrupt):
            again.mine(data, foils.parse(TEXT), **job)
    if place == 2:  # the old one is aside, the new one not yet in place
        assert not out.exists()
        foils.mine(data, TEXT, out=out)
    else:
        again.mine(data, foils.parse(TEXT), **job)
    assert bytes_of(out) == bytes_of(whole.path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["neg", "whole"]


def test_a_full_disk_is_an_error_that_keeps_what_is_done(data, small_parts, tmp_path, monkeypatch):
    whole = foils.mine(data, TEXT, out=tmp_path / "whole")
    staging = importlib.import_module("foils.staging")
    real, parts = staging.pq.write_table, []

    def full(table, where, **how):
        parts.append(where)
        real(table, where, **how)
        if len(parts) == 3:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(staging.pq, "write_table", full)
        with pytest.raises(StoreError, match=r"cannot be written \(No space left on device\).*same command goes on"):
            foils.mine(data, TEXT, out=tmp_path / "neg")
    left = tmp_path / ".neg.mining" / "parts"
    assert [p.name for p in sorted(left.iterdir())] == ["part-00000.parquet", "part-00001.parquet"]
    first = (left / "part-00000.parquet").stat().st_mtime_ns
    foils.mine(data, TEXT, out=tmp_path / "neg")
    assert (tmp_path / "neg" / "parts" / "part-00000.parquet").stat().st_mtime_ns == first
    assert bytes_of(tmp_path / "neg") == bytes_of(whole.path)


def test_parts_that_somebody_removed_meanwhile_are_not_published(data, small_parts, tmp_path, monkeypatch):
    real = Staging.write

    def write(self, number, table):
        real(self, number, table)
        if number == 2:
            self._part(0).unlink()

    monkeypatch.setattr(Staging, "write", write)
    with pytest.raises(StoreError, match=r"\d+ of \d+ parts are here"):
        foils.mine(data, TEXT, out=tmp_path / "neg")
    assert not (tmp_path / "neg").exists()


def test_an_unfinished_run_is_in_the_way_only_if_it_has_parts(data, models, small_parts, tmp_path, monkeypatch):
    out = tmp_path / "neg"
    with pytest.raises(PipelineError, match="no cross-encoder"):
        foils.mine(data, "BM25(k=5) >> CrossEncoder('student')", encoders=models, out=out)
    assert foils.mine(data, TEXT, out=out).pipeline == TEXT  # the corrected command needs no --overwrite
    with monkeypatch.context() as patch:
        patch.setattr(Staging, "publish", lambda self, manifest: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            foils.mine(data, "BM25(k=5)", out=tmp_path / "other")
    with pytest.raises(StoreError, match="unfinished run of another command is here; it has pipeline 'BM25"):
        foils.mine(data, TEXT, out=tmp_path / "other")
    assert foils.mine(data, "BM25(k=5)", out=tmp_path / "other").pipeline == "BM25(k=5)"


@pytest.mark.parametrize("name", [".", "..", "a-file/neg", "x" * 300])
def test_places_that_cannot_hold_a_store(name, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("precious")
    with pytest.raises(StoreError, match=r"cannot be written|is no name of a new folder"):
        foils.mine(data, TEXT, out=name)
    assert [p.name for p in tmp_path.iterdir()] == ["a-file"]


def test_an_empty_folder_is_a_place(data, tmp_path):
    (tmp_path / "neg").mkdir()
    assert foils.mine(data, TEXT, out=tmp_path / "neg").pipeline == TEXT


def test_lost_or_broken_parts_are_typed_errors(data, small_parts, tmp_path):
    store = foils.mine(data, TEXT, out=tmp_path / "neg")
    parts = store.parts()
    parts[1].write_bytes(parts[1].read_bytes()[:100])
    for read in (
        lambda: store.pairs(data),
        lambda: store.kept(data),
        lambda: list(store.iter_kept(data)),
        lambda: list(store),
    ):
        with pytest.raises(StoreError, match=r"part-00001.parquet: cannot be read .* Mine again"):
            read()
    parts[1].unlink()
    with pytest.raises(StoreError, match=rf"{len(parts) - 1} of {len(parts)} parts are here"):
        Negatives.open(store.path).kept(data)
    (store.path / MANIFEST).write_text(json.dumps([]))
    with pytest.raises(StoreError, match="format None"):
        Negatives.open(store.path)
