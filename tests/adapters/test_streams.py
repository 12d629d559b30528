from threading import Barrier, Lock
from types import SimpleNamespace

import pytest

from foils.adapters.streams import in_streams

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def own_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def model(device="cpu", preprocess=len, tokenizer=len):
    return SimpleNamespace(device=torch.device(device), preprocess=preprocess, tokenizer=tokenizer)


def test_batches_are_computed_side_by_side_on_one_thread_each():
    torch.set_num_threads(2)
    together, seen = Barrier(2, timeout=10), []

    def compute(batch):
        if batch:  # the first is alone
            together.wait()
        seen.append((batch, torch.get_num_threads()))

    in_streams(model(), compute, range(7))
    assert seen[0] == (0, 1)
    assert sorted(seen) == [(batch, 1) for batch in range(7)]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("count", "each"), [(1, 8), (2, 8), (3, 4), (5, 2), (9, 1), (40, 1)])
def test_few_batches_share_the_threads(count, each):
    torch.set_num_threads(8)
    seen = []
    in_streams(model(), lambda batch: seen.append((batch, torch.get_num_threads())), range(count))
    assert sorted(seen) == [(batch, each) for batch in range(count)]
    assert torch.get_num_threads() == 8


@pytest.mark.parametrize("options", [{"device": "meta"}, {"tokenizer": object()}])
def test_other_devices_and_static_models_take_one_batch_after_another(options):
    torch.set_num_threads(2)
    seen = []
    in_streams(model(**options), lambda batch: seen.append((batch, torch.get_num_threads())), range(20))
    assert seen == [(batch, 2) for batch in range(20)]


def test_preprocess_takes_turns_and_is_put_back():
    torch.set_num_threads(4)
    inside = Lock()

    def preprocess(text, prompt=None):
        assert inside.acquire(blocking=False)
        torch.randn(300, 300) @ torch.randn(300, 300)
        inside.release()
        return text, prompt

    found, one = [], model(preprocess=preprocess)
    in_streams(one, lambda batch: found.append(one.preprocess(batch, prompt="p")), range(50))
    assert sorted(found) == [(batch, "p") for batch in range(50)]
    assert one.preprocess is preprocess


@pytest.mark.parametrize("broken", [0, 3])
def test_an_error_is_raised_and_nothing_left_behind(broken):
    torch.set_num_threads(2)
    one, seen = model(), []

    def compute(batch):
        seen.append(batch)
        if batch == broken:
            raise ValueError(f"batch {batch}")

    with pytest.raises(ValueError, match=f"batch {broken}"):
        in_streams(one, compute, range(1000))
    assert len(seen) < 1000
    assert (one.preprocess, torch.get_num_threads()) == (len, 2)
