"""The encoder's vectors against sentence-transformers' own, by every way; what is left to it, and refused."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense
from tiny import SENTENCES, SHUFFLED_SLOTS, byte_level, model_for, sentencepiece_like

import llara.encoder.path as path_module
from llara.encode import encode_texts
from llara.encoder import Encoder
from llara.encoder.precision import choose_dtype
from llara.errors import ConfigError, ModelError
from llara.model import load, save_retriever
from llara.prompts import Prompts

# Long beyond the limit of 64 tokens, empty, blank, special tokens as plain characters, other scripts.
TEXTS = [
    *SENTENCES,
    "",
    "  ",
    "short",
    " ".join(SENTENCES),
    "a </s> b <s> </s>",
    "x" * 300,
    "\n two\tlines \n",
]
LIMIT = 64
TOLERANCE = 1e-5  # of unit vectors: float32 sums in another order
ROLES = ("query", "document")


def retriever(place: Path, family: str = "llama", *, slots: bool = False, centred: bool = False) -> Path:
    """A random retriever of ours in a directory."""
    tokenizer = sentencepiece_like("normalizer", slots=SHUFFLED_SLOTS) if slots else byte_level()
    model = model_for(tokenizer, family)
    place.mkdir()
    torch.manual_seed(3)
    centers = {"self": torch.randn(32), "next": torch.randn(32)} if centred else None
    prompts = Prompts(tokenizer, "eight-words" if slots else "paper")
    save_retriever(model, prompts, place, max_tokens=LIMIT, centers=centers)  # type: ignore[arg-type]
    return place


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("retrievers")
    made = {name: retriever(place / name, family) for name, family in FAMILIES.items()}
    made["centred"] = retriever(place / "centred", centred=True)
    made["eight-words"] = retriever(place / "eight-words", slots=True)
    return made


# Two whose layers have windows (of 8 tokens), one with both kinds of layers, learned positions, soft caps.
FAMILIES = {name: name for name in ("llama", "mistral", "gemma3_text", "gpt2", "gemma2", "qwen3")}
assert set(FAMILIES) <= set(ARCHITECTURES)


def stock(model: SentenceTransformer, texts: list[str], role: str, **settings: Any) -> np.ndarray:
    encode: Callable[..., Any] = model.encode_query if role == "query" else model.encode_document
    vectors = np.asarray(encode(texts, show_progress_bar=False, **settings), dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def open_one(directory: Path, **settings: Any) -> Encoder:
    return Encoder(directory, device="cpu", **{"dtype": "float32", **settings})


# -- equal


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("way", ["padded", "packed"])
@pytest.mark.parametrize(
    "name", ["llama", "centred", "eight-words", "mistral", "gemma3_text", "gpt2", "qwen3"]
)
def test_vectors_are_sentence_transformers(
    directories: dict[str, Path], name: str, way: str, role: Any
) -> None:
    encoder = open_one(directories[name], attention=way, batch_tokens=100)
    assert encoder.how == f"{way} rows, float32 (as asked)"
    found = encoder.encode(TEXTS, role=role)
    assert found.dtype == np.float32
    expected = stock(load(directories[name], device="cpu"), TEXTS, role, batch_size=5)
    assert np.abs(found - expected).max() < TOLERANCE


def test_flex_rows_give_the_same(directories: dict[str, Path]) -> None:
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # flex attention says that it is not compiled
        encoder = open_one(directories["mistral"], attention="flex")
        assert encoder.how.startswith("flex rows")
        found = encoder.encode(TEXTS[:8], role="query")
    assert (
        np.abs(found - stock(load(directories["mistral"], device="cpu"), TEXTS[:8], "query")).max()
        < TOLERANCE
    )


@pytest.mark.parametrize("way", ["padded", "packed"])
def test_a_vector_does_not_depend_on_its_company(directories: dict[str, Path], way: str) -> None:
    encoder = open_one(directories["mistral"], attention=way)
    together = encoder.encode(TEXTS, role="document")
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = encoder.encode([TEXTS[i] for i in order], role="document")
    alone = np.concatenate([encoder.encode([text], role="document") for text in TEXTS])
    assert np.abs(shuffled - together[order]).max() < TOLERANCE
    assert np.abs(alone - together).max() < TOLERANCE


def test_order_is_kept_over_many_windows(
    directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{text} {number}" for number in range(5) for text in TEXTS]
    expected = open_one(directories["llama"]).encode(texts, role="query")
    monkeypatch.setattr(path_module, "_FIRST_WINDOW_TEXTS", 3)
    monkeypatch.setattr(path_module, "_WINDOW_TEXTS", 17)
    found = open_one(directories["llama"]).encode(texts, role="query", batch_size=2)
    assert np.abs(found - expected).max() < TOLERANCE


def test_what_fails_in_the_background_is_raised(
    directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, text_ids = open_one(directories["llama"]), Prompts.text_ids

    def failing(prompts: Prompts, texts: list[str], *limit: int) -> list[list[int]]:
        if "c" in texts:
            raise TypeError("no text for me")
        return text_ids(prompts, texts, *limit)

    monkeypatch.setattr(path_module, "_WINDOW_TEXTS", 2)
    monkeypatch.setattr(Prompts, "text_ids", failing)
    with pytest.raises(TypeError, match="no text for me"):
        encoder.encode(["a", "b", "c"], role="query")


def test_no_texts_make_no_vectors_of_the_models_dimension(directories: dict[str, Path]) -> None:
    assert open_one(directories["llama"]).encode([], role="query").shape == (0, 32)


def test_bfloat16_is_no_further_from_float32_than_the_librarys(directories: dict[str, Path]) -> None:
    directory = directories["centred"]
    expected = stock(load(directory, device="cpu"), TEXTS, "document")
    half = stock(load(directory, device="cpu", dtype=torch.bfloat16), TEXTS, "document")
    encoder = open_one(directory, dtype="bfloat16")
    assert encoder.dtype == "bfloat16"
    ours = encoder.encode(TEXTS, role="document")
    # Means are subtracted and lengths taken in float32 here, so ours is nearer, if anything.
    assert np.linalg.norm(ours - expected, axis=1).max() > 1e-5
    assert np.linalg.norm(ours - expected) < 1.1 * np.linalg.norm(half - expected)


# -- a loaded model, which may be in training


def test_changed_weights_change_the_vectors_at_the_next_call(directories: dict[str, Path]) -> None:
    model = load(directories["llama"], device="cpu")
    before = encode_texts(model, TEXTS, role="query")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    after = encode_texts(model, TEXTS, role="query")
    assert np.abs(after - before).max() > 1e-2
    assert np.abs(after - stock(model, TEXTS, "query")).max() < TOLERANCE


def test_a_replaced_language_model_is_the_one_that_is_used(directories: dict[str, Path]) -> None:
    model, other = (load(directories[name], device="cpu") for name in ("llama", "qwen3"))
    encode_texts(model, TEXTS, role="query")
    model[0].model = other[0].model  # type: ignore[assignment]
    found = encode_texts(model, TEXTS, role="query")
    assert np.abs(found - stock(other, TEXTS, "query")).max() < TOLERANCE


def test_a_changed_length_limit_holds_at_the_next_call(directories: dict[str, Path]) -> None:
    model = load(directories["llama"], device="cpu")
    encode_texts(model, TEXTS, role="query")
    model.max_seq_length = 32
    assert np.abs(encode_texts(model, TEXTS, role="query") - stock(model, TEXTS, "query")).max() < TOLERANCE


def test_autocast_is_the_callers(directories: dict[str, Path]) -> None:
    model = load(directories["llama"], device="cpu")
    plain = encode_texts(model, TEXTS, role="query")
    with torch.autocast("cpu", torch.bfloat16):
        half = encode_texts(model, TEXTS, role="query")
        expected = stock(model, TEXTS, "query")
    assert np.abs(half - plain).max() > 1e-4
    assert np.linalg.norm(half - expected, axis=1).max() < 0.1


def test_the_models_attention_is_set_back(directories: dict[str, Path]) -> None:
    encoder = open_one(directories["llama"], attention="packed")
    encoder.encode(TEXTS, role="query")
    assert encoder.model[0].model.config._attn_implementation == "sdpa"


def test_threads_share_a_packed_encoder(directories: dict[str, Path]) -> None:
    encoder = open_one(directories["mistral"], attention="packed", batch_tokens=100)
    alone = encoder.encode(TEXTS, role="query")
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda _: encoder.encode(TEXTS, role="query"), range(8)))
    assert max(np.abs(found - alone).max() for found in together) < TOLERANCE


# -- not known, so left to the library


def doubled(model: SentenceTransformer) -> None:
    """A module of the user's at the end: known, were it sentence-transformers' own Dense."""

    class Doubled(Dense):
        def forward(self, features: Any) -> Any:
            features["sentence_embedding"] = features["sentence_embedding"].roll(1, dims=1)
            return features

    model.append(Doubled(32, 32))


def other_template(model: SentenceTransformer) -> None:
    model.tokenizer.chat_template = model.tokenizer.chat_template.replace("sentence", "word")


def hooked(model: SentenceTransformer) -> None:
    def negate(module: Any, inputs: Any, features: Any) -> Any:
        return {**features, "token_embeddings": -features["token_embeddings"]}

    model[0].register_forward_hook(negate)


def prompted(model: SentenceTransformer) -> None:
    model.prompts["query"] = "question: "


def mean_pooled(model: SentenceTransformer) -> None:
    model[1].pooling_mode = "mean"  # type: ignore[assignment]


def padded_left(model: SentenceTransformer) -> None:
    model.tokenizer.padding_side = "left"


@pytest.mark.parametrize("change", [doubled, other_template, hooked, prompted, mean_pooled, padded_left])
def test_what_is_not_known_is_encoded_by_the_library_and_said(
    directories: dict[str, Path], change: Callable[[SentenceTransformer], None]
) -> None:
    model = load(directories["llama"], device="cpu")
    before = stock(model, TEXTS, "query")
    change(model)
    with pytest.warns(UserWarning, match="sentence-transformers' own encode: its "):
        encoder = Encoder(model)
    assert encoder.path is None
    found = encoder.encode(TEXTS, role="query")
    assert np.abs(found - stock(model, TEXTS, "query")).max() < TOLERANCE
    if change is not padded_left:  # rotary positions are relative
        assert np.abs(found - before).max() > 1e-3


def test_a_module_added_to_a_directory_is_found_there(directories: dict[str, Path], tmp_path: Path) -> None:
    model = load(directories["llama"], device="cpu")
    model.append(Dense(32, 16, activation_function=torch.nn.Tanh()))
    model.save(str(tmp_path / "added"))
    encoder = open_one(tmp_path / "added")
    assert encoder.encode(TEXTS, role="query").shape == (len(TEXTS), 16)
    expected = stock(load(tmp_path / "added", device="cpu"), TEXTS, "query")
    assert np.abs(encoder.encode(TEXTS, role="query") - expected).max() < TOLERANCE


def test_soft_capped_scores_are_not_packed(directories: dict[str, Path]) -> None:
    with pytest.warns(UserWarning, match="packed rows failed: .*softcap"):
        encoder = open_one(directories["gemma2"], attention="packed")
    expected = stock(encoder.model, TEXTS, "query")
    assert np.abs(encoder.encode(TEXTS, role="query") - expected).max() < TOLERANCE


def test_a_template_by_the_letter_is_not_enough(directories: dict[str, Path]) -> None:
    """The stock preprocessing lower-cases, say, where the template says nothing of it."""
    model = load(directories["llama"], device="cpu")
    before = model[0].preprocess

    def lower(texts: list[str], *arguments: Any, **settings: Any) -> dict[str, Any]:
        return before([text.lower() for text in texts], *arguments, **settings)

    model[0].preprocess = lower  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match="other tokens, for one of ' Its wool"):
        encoder = Encoder(model)
    assert np.abs(encoder.encode(TEXTS, role="query") - stock(model, TEXTS, "query")).max() < TOLERANCE


# -- refused


def test_vectors_that_are_not_finite_are_refused_with_their_text(directories: dict[str, Path]) -> None:
    encoder = open_one(directories["llama"])
    tokenizer = encoder.model.tokenizer
    (token,) = set(tokenizer("Paris", add_special_tokens=False)["input_ids"][:1])
    with torch.no_grad():
        encoder.model[0].model.get_input_embeddings().weight[token] = float("nan")
    assert np.isfinite(encoder.encode(["of the river"], role="query")).all()
    with pytest.raises(ModelError, match=r"not finite.*'Paris is"):
        encoder.encode(["of the river", "Paris is the capital"], role="query")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": "sparse"}, "attention is 'sparse', expected auto, padded, packed, flex"),
        ({"dtype": "int8"}, "dtype is 'int8', expected one of auto, stored, float32"),
        ({"batch_tokens": 0}, "batch_tokens is 0"),
    ],
)
def test_wrong_settings_are_refused(
    directories: dict[str, Path], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_one(directories["llama"], **settings)


def test_the_format_is_chosen_by_what_the_processor_can_do() -> None:
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    fast = "avx512_bf16" in flags or "amx_tile" in flags
    chosen, reason = choose_dtype("auto", torch.device("cpu"))
    assert (chosen == torch.bfloat16) == fast
    assert ("processor" in reason) == fast


def test_a_lost_end_token_is_refused(directories: dict[str, Path]) -> None:
    """The token that is pooled is cut off, as truncation and tokenizers' updates have done elsewhere."""
    model = load(directories["llama"], device="cpu")
    before = model[0].preprocess

    def cut(*arguments: Any, **settings: Any) -> dict[str, Any]:
        features = before(*arguments, **settings)
        ends = features["attention_mask"].sum(dim=1) - 1
        features["attention_mask"][torch.arange(len(ends)), ends] = 0
        return features

    model[0].preprocess = cut  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="ends in the token 'Ġ', expected '</s>', whose state is its vector"):
        Encoder(model)


def test_a_directory_whose_tokenizer_names_no_end_token_is_left_to_the_library(tmp_path: Path) -> None:
    place = retriever(tmp_path / "endless")
    settings = json.loads((place / "tokenizer_config.json").read_text())
    settings["eos_token"] = None
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.warns(UserWarning, match="no end-of-sequence token"):
        assert open_one(place).path is None
