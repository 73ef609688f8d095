"""What an inspection shows is what the model has: its prompts' ids, its mask, e . W, and cosines."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from llara.cli import main
from llara.encode import encode_file
from llara.errors import ConfigError, InputError, ModelError
from llara.indexes import build_index
from llara.inspect import Inspector, readable, readable_pair
from llara.lexicon import common_words, read_lexicon
from llara.model import MINI, MINI_BASE, convert, fingerprint, load, load_causal_lm, load_tokenizer
from llara.search import Searcher
from llara.words import WordHead, output_head

TEXT = "The wing of an aircraft in the slipstream of a propeller creates lift."


@pytest.fixture(scope="module")
def inspector():
    return Inspector(MINI)


@pytest.fixture(scope="module")
def model():
    return load(MINI)


def test_the_head_is_the_language_models_own():
    model = load_causal_lm(MINI, dtype=torch.bfloat16)
    assert torch.equal(output_head(MINI), model.get_output_embeddings().weight)


def test_an_untied_head_is_found_too(tmp_path):
    model = load_causal_lm(MINI_BASE, dtype=torch.float32)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    model.save_pretrained(tmp_path / "untied")
    assert torch.equal(output_head(tmp_path / "untied"), model.lm_head.weight)


def test_a_models_head_in_several_files_is_found(tmp_path):
    model = load_causal_lm(MINI_BASE, dtype=torch.float32)
    model.save_pretrained(tmp_path / "parts", max_shard_size="5MB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    assert torch.equal(output_head(tmp_path / "parts"), model.get_output_embeddings().weight)


def test_tokens_are_the_ids_that_the_model_is_given(inspector, model):
    found = inspector.inspect(TEXT)
    for task, role in (("self", None), ("next", "query")):
        expected = model.preprocess([TEXT], task=role)["input_ids"][0].tolist()
        assert [token.id for token in found.roles[task].tokens] == expected
        parts = [token.part for token in found.roles[task].tokens]
        assert parts == sorted(parts, key=["lead", "text", "prompt", "slot"].index)
        assert parts.count("slot") == 1


def test_words_are_those_of_the_highest_e_w_of_all_known_words(inspector, model):
    found = inspector.inspect(TEXT, top=15)
    tokenizer, weight_VD = load_tokenizer(MINI), output_head(MINI).float().numpy()
    own = TEXT.replace(".", "").split()
    words = list({*read_lexicon(MINI), *own})
    ids = tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]
    for task, vector in (("self", model.encode_document(TEXT)), ("next", model.encode_query(TEXT))):
        best: dict[str, float] = {}
        for word, tokens in zip(words, ids, strict=True):
            score = float(weight_VD[tokens].mean(axis=0) @ vector)
            best[word.casefold()] = max(score, best.get(word.casefold(), -1e9))
        expected = sorted(best.items(), key=lambda item: -item[1])[:15]
        # 0.02: the inspector may compute in bfloat16, whose products carry three digits
        assert [word.weight for word in found.roles[task].words] == pytest.approx(
            [w for _, w in expected], abs=0.02
        )
        assert {w.word.casefold() for w in found.roles[task].words} & {w for w, _ in expected[:10]} != set()
        assert found.roles[task].words[0].word == "wing"
        assert all(w.in_text == (w.word in own) for w in found.roles[task].words)


def test_the_mask_lets_neither_branch_see_the_other(inspector):
    mask = inspector.inspect(TEXT).mask
    groups, rows = mask.groups, mask.rows
    assert len(groups) == len(rows) == len(mask.tokens)
    for i, row in enumerate(rows):
        for j, seen in enumerate(row):
            allowed = j <= i and (groups[j] == "trunk" or groups[j] == groups[i])
            assert seen == str(int(allowed))


def test_a_word_carries_what_the_cosine_loses_without_it():
    inspector = Inspector(MINI)
    model = inspector.encoder.model
    query, document = "wing lift", "A wing creates lift; the WING is long."
    found = inspector.pair(query, document)
    cosine = float(model.encode_query(query) @ model.encode_document(document))
    assert found.similarity == pytest.approx(cosine, abs=0.01)
    without = float(model.encode_query(query) @ model.encode_document("A creates lift; the is long."))
    shares = {word.word: word.share for word in found.document_words}
    assert shares["wing"] == shares["WING"] == pytest.approx(cosine - without, abs=0.02)
    assert [document[w.start : w.end] for w in found.document_words] == [w.word for w in found.document_words]
    assert found.shared[0].word.casefold() in {"wing", "lift"}


def test_highlights_are_the_words_that_the_query_expects_most(inspector, model):
    texts = ["\U0001f6e9 Bread and a wing.", "The wing of the aircraft.", ""]
    vector = model.encode_query("how does a wing fly")
    first, second, third = inspector.highlights(vector, texts)
    assert [texts[0][s.start : s.end] for s in first] == ["wing"]
    assert "wing" in [texts[1][s.start : s.end] for s in second]
    assert max(span.weight for span in [*first, *second]) == 1
    assert third == []


def test_an_index_gives_the_words_of_its_documents(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(
        "".join(json.dumps({"id": str(i), "text": f"zeppelin wing {i}"}) + "\n" for i in range(3))
    )
    encode_file(MINI, tmp_path / "corpus.jsonl", tmp_path / "vectors", role="document")
    found = Inspector.of(Searcher.open(build_index(tmp_path / "vectors", tmp_path / "index"))).inspect(
        "a kite"
    )
    assert {word.word for word in found.roles["self"].words} == {"zeppelin", "wing", "a", "kite"}


def test_common_words_are_ranked_by_texts_and_shown_in_their_usual_form():
    texts = ["Paris is old", "Paris is big big big", "is old", "x1 y2 a"]
    assert common_words(texts) == ["is", "old", "Paris"]
    assert common_words(["长江很长", "长江"], tokenizer_words=["长江", "很"]) == ["长江"]


def test_a_model_without_a_list_of_words_gives_those_of_its_vocabulary(tmp_path):
    words = read_lexicon(convert(MINI_BASE, tmp_path / "model"))
    assert "wing" in words
    assert len(words) > 1000


def test_the_list_of_words_is_no_part_of_the_fingerprint(tmp_path):
    model = convert(MINI_BASE, tmp_path / "model")
    before = fingerprint(model)
    (model / "words.txt").write_text("wing\n")
    assert fingerprint(model) == before


def test_what_cannot_be_inspected_is_refused(retriever, inspector):
    with pytest.raises(ModelError, match=r"no llara\.json"):
        Inspector(retriever.path)
    with pytest.raises(ConfigError, match="top is 0"):
        inspector.inspect("wing", top=0)
    for text, why in (("", "the text is empty"), (["a"], "is list, expected"), ("\ud800", "not Unicode")):
        with pytest.raises(InputError, match=why):
            inspector.inspect(text)
    with pytest.raises(InputError, match="the document is empty"):
        inspector.pair("wing", " ")


def test_a_pair_is_of_the_words_that_the_model_reads(inspector):
    found = inspector.pair("a giraffe", "Wings lift. " * 400 + "A giraffe eats acacia.")
    assert (found.query_cut, found.document_cut) == (False, True)
    assert {word.word for word in found.document_words} == {"Wings", "lift"}
    assert "only the words that it reads count" in readable_pair(found)
    assert "  none" in readable_pair(replace(found, shared=[]))
    short = inspector.pair("a giraffe", "A giraffe.")
    assert (short.query_cut, short.document_cut) == (False, False)


def test_of_one_endless_word_the_beginning_is_compared(inspector):
    found = inspector.pair("a giraffe", "x" * 4000)
    assert found.document_cut
    (word,) = found.document_words
    assert 0 < word.end < 4000


def test_a_share_is_of_the_word_and_not_of_blanks_elsewhere(inspector):
    query, document = "wing lift", "if wing:\n        lift    =    1\n        drag    =    2"
    found = inspector.pair(query, document)
    without = inspector.pair(query, document.replace("drag", "")).similarity
    (share,) = [word.share for word in found.document_words if word.word == "drag"]
    assert share == pytest.approx(found.similarity - without, abs=0.02)


def test_what_adaptation_left_out_is_said(inspector, tmp_path):
    found = inspector.inspect(TEXT)
    assert not found.expects  # llara-mini is adapted by EBAE alone
    assert "adapted without EBAR" in readable(found)
    other = convert(MINI_BASE, tmp_path / "other")
    (other / "training.json").write_text(json.dumps({"settings": {"objective": {"ebar": True}}}))
    assert "NEXT: the words that the vector expects" in readable(Inspector(other).inspect("wing"))


def test_a_terminal_gets_bounded_lines_without_controls(inspector):
    text = "\x1b[31mwing\x00 机翼 " + "lift " * 2000
    shown = readable(inspector.inspect(text, top=5))
    assert "\x1b" not in shown
    assert "\x00" not in shown
    assert max(map(len, shown.splitlines())) < 600
    assert "tokens 1-48, the first of 506" in shown
    assert "[</s>]" in shown


def test_a_lexical_vector_keeps_the_heaviest_words_only():
    head = WordHead.of(MINI)
    vector = np.asarray(load(MINI).encode_document(TEXT))[None]
    (whole,), (cut,) = head.lexical([TEXT], vector), head.lexical([TEXT], vector, most=2)
    assert cut == dict(sorted(whole.items(), key=lambda item: -item[1])[:2])


def test_the_command_shows_a_text_and_a_pair(capsys):
    assert main(["inspect", "--model", MINI, "--top", "5", TEXT]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["roles"]["self"]["words"][0]["word"] == "wing"
    assert main(["inspect", "--model", MINI, "--format", "text", "wing", "--document", TEXT]) == 0
    assert "what the cosine loses without a word of the document" in capsys.readouterr().out
    assert main(["inspect", "--model", MINI, " "]) == 1
    assert "the text is empty" in capsys.readouterr().err
