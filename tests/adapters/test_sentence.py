import sys
import types
from importlib.util import find_spec

import numpy as np
import pytest

from foils.adapters import openvino, precision
from foils.adapters.encoding import batches
from foils.adapters.models import load_encoder
from foils.adapters.sentence import CrossEncoderScorer, SentenceEncoder
from foils.adapters.tally import TALLY
from foils.core.errors import MissingExtra, ModelError

torch = pytest.importorskip("torch")
sentence_transformers = pytest.importorskip("sentence_transformers")

WORDS = "the a river bank floods loan tide glacier moves binds salt query document : passage".split()  # noqa: SIM905
TEXTS = ["river", "the bank", "a loan floods the bank", "tide glacier moves salt binds the river a bank", "salt"] * 3


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *WORDS])}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A transformer of one small layer, with its tokenizer."""
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=tokenizer().get_vocab_size(), max_position_embeddings=32, **sizes)
    BertModel(config).save_pretrained(path)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer(), model_max_length=32, **special).save_pretrained(path)
    return path


def transformer(folder, **options):
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu", **options)


def static(seed=0, dim=4):
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    torch.manual_seed(seed)
    return sentence_transformers.SentenceTransformer(
        modules=[StaticEmbedding(tokenizer(), embedding_dim=dim)], device="cpu"
    )


@pytest.fixture(scope="module")
def cross(folder):
    torch.manual_seed(1)
    return sentence_transformers.CrossEncoder(str(folder), device="cpu", num_labels=1)


def test_equals_the_library(folder):
    model = transformer(folder)
    encoder = SentenceEncoder(model)
    wanted = model.encode(TEXTS, normalize_embeddings=True)
    got = encoder.encode(TEXTS, "document")
    np.testing.assert_allclose(got, wanted, atol=2e-6)
    assert (got.dtype, got.shape, encoder.dim) == (np.float32, (15, 16), 16)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    assert encoder.encode([], "query").shape == (0, 16)


def test_equal_texts_get_equal_vectors_and_every_row_its_own(folder):
    encoder = SentenceEncoder(transformer(folder))
    encoder.batch_tokens = 12
    got = encoder.encode(TEXTS, "document")
    assert got[:5].tobytes() == got[5:10].tobytes() == got[10:].tobytes()
    for text, vector in zip(TEXTS[:5], got, strict=False):
        np.testing.assert_allclose(vector, encoder.encode([text], "document")[0], atol=2e-6)
    assert encoder.encode(TEXTS, "document").tobytes() == got.tobytes()


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_no_byte(folder, threads):
    model, before = transformer(folder), torch.get_num_threads()
    encoder = SentenceEncoder(model)
    encoder.batch_tokens = 12
    texts = [f"{text} {word}" for text in TEXTS[:5] for word in WORDS]
    try:
        torch.set_num_threads(1)
        wanted = encoder.encode(texts, "document")
        torch.set_num_threads(threads)
        got = encoder.encode(texts, "document")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert got.tobytes() == wanted.tobytes()
    np.testing.assert_allclose(got, model.encode(texts, normalize_embeddings=True), atol=2e-6)
    assert "preprocess" not in vars(model)


def test_dot_product_models_are_left_as_they_are():
    model = static()
    model.similarity_fn_name = "dot"
    got = SentenceEncoder(model).encode(TEXTS, "query")
    np.testing.assert_allclose(got, model.encode(TEXTS), atol=1e-6)
    assert np.abs(np.linalg.norm(got, axis=1) - 1).max() > 0.1


@pytest.mark.parametrize("similarity", ["euclidean", "manhattan"])
def test_distances_are_refused(similarity):
    model = static()
    model.similarity_fn_name = similarity
    with pytest.raises(ModelError, match=rf"'{similarity}' is a distance.*'cosine' or 'dot'"):
        SentenceEncoder(model)


def test_a_text_without_known_words_is_the_zero_vector():
    vectors = SentenceEncoder(static()).encode(["", "river"], "document")
    assert vectors[0].tolist() == [0, 0, 0, 0]
    assert np.linalg.norm(vectors[1]) == pytest.approx(1, abs=1e-6)


def test_prompts(folder):
    own = transformer(folder, prompts={"query": "query: ", "passage": "passage: "})
    plain = SentenceEncoder(transformer(folder))
    by_default = SentenceEncoder(own)

    def agree(got, texts):
        np.testing.assert_allclose(got, plain.encode(texts, "document"), atol=2e-6)

    agree(by_default.encode(["river"], "query"), ["query: river"])
    agree(by_default.encode(["river"], "document"), ["passage: river"])
    given = SentenceEncoder(own, query_prompt="the ", document_prompt="")
    agree(given.encode(["river"], "query"), ["the river"])
    agree(given.encode(["river"], "document"), ["river"])
    assert given.fingerprint("query") != by_default.fingerprint("query")
    assert by_default.fingerprint("query") != by_default.fingerprint("document")


def test_limit_applies_and_leaves_the_model_as_it_was(folder):
    model = transformer(folder)
    long, short = "river bank floods tide glacier moves", "river bank floods"
    whole, cut = SentenceEncoder(model), SentenceEncoder(model, max_length=5)  # three words and two special tokens
    np.testing.assert_allclose(cut.encode([long], "query"), whole.encode([short], "query"), atol=2e-6)
    assert np.abs(whole.encode([long], "query") - whole.encode([short], "query")).max() > 1e-3
    assert model.max_seq_length == 32
    assert cut.fingerprint("query") != whole.fingerprint("query")
    with pytest.raises(ModelError, match="max_length=5"):
        SentenceEncoder(static(), max_length=5)


def test_training_mode_is_restored_and_not_used(folder):
    model = transformer(folder).train()
    encoder = SentenceEncoder(model)
    assert encoder.encode(TEXTS, "query").tobytes() == encoder.encode(TEXTS, "query").tobytes()  # no dropout
    assert model.training


def test_broken_weights_are_found_out():
    model = static()
    with torch.no_grad():
        model[0].embedding.weight[tokenizer().token_to_id("glacier")] = float("nan")
    with pytest.raises(ModelError, match=r"1 of 5 document vectors are NaN or infinite, the first of 'tide glacier"):
        SentenceEncoder(model, name="student").encode(TEXTS, "document")
    SentenceEncoder(model).encode(["river"], "document")


def test_trained_weights_never_look_like_old_ones(folder):
    """S1: the same name and folder, other weights."""
    model = transformer(folder)
    encoder = SentenceEncoder(model, name="student")
    seen = {encoder.fingerprint("query")}
    for name in ("embeddings.word_embeddings.weight", "encoder.layer.0.output.LayerNorm.bias"):
        parameter = dict(model.named_parameters())[f"0.model.{name}"]
        with torch.no_grad():
            flat = parameter.view(-1)
            flat[0] = torch.nextafter(flat[0], torch.tensor(2.0))  # the last bit of one number
        seen.add(encoder.fingerprint("query"))
    assert len(seen) == 3


def test_the_same_model_has_the_same_fingerprint_wherever_it_is(folder, tmp_path):
    for model, options in ((transformer(folder), {}), (static(), {})):
        before = SentenceEncoder(model).fingerprint("query")
        SentenceEncoder(model).encode(TEXTS, "query")  # sets padding and truncation in the tokenizer
        assert SentenceEncoder(model).fingerprint("query") == before
        place = tmp_path / type(model[0]).__name__
        model.save_pretrained(str(place), create_model_card=False)
        assert SentenceEncoder(transformer(place, **options), name="other").fingerprint("query") == before


def test_settings_are_in_the_fingerprint(folder):
    model = transformer(folder)
    seen = [SentenceEncoder(model).fingerprint("query")]
    model.similarity_fn_name = "dot"
    seen.append(SentenceEncoder(model).fingerprint("query"))
    model.truncate_dim = 8
    assert SentenceEncoder(model).encode(["river"], "query").shape == (1, 8)
    seen.append(SentenceEncoder(model).fingerprint("query"))
    model[1].pooling_mode = "cls"
    seen.append(SentenceEncoder(model).fingerprint("query"))
    seen.append(SentenceEncoder(model.to(torch.bfloat16)).fingerprint("query"))
    assert len(set(seen)) == 5


def test_cross_encoder_equals_the_library(cross):
    scorer = CrossEncoderScorer(cross)
    scorer.batch_tokens = 40
    queries, docs = TEXTS, TEXTS[::-1]
    got = scorer.score(queries, docs)
    np.testing.assert_allclose(got, cross.predict(list(zip(queries, docs, strict=True))), atol=1e-6)
    assert (got.dtype, got.shape) == (np.float32, (15,))
    assert scorer.score([], []).shape == (0,)
    with pytest.raises(ValueError, match="zip"):
        scorer.score(["a"], [])


def test_cross_encoder_states_its_scale(cross, folder):
    assert CrossEncoderScorer(cross).scale == "probability"
    logits = sentence_transformers.CrossEncoder(
        str(folder), device="cpu", num_labels=1, activation_fn=torch.nn.Identity()
    )
    assert CrossEncoderScorer(logits).scale == "logit"
    torch.manual_seed(0)
    classes = sentence_transformers.CrossEncoder(str(folder), device="cpu", num_labels=3)
    with pytest.raises(ModelError, match="3 outputs"):
        CrossEncoderScorer(classes)


def test_cross_encoder_fingerprint_and_limit(cross):
    scorer, cut = CrossEncoderScorer(cross), CrossEncoderScorer(cross, max_length=6)
    seen = {scorer.fingerprint, cut.fingerprint}
    long = "river bank floods tide glacier moves"
    assert cut.score(["salt"], [long])[0] == pytest.approx(scorer.score(["salt"], ["river bank"])[0], abs=1e-6)
    head = cross.model.classifier.bias
    with torch.no_grad():
        head.add_(1e-3)
        seen.add(scorer.fingerprint)
        head.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"1 of 1 scores are NaN"):
        scorer.score(["salt"], [long])
    with torch.no_grad():
        head.fill_(0)
    assert len(seen) == 3


def test_batches_hold_every_row_once_within_the_budget():
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 300, 500)
    found = list(batches(lengths, 1000))
    assert sorted(np.concatenate(found).tolist()) == list(range(500))
    assert all(len(batch) * max(1, lengths[batch].max()) <= 1000 for batch in found)
    padded = sum(len(batch) * lengths[batch].max() for batch in found)
    assert padded < 1.05 * lengths.sum()
    assert [batch.tolist() for batch in batches(np.array([5000]), 1000)] == [[0]]
    assert list(batches(np.zeros(0, np.int64), 10)) == []


def test_lower_precision_changes_little_and_is_another_fingerprint(folder):
    sentence_transformers.SentenceTransformer(str(folder), device="cpu").save(str(folder / "saved"))
    wide, narrow = (load_encoder(folder / "saved", precision=p) for p in ("float32", "bfloat16"))
    a, b = wide.encode(TEXTS, "document"), narrow.encode(TEXTS, "document")
    assert b.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(b, axis=1), 1, atol=1e-6)  # pooled and normalised in float32
    assert 0 < np.abs(a - b).max() < 0.02
    assert narrow.fingerprint("document") != wide.fingerprint("document")
    assert wide.fingerprint("document") == load_encoder(folder / "saved").fingerprint("document")


def test_auto_lowers_where_the_processor_can(folder, monkeypatch):
    sentence_transformers.SentenceTransformer(str(folder), device="cpu").save(str(folder / "saved"))
    for can, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "native_bfloat16", lambda device, can=can: can)
        model = load_encoder(folder / "saved", precision="auto").model
        assert {p.dtype for p in model.parameters()} == {dtype}
        assert precision.lowered(static(), "auto", "static").device.type == "cpu"  # no transformer: left alone


def test_precision_that_cannot_be_had_is_refused(folder):
    with pytest.raises(ModelError, match=r"precision='half'; choose one of: auto, float32, bfloat16"):
        precision.lowered(static(), "half", "static")
    with pytest.raises(ModelError, match=r"static has no transformer .* precision='float32'"):
        precision.lowered(static(), "bfloat16", "static")
    with pytest.raises(ModelError, match="for models loaded by name"):
        load_encoder(transformer(folder), precision="bfloat16")


def test_openvino_computes_the_same(folder):
    pytest.importorskip("openvino")
    sentence_transformers.SentenceTransformer(str(folder), device="cpu").save(str(folder / "saved"))
    ours, theirs = load_encoder(f"openvino:{folder / 'saved'}", precision="float32"), load_encoder(folder / "saved")
    ours.batch_tokens = 12
    for _ in range(5):
        np.testing.assert_allclose(ours.encode(TEXTS, "document"), theirs.encode(TEXTS, "document"), atol=1e-4)
    assert ours.fingerprint("document") != theirs.fingerprint("document")
    narrow = load_encoder(f"openvino:{folder / 'saved'}", precision="bfloat16")
    assert narrow.fingerprint("document") != ours.fingerprint("document")


def test_openvino_without_a_transformer_or_the_package(folder, monkeypatch):
    if find_spec("openvino") is None:
        with pytest.raises(MissingExtra, match="openvino"):
            load_encoder(f"openvino:{folder}")
        monkeypatch.setitem(sys.modules, "openvino", types.ModuleType("openvino"))
    with pytest.raises(ModelError, match=r"openvino:static: it has no transformer"):
        openvino.compiled(static(), "auto", "static")


def test_what_models_do_is_counted(cross):
    before = TALLY.counts()
    encoder = SentenceEncoder(static())
    encoder.encode(["one text", "another", "one text"], "query")
    encoder.encode(["a document"], "document")
    CrossEncoderScorer(cross).score(["a", "b"], ["c", "d"])
    after = {name: count - before[name] for name, count in TALLY.counts().items()}
    assert after == {"calls": 3, "queries": 2, "documents": 1, "pairs": 2}
