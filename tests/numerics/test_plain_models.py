"""Plain models with CLS, mean and last-token pooling against transformers alone (the paper's Eq. 1 to 3)."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from llara.errors import ModelError
from llara.evaluate import DenseSystem, open_system
from llara.evaluate.plain import load_plain

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"w{n}" for n in range(20))]
TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11", "w3 w3 w3 w19"]


def tokenizer(*, single: str, **special: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    if single != "$A":
        backend.post_processor = TemplateProcessing(
            single=single, special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", **special)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("models") / "encoder"
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes)).save_pretrained(path)
    tokenizer(single="[CLS] $A [SEP]", cls_token="[CLS]", sep_token="[SEP]").save_pretrained(path)
    return path


@pytest.fixture(scope="module", params=["$A", "[CLS] $A", "$A [SEP]"])
def decoder(request, tmp_path_factory):
    """Decoders whose tokenizers add nothing, a first token, or the last one themselves."""
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("models") / "decoder"
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = LlamaConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes)
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer(single=request.param, bos_token="[CLS]", eos_token="[SEP]").save_pretrained(path)
    return path


def states(path, ids: list[int]) -> np.ndarray:
    """Output states of one text without padding: float32 [T, D]."""
    model = AutoModel.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).last_hidden_state[0].numpy()


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("pooling", "pool"), [("cls", lambda h_TD: h_TD[0]), ("mean", lambda h_TD: h_TD.mean(0))]
)
def test_an_encoder_is_pooled_as_by_hand_in_both_roles(encoder, pooling, pool):
    model = load_plain(str(encoder), pooling, device="cpu")
    ids = AutoTokenizer.from_pretrained(encoder)(TEXTS).input_ids
    hidden = [states(encoder, each) for each in ids]
    expected = [unit(h_TD[0] if pooling == "cls" else h_TD.mean(axis=0)) for h_TD in hidden]
    np.testing.assert_allclose(model.encode_document(TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(model.encode_query(TEXTS), expected, atol=1e-6)


def test_a_decoder_is_read_at_the_end_token_of_every_text(decoder):
    model = load_plain(str(decoder), "last", device="cpu")
    plain = AutoTokenizer.from_pretrained(decoder)
    ids = [each if each[-1] == 2 else [*each, 2] for each in plain(TEXTS).input_ids]
    expected = [unit(states(decoder, each)[-1]) for each in ids]
    np.testing.assert_allclose(model.encode_document(TEXTS), expected, atol=1e-6)


def test_a_text_that_is_cut_still_ends_in_the_end_token(decoder):
    model = load_plain(str(decoder), "last", device="cpu")
    model.max_seq_length = 6
    long = " ".join(f"w{n}" for n in range(20))
    ids = AutoTokenizer.from_pretrained(decoder)(long, add_special_tokens=False).input_ids
    lead = [1] if AutoTokenizer.from_pretrained(decoder)("w1").input_ids[0] == 1 else []
    expected = unit(states(decoder, [*lead, *ids[: 5 - len(lead)], 2])[-1])
    np.testing.assert_allclose(model.encode_document([long])[0], expected, atol=1e-6)


def test_a_word_on_the_command_line_opens_them(encoder):
    system = open_system(f"mean:{encoder}")
    assert isinstance(system, DenseSystem)
    assert system.settings["pooling"] == "mean"
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        open_system(f"last:{encoder}")
    with pytest.raises(ModelError, match="no-such"):
        open_system("cls:./no-such")
