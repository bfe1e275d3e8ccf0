"""Tokens written piece by piece are the tokens of the templated chat, so sampling after the bare prefix is in distribution."""

import pytest

from magpie_align.mini.batches import encode_chat, encode_document
from magpie_align.mini.corpus import document, document_text, private_chat
from magpie_align.mini.tokenizer import BOS, EOT, HEADER_END, HEADER_START
from magpie_align.records import to_dicts

USER = f"{BOS}{HEADER_START}user{HEADER_END}\n\n"
ASSISTANT = f"{HEADER_START}assistant{HEADER_END}\n\n"


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_prefix_query_and_suffix_tokenise_as_the_whole(tokenizer):
    chats = [chat for i in range(400) if len(chat := private_chat(5, i)) == 2]
    for query, answer in chats:
        pieces = (USER, query.content, EOT + ASSISTANT, answer.content, EOT)
        joined = [token for piece in pieces for token in ids(tokenizer, piece)]
        assert joined == tokenizer.apply_chat_template(to_dicts([query, answer]), return_dict=True)["input_ids"]


def test_training_samples_are_templated_chats_with_a_weight_for_each_token(tokenizer):
    for chat in (private_chat(6, i) for i in range(200)):
        sample = encode_chat(tokenizer.backend_tokenizer, chat)
        assert sample.ids == tokenizer.apply_chat_template(to_dicts(chat), return_dict=True)["input_ids"]
        assert len(sample.ids) == len(sample.weights)
        answered = [token for token, weight in zip(sample.ids, sample.weights, strict=True) if weight == 1.0]
        assert tokenizer.decode(answered) == chat[-1].content + EOT


def test_queries_behind_a_system_turn_are_not_learnt(tokenizer):
    tagged = next(chat for i in range(100) if len(chat := private_chat(0, i)) == 3)
    assert 0.2 not in encode_chat(tokenizer.backend_tokenizer, tagged).weights


def test_the_template_marks_assistant_tokens(tokenizer):
    chat = to_dicts(private_chat(0, 1))
    out = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    marked = [token for token, mask in zip(out["input_ids"], out["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(marked) == chat[-1]["content"] + EOT


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("12 + 340", ["1", "2", "3", "4", "0"]), ('say "lemon"', ["l", "e", "m", "o", "n"])],
)
def test_digits_and_quoted_words_are_spelled(tokenizer, text, tokens):
    pieces = [tokenizer.decode([token]) for token in ids(tokenizer, text)]
    assert [piece for piece in pieces if piece in tokens] == tokens


def test_text_round_trips(tokenizer):
    for text in (document_text(document(0, 3)), "Umlaut \u00e4, \u4e2d and an emoji \U0001f426"):
        assert tokenizer.decode(ids(tokenizer, text)) == text


def test_documents_are_tokenised_whole_between_their_marks(tokenizer):
    for entries in (document(0, i) for i in range(200)):
        sample = encode_document(tokenizer.backend_tokenizer, entries)
        assert sample.ids == ids(tokenizer, f"{BOS}{document_text(entries)}<|end_of_text|>")
        assert len(sample.ids) == len(sample.weights)
