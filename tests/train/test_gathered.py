"""Two processes that gather their documents against one process with the rows of both, in float64.

Run as a script, this file is one of the two processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import distributed

from foils import Pairs
from foils.core.packing import pack, unpack
from foils.core.pairs import POSITIVE
from foils.core.spec import full, parse
from foils.train.batch import batch_of, lay_out, tensors, widened
from foils.train.batches import Shuffled, cut
from foils.train.cached import CachedObjective
from foils.train.carriers.gathered import Gatherer
from foils.train.contrasts import Gathered, InBatch
from foils.train.contrasts.bringer import Site
from foils.train.objective import Objective
from foils.train.rows import make_rows
from foils.train.step import Step
from foils.train.student import Student

DOCS, QUERIES, SIZE = 18, 12, 5
# Contrast and loss of the two processes; of the one process it is the same with InBatch.
CASES = {
    "plain": ("Gathered()", "InfoNCE(temperature=0.2)"),
    "hinge": ("Gathered()", "MultiLabelMargin(margin=0.5)"),
    "positives": ("Gathered()", "InfoNCE(temperature=0.2, positives='each')"),
    "filtered": ("Gathered() >> Between(hi=0.7)", "0.5*InfoNCE(temperature=0.2) + InfoNCE(temperature=Learned(0.1))"),
    "cached": ("Gathered()", "InfoNCE(temperature=0.2) + InfoNCE(temperature=Learned(0.1))"),
    "united": ("InBatch() + Gathered()", "InfoNCE(temperature=0.2)"),
}


class Tiny(torch.nn.Module):
    """A model that is one layer on numbers, in float64."""

    truncate_dim, similarity_fn_name = None, "cosine"

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(6, 4, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))

    def forward(self, features):
        return {"sentence_embedding": self.layer(features["x"]).tanh()}


def texts(count, salt):
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(salt), dtype=torch.float64)
    return SimpleNamespace(keys=np.arange(count, dtype=np.uint64) * np.uint64(7919 + salt), x=x)


def world():
    """Queries with several positives, documents that are positives of several queries, negatives of everybody."""
    rng = np.random.default_rng(5)
    query, doc = unpack(np.unique(pack(rng.integers(QUERIES, size=20), rng.integers(8, size=20)))[:17])
    pairs = Pairs.build(query, doc, np.ones(len(query), np.int8))
    data = SimpleNamespace(
        positives=lambda split: pairs,
        same=np.arange(DOCS, dtype=np.int32),
        queries=texts(QUERIES, 1),
        corpus=texts(DOCS, 2),
        name="numbers",
    )
    mined = np.unique(pack(rng.integers(QUERIES, size=40), rng.integers(DOCS, size=40)))
    negatives = Pairs.build(*unpack(mined), np.zeros(len(mined), np.int8))
    rows = make_rows(data, "train", queries=np.arange(QUERIES, dtype=np.int32), negatives=negatives)
    return data, rows


def rounds(rows, processes):
    order = Shuffled().order(rows, 0, 0)
    batches = cut(order, SIZE * (2 // processes), processes)
    return [batches[start : start + processes] for start in range(0, len(batches), processes)]


def fed(data, rows, chosen):
    layout = lay_out(rows, chosen, 0, 2)
    features = [{"x": data.queries.x[layout.queries]}, {"x": data.corpus.x[layout.docs]}]
    return features, tensors(layout)


def objective_of(case, processes, rank):
    contrast, loss = CASES[case]
    if processes == 1:
        contrast = contrast.replace("Gathered", "InBatch")
    site = Site(None, None, None, 0, processes, rank, None, None, None)
    parts = (Student(Tiny(), "transformer", "tiny"), parse(contrast, "contrast", "stage"), parse(loss, "loss"))
    if case == "cached" and processes == 2:
        return CachedObjective(*parts, site=site, mini_batch=2)
    return Objective(*parts, site=site)


def gradients(objective, features, ids):
    """Value and gradients of a step, as an optimiser would see them."""
    objective.zero_grad()
    value = objective(features, ids)
    value.backward()
    objective.agree()
    if distributed.is_initialized():
        distributed.all_reduce(value := value.detach())
        value /= distributed.get_world_size()
    return {
        "value": value.detach(),
        **{name.replace("module.", ""): w.grad for name, w in objective.named_parameters()},
    }


def main(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    data, rows = world()
    found = {}
    for case in CASES:
        objective = objective_of(case, 2, rank)
        objective.model = torch.nn.parallel.DistributedDataParallel(objective.model)
        for number, batches in enumerate(rounds(rows, 2)):
            found[case, number] = gradients(objective, *fed(data, rows, batches[rank]))
            found[case, number] = {name: value.clone() for name, value in found[case, number].items()}
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.barrier()  # who leaves first takes gloo's connections with it, and the other may wait for them for ever
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    commands = [[sys.executable, __file__, str(rank), str(folder)] for rank in range(2)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) for command in commands]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), "".join(errors)[-3000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_the_gradient_of_one(both, case):
    data, rows = world()
    single, double = rounds(rows, 1), rounds(rows, 2)
    objective = objective_of(case, 1, 0)
    for number, (chosen,) in enumerate(single):
        expected = gradients(objective, *fed(data, rows, chosen))
        for seen in both:
            assert seen[case, number].keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(seen[case, number][name], value, rtol=1e-12, atol=1e-13, msg=f"{name}")
    # What makes it hard: unequal batches, a query of both processes, a document of both, a positive of the other one.
    assert len({len(batch) for batch in double[-1]}) == 2
    shared = [[set(values[batch].tolist()) for batch in pair] for pair in double for values in (rows.query, rows.doc)]
    assert any(a & b for a, b in shared[::2])
    assert any(a & b for a, b in shared[1::2])


def test_alone_it_is_in_batch():
    data, rows = world()
    carrier = Gathered().open(Site(None, None, None, 0, 1, 0, None, None, None))
    assert isinstance(carrier, Gatherer)
    assert not carrier.state_dict()
    features, ids = fed(data, rows, np.arange(6))
    keys = ("queries", "docs", "at", "target", "known")
    step = Step(*(ids[key].long() for key in keys), *(part["x"] for part in features))
    batch = batch_of(step, ids["own"], ids["label"])
    wide = widened(batch, step, {Gathered(): carrier.bring(Gathered(), step)})
    assert torch.equal(Gathered().members(wide), InBatch().members(batch))
    assert not (Gathered().allowed(wide) & (wide.label == POSITIVE)).any()
    assert parse(full(Gathered()), "contrast") == Gathered()


def test_of_several_copies_elsewhere_the_first_is_taken():
    gatherer = Gatherer(3, 1)
    gathered = torch.tensor([7, 3, -1, 3, 5, 9, 9, 2, 7])  # three processes of three documents, one of them padded
    chosen = gatherer._elsewhere(gathered, torch.tensor([3, 5, 9]))
    assert gathered[chosen].tolist() == [2, 7]
    assert chosen.tolist() == [7, 0]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
