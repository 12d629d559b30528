"""Guides: frozen models decide in a batch who is a negative."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss

from foils.core.errors import PipelineError, SpecError
from foils.core.spec import parse
from foils.follow import Job, follow
from foils.recipe import load_recipe
from foils.train import InfoNCE, TrainOptions, TrainSpec, train
from foils.train.batch import batch_of, lay_out
from foils.train.guides import guides
from foils.train.rows import make_rows
from foils.train.step import Step
from little import HashEncoder

GIST = parse("InBatch() >> PositiveAware(margin=0.0, by='guide', ties='keep')", "contrast", "stage")
FAST = TrainOptions(batch_size=16, learning_rate=0.3, epochs=1, dev_share=0)


def test_scores_are_the_guides_own(learnable, tmp_path):
    encoder = HashEncoder()
    rows = make_rows(learnable, "train", queries=learnable.query_rows("train"))
    guide = guides({"guide": encoder}, learnable, rows.queries, tmp_path)["guide"]
    layout = lay_out(rows, np.arange(10), 0, None)
    queries = encoder.encode(learnable.queries.texts(layout.queries), "query")
    docs = encoder.encode(learnable.corpus.texts(layout.docs), "document")
    np.testing.assert_allclose(guide.score(layout.queries, layout.docs), queries @ docs.T, atol=1e-6)


@pytest.mark.parametrize(("kind", "margin"), [("absolute", 0.0), ("absolute", 0.1), ("relative", 0.3)])
def test_equals_sentence_transformers_gist_loss(kind, margin):
    """Its query-document blocks; the query-query and document-document ones are left out on both sides."""
    generator = torch.Generator().manual_seed(1)
    unit = torch.nn.functional.normalize
    student, guide = (unit(torch.randn(3, 7, 5, generator=generator, dtype=torch.float64), dim=2) for _ in range(2))
    vectors = iter([*student, *guide])

    class Model(torch.nn.Module):
        tokenizer = None

        def forward(self, features):
            return {"sentence_embedding": next(vectors)}

        def tokenize(self, texts):
            return {}

    theirs = GISTEmbedLoss.__new__(GISTEmbedLoss)
    torch.nn.Module.__init__(theirs)
    theirs.model, theirs.guide, theirs.temperature = Model(), Model(), 0.05
    theirs.similarity_fct, theirs.must_retokenize = torch.nn.CosineSimilarity(dim=-1), False
    theirs.margin_strategy, theirs.margin = kind, margin
    theirs.contrast_anchors = theirs.contrast_positives = theirs.gather_across_devices = False
    theirs.cross_entropy_loss = torch.nn.CrossEntropyLoss()
    expected = theirs([{}, {}, {}], None)

    docs = torch.cat((student[1], student[2])), torch.cat((guide[1], guide[2]))
    at = torch.arange(7)
    step = Step(at, torch.arange(14), at, at, at[:, None], student[0], docs[0])
    own = torch.eye(7, 14, dtype=torch.bool)
    batch = batch_of(step, own, own.to(torch.int8), {"guide": guide[0] @ docs[1].T})
    text = f"InBatch() >> PositiveAware(margin={margin}, kind='{kind}', by='guide', ties='keep')"
    allowed = parse(text, "contrast", "stage").allowed(batch)
    assert InfoNCE(0.05)(batch, allowed).mean().item() == pytest.approx(expected.item(), abs=1e-9)


def test_a_run_with_a_guide(learnable, static_path, tmp_path):
    spec = TrainSpec(contrast=GIST, guides={"guide": HashEncoder()})
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=FAST)
    plain = train(learnable, TrainSpec(), str(static_path), out=tmp_path / "plain", options=FAST)
    assert run.record["settings"]["guides"] == {"guide": ["hash/16/0/query", "hash/16/0/document"]}
    assert run.record["losses"] != plain.record["losses"]


def test_a_guide_that_nobody_gave_is_refused(learnable, static_path, tmp_path):
    with pytest.raises(PipelineError, match=r"no score 'guide'; it has: 'student'. Pass --encoder guide=MODEL"):
        train(learnable, TrainSpec(contrast=GIST), str(static_path), out=tmp_path / "run", options=FAST)


def test_the_recipe_takes_the_student_for_its_guide_unless_told(learnable, static_path, tmp_path):
    recipe = load_recipe("gist")
    found = follow(recipe, learnable, str(static_path), out=tmp_path / "own", options=FAST)
    other = follow(
        recipe,
        learnable,
        str(static_path),
        out=tmp_path / "other",
        job=Job(encoders={"guide": HashEncoder()}),
        options=FAST,
    )
    assert found.run.record["settings"]["guides"] != other.run.record["settings"]["guides"]
    with pytest.raises(SpecError, match="names no model 'teacher'; it names: 'guide'"):
        follow(recipe, learnable, str(static_path), out=tmp_path / "x", job=Job(encoders={"teacher": "static"}))
