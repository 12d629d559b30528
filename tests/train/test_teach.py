"""Teachers: what they learn, that an interruption changes nothing, and what their scores mean."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

from foils import Pairs, mine
from foils.adapters.models import load_encoder, load_reranker
from foils.core.errors import DataError, ModelError, PipelineError, SpecError, StoreError
from foils.teach import Teacher, TeachOptions, teach
from foils.teach.losses import JointCrossEntropy, ListwiseCrossEntropy, divergence, loss_of
from foils.train.checkpoints import newest
from taught import FAST


def weights(folder):
    state = CrossEncoder(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.float().numpy().ravel() for tensor in state.values()])


def test_it_learns_what_generalises(teacher):
    assert teacher.metrics["nDCG@10"] > teacher.curve[0]["nDCG@10"] + 0.05
    assert not teacher.found_finished
    assert repr(teacher).startswith("Teacher(")


def test_the_result_is_a_plain_cross_encoder_and_a_record(teacher, random_negatives):
    assert sorted(path.name for path in teacher.out.iterdir()) == ["model", "run.json"]
    record = json.loads((teacher.out / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["settings"]["options"]["negatives_per_row"] == 4
    assert record["settings"]["options"]["loss"] == "listwise"
    counts = record["counts"]
    assert counts["train"]["queries"] + counts["dev"]["held_out"] == random_negatives.manifest["counts"]["queries"]
    assert counts["dev"]["pairs"] == 9 * counts["dev"]["queries"]
    model = CrossEncoder(str(teacher.model), device="cpu")
    assert model.num_labels == 1
    assert "calibration.json" in (teacher.model / "README.md").read_text()


def test_scores_are_calibrated_probabilities(teacher):
    judge = load_reranker(teacher.out)
    queries, docs = ["q1 q2 q3"] * 3, ["d1 d2 d3 d4 d5", "d7 d8 d9", "d1 d9 d2"]
    model = CrossEncoder(str(teacher.model), device="cpu", activation_fn=torch.nn.Identity())
    raw = model.predict(list(zip(queries, docs, strict=True)))
    a, b = teacher.calibration.scale, teacher.calibration.shift
    assert judge.scale == "probability"
    np.testing.assert_allclose(judge.score(queries, docs), 1 / (1 + np.exp(-(a * raw + b))), rtol=1e-5)
    assert judge.logits().scale == "logit"
    np.testing.assert_allclose(judge.logits().score(queries, docs), a * raw + b, rtol=1e-5)
    inner = load_reranker(teacher.model)
    assert inner.fingerprint == judge.fingerprint
    inner.calibration = None
    assert inner.fingerprint != judge.fingerprint
    assert inner.raw_fingerprint == judge.raw_fingerprint
    assert inner.scale == "logit"


def test_calibration_is_of_unseen_pairs_at_the_ratio_of_training(teacher):
    found = teacher.calibration
    assert found.report["pairs"] == 5 * found.report["positives"]
    assert "1 to 4.00" in found.population
    assert found.report["ece_after"] < found.report["ece_before"]
    assert found.report["nll_after"] < found.report["nll_before"]


def test_a_finished_teacher_trains_nothing_and_other_settings_are_refused(
    learnable, random_negatives, teacher, still_path, monkeypatch
):
    def forward(self, inputs, labels, **_):
        raise AssertionError("a training step")

    monkeypatch.setattr(ListwiseCrossEntropy, "forward", forward)
    again = teach(learnable, random_negatives, still_path, out=teacher.out, options=FAST)
    assert again.found_finished
    assert again.calibration == teacher.calibration
    with pytest.raises(StoreError, match=r"options.loss is 'listwise' there and 'pointwise' now"):
        teach(learnable, random_negatives, still_path, out=teacher.out, options=replace(FAST, loss="pointwise"))
    with pytest.raises(StoreError, match=r"seed is 0 there and 1 now"):
        teach(learnable, random_negatives, still_path, out=teacher.out, options=FAST, seed=1)
    fewer = random_negatives.kept(learnable)
    with pytest.raises(StoreError, match="negatives is"):
        teach(learnable, fewer.take(fewer.doc != 7), still_path, out=teacher.out, options=FAST)


@pytest.mark.parametrize(("loss", "module"), [("pointwise", "BinaryCrossEntropyLoss"), ("RankNetLoss", "RankNetLoss")])
def test_resumed_is_uninterrupted(learnable, random_negatives, transformer_path, tmp_path, monkeypatch, loss, module):
    from sentence_transformers.cross_encoder import losses

    options = TeachOptions(
        loss=loss, batch_size=8, learning_rate=1e-2, max_steps=7, gradient_accumulation=2, save_every=3, dev_share=0.3
    )

    def go(name):
        return teach(learnable, random_negatives, transformer_path, out=tmp_path / name, seed=5, options=options)

    whole = go("whole")
    kind, seen = getattr(losses, module), []
    forward = kind.forward

    def counting(self, *args, **kwargs):
        seen.append(1)
        if len(seen) > 9:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "forward", counting)
        with pytest.raises(KeyboardInterrupt):
            go("cut")
    assert newest(tmp_path / "cut") is not None
    with pytest.raises(StoreError, match="not finished"):
        Teacher.open(tmp_path / "cut")
    cut = go("cut")
    assert cut.record["resumed"]
    np.testing.assert_array_equal(weights(cut.model), weights(whole.model))
    assert cut.curve == whole.curve
    assert cut.calibration == whole.calibration


def test_listwise_is_cross_entropy_of_the_first(still_path):
    model = CrossEncoder(str(still_path), num_labels=1, device="cpu")
    lists = [["d1 d2", "d3 d4", "d5"], ["d9"], ["d1", "d2 d8"]]
    queries = ["q1", "q2", "q3"]
    labels = [torch.tensor([1.0] + [0.0] * (len(docs) - 1)) for docs in lists]
    loss = ListwiseCrossEntropy(model.eval())([queries, lists], labels)
    loss.backward()
    expected = 0.0
    for query, docs in zip(queries, lists, strict=True):
        logits = model.predict([(query, doc) for doc in docs], activation_fn=torch.nn.Identity())
        expected -= float(torch.log_softmax(torch.tensor(logits, dtype=torch.float64), 0)[0]) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_joint_is_rocketqa_v2s_loss_for_the_re_ranker():
    """mining.md A6: t = [3, 1, 0], s = [2, 1.5, 0]."""
    logits = torch.tensor([[3.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    scores = torch.tensor([[2.0, 1.5, 0.0]], dtype=torch.float64)
    found = divergence(logits, scores)
    assert found.item() == pytest.approx(0.171808, abs=1e-6)
    assert (logits.logsumexp(dim=1) - logits[:, 0]).item() == pytest.approx(0.169846, abs=1e-6)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert slope.abs().min() > 1e-3
    assert slope.sum().item() == pytest.approx(0, abs=1e-12)
    assert divergence(scores + 3, scores).item() == pytest.approx(0, abs=1e-12)


def test_joint_leaves_out_what_the_student_has_not_scored():
    inf, nan = float("inf"), float("nan")
    logits = torch.tensor([[3.0, 1.0, 0.0, 2.0], [1.0, 2.0, -inf, -inf], [1.0, -inf, -inf, -inf], [1.0, 2.0, 0.0, 1.0]])
    scores = torch.tensor([[2.0, 1.5, 0.0, nan], [nan, 1.0, -inf, -inf], [0.5, -inf, -inf, -inf], [nan] * 4])
    logits.requires_grad_()
    found = divergence(logits, scores)
    assert found.tolist() == pytest.approx([0.171808, 0, 0, 0], abs=1e-6)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert slope.isfinite().all()
    assert (slope[1:] == 0).all()
    assert slope[0, 3] == 0


def test_joint_teaching_reads_the_students_scores(learnable, random_negatives, still_path, static_path, tmp_path):
    options = TeachOptions(max_steps=2, batch_size=4, dev_share=0, loss="joint", negatives_per_row=3)
    with pytest.raises(PipelineError, match=r"no score column 'student'; they have: none\. Mine with Dense"):
        teach(learnable, random_negatives, still_path, out=tmp_path / "x", options=options)
    models = {"student": load_encoder(str(static_path))}
    mined = mine(learnable, "Dense('student', k=9) >> Uniform(k=4)", encoders=models, out=tmp_path / "negatives")
    seen, forward = [], JointCrossEntropy.forward

    def watched(self, inputs, labels, **kwargs):
        seen.append((inputs, labels))
        return forward(self, inputs, labels, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JointCrossEntropy, "forward", watched)
        taught = teach(learnable, mined, still_path, out=tmp_path / "run", options=options)
    (queries, lists), labels = seen[0]
    for query, docs, scores in zip(queries, lists, labels, strict=True):
        vectors = models["student"].encode([query], "query"), models["student"].encode(docs, "document")
        np.testing.assert_allclose(scores, (vectors[0] @ vectors[1].T)[0], atol=1e-5)
    assert taught.record["settings"]["options"]["student_temperature"] == 0.05
    with pytest.raises(SpecError, match=r"student_temperature=0\.0 must be above 0"):
        TeachOptions(student_temperature=0)
    assert "student" not in TeachOptions().record()


def test_the_first_layers_only_and_a_cross_encoder_further(learnable, random_negatives, teacher, still_path, tmp_path):
    options = TeachOptions(max_steps=1, dev_share=0, batch_size=4, layers=1, learning_rate=1e-9)
    run = teach(learnable, random_negatives, teacher.out, out=tmp_path / "more", options=options)
    assert run.calibration is None
    assert (run.curve, run.best_step) == ([], 1)
    np.testing.assert_allclose(weights(run.model), weights(teacher.model), atol=1e-6)
    with pytest.raises(ModelError, match=r"has 1 layers, not layers=3"):
        teach(learnable, random_negatives, still_path, out=tmp_path / "x", options=replace(options, layers=3))


def test_what_cannot_be_taught(learnable, random_negatives, static_path, still_path, tmp_path):
    with pytest.raises(ModelError, match=r"is a static model.*no cross-encoder can be made of it"):
        teach(learnable, random_negatives, static_path, out=tmp_path / "a")
    positives = learnable.positives("train")
    with pytest.raises(DataError, match=r"no query of split 'train' .* has a negative"):
        teach(learnable, positives, still_path, out=tmp_path / "b")
    with pytest.raises(DataError, match="no split 'nope'"):
        teach(learnable, positives, still_path, out=tmp_path / "c", split="nope")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="not a training run"):
        teach(learnable, random_negatives, still_path, out=tmp_path / "d")
    with pytest.raises(ModelError, match="no model folder"):
        teach(learnable, random_negatives, tmp_path / "nowhere", out=tmp_path / "e")
    with pytest.raises(SpecError, match="loss='hinge' must be one of 'pointwise'"):
        TeachOptions(loss="hinge")
    with pytest.raises(SpecError, match="layers=0 must be at least 1"):
        TeachOptions(layers=0)
    with pytest.raises(SpecError, match="mini_batch=8: gradient caching is for vectors"):
        TeachOptions(mini_batch=8)
    with pytest.raises(SpecError, match="negatives_per_row=0"):
        TeachOptions(negatives_per_row=0)
    with pytest.raises(SpecError, match=r"unknown training option 'layer'. Did you mean 'layers'"):
        TeachOptions.read({"layer": 2})


def test_queries_without_negatives_are_left_out(learnable, still_path, tmp_path):
    rows = learnable.query_rows("train")[:40]
    negatives = Pairs.build(np.repeat(rows, 3), np.tile([1, 2, 3], 40))
    options = TeachOptions(max_steps=2, dev_share=0.2, batch_size=4)
    run = teach(learnable, negatives, still_path, out=tmp_path / "few", options=options)
    counts = run.record["counts"]
    assert counts["train"]["queries"] + counts["dev"]["held_out"] <= 40
    assert counts["train"]["queries_without_negatives"] == 0


class Lengths(torch.nn.Module):
    """Stands for a cross-encoder: one weight times the length of the document."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.num_labels, self.device = 1, torch.device("cpu")

    def preprocess(self, pairs, **_):
        return {"lengths": torch.tensor([float(len(doc)) for _, doc in pairs])}

    def forward(self, features):
        return {"scores": (features["lengths"] * self.weight).unsqueeze(1)}


@pytest.mark.parametrize(
    "loss", ["listwise", "ListNetLoss", "ListMLELoss", "PListMLELoss", "LambdaLoss", "RankNetLoss"]
)
def test_a_batch_of_positives_alone_has_a_gradient_of_nothing(loss):
    model = Lengths()
    value = loss_of(TeachOptions(loss=loss), model)([["q", "r"], [["a"], ["bb"]]], [torch.ones(1), torch.ones(1)])
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-6)
    assert model.weight.grad.item() == pytest.approx(0.0, abs=1e-6)
