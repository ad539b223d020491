"""Trained tokenizers are stock, exact to reload and the same every time."""

import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.data.tokenizer_training import ALGORITHMS


ENGLISH = [
    "The recurrent network reads a sentence, word by word; it forgets slowly.",
    "I'm going home 😂😂 — are you going too? 🥺",
    "Naïve café owners don't sell “résumés” for $5.00!",
    "gate gates gated gating regate; cell cells cellular",
    "lower lowest newer newest wider widest slower slowest",
] * 3
CHINESE = [
    "简单说就是有阳性病例，查密切接触者。",  # noqa: RUF001
    "我们今天不去学校，因为下雨了。",  # noqa: RUF001
    "他说他们明天去北京！",  # noqa: RUF001
] * 3
UNSPACED = {
    "Chinese": CHINESE,
    "Japanese": ["今日はとてもいい天気ですね。", "ありがとうございます、また明日。"] * 3,
    "Thai": ["สวัสดีครับ วันนี้อากาศดีมาก", "ขอบคุณมากครับ"] * 3,
}
TEXTS = [*ENGLISH, *CHINESE, *UNSPACED["Japanese"], *UNSPACED["Thai"]]

each_algorithm = pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
each_subword_algorithm = pytest.mark.parametrize("algorithm", ["bpe", "unigram", "wordpiece"])


def train(algorithm, texts=TEXTS, **kwargs):
    return train_tokenizer(texts, algorithm=algorithm, **({"vocab_size": 600, "min_frequency": 1} | kwargs))


def backend_json(tokenizer):
    return tokenizer.backend_tokenizer.to_str()


@each_algorithm
def test_a_trained_tokenizer_is_stock_and_its_reload_is_exact(algorithm, tmp_path):
    tokenizer = train(algorithm, model_max_length=77)
    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)

    assert type(tokenizer) is PreTrainedTokenizerFast
    assert backend_json(reloaded) == backend_json(tokenizer)
    assert (
        reloaded([*TEXTS, "unseen wörds 🤖", ""])["input_ids"]
        == tokenizer([*TEXTS, "unseen wörds 🤖", ""])["input_ids"]
    )
    for loaded in (tokenizer, reloaded):
        assert (loaded.pad_token, loaded.pad_token_id) == ("[PAD]", 0)
        assert (loaded.unk_token, loaded.unk_token_id) == ("[UNK]", 1)
        assert loaded.model_max_length == 77
        assert list(loaded("a text")) == ["input_ids", "attention_mask"]


def test_the_same_texts_give_the_same_tokenizer_also_in_another_process():
    code = """if True:
        import json, sys
        from hf_rnn_multilabel.data.tokenizer_training import ALGORITHMS, train_tokenizer
        for algorithm in ALGORITHMS:
            tokenizer = train_tokenizer(json.load(open(sys.argv[1])), algorithm=algorithm, vocab_size=350)
            print(tokenizer.backend_tokenizer.to_str().encode())
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(TEXTS, file)
        file.flush()
        command = [sys.executable, "-c", code, file.name]
        run = subprocess.run(command, capture_output=True, check=True, text=True, env=environment, timeout=300)
    for algorithm, line in zip(ALGORITHMS, run.stdout.splitlines(), strict=True):
        for _ in range(5):
            assert line == str(backend_json(train_tokenizer(TEXTS, algorithm=algorithm, vocab_size=350)).encode())


@each_algorithm
def test_no_special_token_is_put_round_a_text(algorithm):
    tokenizer = train(algorithm)
    assert tokenizer("")["input_ids"] == []
    assert not set(tokenizer("going home")["input_ids"]) & set(tokenizer.all_special_ids)


@each_algorithm
def test_the_vocabulary_is_no_larger_than_asked_for(algorithm):
    assert len(train(algorithm, vocab_size=310)) <= 310


@each_algorithm
def test_truncation_cuts_at_the_model_max_length(algorithm):
    assert len(train(algorithm, model_max_length=4)("the network reads a sentence", truncation=True)["input_ids"]) == 4


@each_algorithm
def test_offsets_point_into_the_text(algorithm):
    text = "The  CELLS, going\thome"
    encoding = train(algorithm)(text, return_offsets_mapping=True)
    covered = {position for start, end in encoding["offset_mapping"] for position in range(start, end)}
    assert covered == {position for position, character in enumerate(text) if not character.isspace()}


@each_algorithm
@pytest.mark.parametrize("script", sorted(UNSPACED))
def test_scripts_without_spaces_are_known_and_split(algorithm, script):
    tokenizer = train(algorithm, UNSPACED[script])
    backwards = UNSPACED[script][0][::-1]
    ids = tokenizer(backwards)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert len(ids) >= len(backwards) / 2


@pytest.mark.parametrize("algorithm", ["wordpiece", "word"])
def test_a_chinese_character_is_a_token(algorithm):
    assert train(algorithm, CHINESE).tokenize("我们去北京。") == ["我", "们", "去", "北", "京", "。"]


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
def test_chinese_words_are_found(algorithm):
    words = ["北京", "学校", "今天", "明天", "我们", "他们", "下雨", "天气", "朋友", "老师"]
    draw = random.Random(0)
    texts = ["".join(draw.choices(words, k=6)) + "。" for _ in range(300)]
    tokenizer = train(algorithm, texts, vocab_size=320 if algorithm == "bpe" else 40)
    text = "我们明天去北京学校。"
    spans = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    assert {"明天", "北京", "学校", "。"} <= {text[start:end] for start, end in spans}


@each_algorithm
def test_punctuation_and_emoji_are_words_by_themselves(algorithm):
    tokenizer = train(algorithm)
    text = "home😂😂—going, too?🥺 “gate” $!"
    encoding = tokenizer(text, return_offsets_mapping=True)
    pieces = {text[start:end] for start, end in encoding["offset_mapping"]}
    assert tokenizer.unk_token_id not in encoding["input_ids"]
    assert {"😂", "—", ",", "?", "🥺", "“", "”", "$", "!"} <= pieces
    assert all(piece.isalnum() for piece in pieces if len(piece) > 1)


@each_algorithm
def test_an_emoji_is_the_same_with_and_without_its_variation_selector(algorithm):
    tokenizer = train(algorithm, ["I ❤️ it", "I ❤ it"])
    assert tokenizer("I ❤️ it")["input_ids"] == tokenizer("I ❤ it")["input_ids"]


@each_algorithm
def test_control_and_zero_width_characters_separate_words(algorithm):
    tokenizer = train(algorithm)
    expected = tokenizer("going home")["input_ids"]
    for separator in ("\n", "\t", "\x00", "\u200b", "\ufeff", "\u3000", "\xa0"):
        assert tokenizer(f"going{separator}home")["input_ids"] == expected


@each_algorithm
def test_case_is_folded_only_when_asked(algorithm):
    folding, keeping = train(algorithm), train(algorithm, lowercase=False)
    assert folding("THE NETWORK")["input_ids"] == folding("the network")["input_ids"]
    assert keeping("THE NETWORK")["input_ids"] != keeping("the network")["input_ids"]


@each_algorithm
def test_full_width_and_half_width_characters_are_the_same(algorithm):
    tokenizer = train(algorithm)
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "going,home!")
    assert tokenizer(wide)["input_ids"] == tokenizer("going,home!")["input_ids"]


@each_algorithm
def test_accents_stay_and_composed_and_decomposed_are_the_same(algorithm):
    tokenizer = train(algorithm, ["café cafe résumé resume"] * 3)
    assert tokenizer("café")["input_ids"] != tokenizer("cafe")["input_ids"]
    assert tokenizer(unicodedata.normalize("NFD", "café"))["input_ids"] == tokenizer("café")["input_ids"]


@each_subword_algorithm
def test_unseen_words_of_seen_characters_are_known(algorithm):
    tokenizer = train(algorithm, ENGLISH)
    assert tokenizer.unk_token_id not in tokenizer("gatecells unslower, wordless")["input_ids"]


def test_unigram_learns_whole_words_that_never_start_longer_ones():
    tokenizer = train("unigram", ["they were always going", "we went always because going", "always because"] * 20)
    assert tokenizer.tokenize("going always because") == ["▁going", "▁always", "▁because"]


BPE_TOKENIZER = train("bpe")


@settings(deadline=None, max_examples=50)
@given(text=st.text(max_size=80))
def test_bpe_knows_every_text(text):
    assert BPE_TOKENIZER.unk_token_id not in BPE_TOKENIZER(text.replace("[UNK]", ""))["input_ids"]


@each_algorithm
def test_a_million_characters_without_a_space_are_trained_on_and_encoded(algorithm):
    text = "xyzé" * 250_000
    tokenizer = train(algorithm, [text])
    ids = tokenizer(text, truncation=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert len(ids) > 1000


@each_algorithm
@pytest.mark.parametrize("texts", [[], ["", " \n"], iter(())])
def test_training_on_empty_texts_is_an_error(algorithm, texts):
    with pytest.raises(ValueError, match="empty; give at least one"):
        train(algorithm, texts)


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["a", "list"], float("nan")])
def test_a_text_that_is_not_a_str_is_an_error_that_names_its_row(text):
    with pytest.raises(ValueError, match=f"Text 2 is .*{type(text).__name__}"):
        train_tokenizer(["one", "two", text])


def test_one_str_instead_of_several_is_an_error():
    with pytest.raises(ValueError, match=r"one str; give an iterable"):
        train_tokenizer("a text")


def test_an_unknown_algorithm_is_an_error():
    with pytest.raises(ValueError, match="'characters'; give one of"):
        train_tokenizer(TEXTS, algorithm="characters")


@each_subword_algorithm
def test_a_vocabulary_without_room_for_the_characters_is_an_error_that_names_the_least_size(algorithm):
    with pytest.raises(ValueError, match=r"`vocab_size` is 5; these texts need at least \d+") as error:
        train(algorithm, vocab_size=5)
    least = int(str(error.value).split("at least ")[1].split(",")[0])
    assert len(train(algorithm, vocab_size=least)) == least
    with pytest.raises(ValueError, match=f"at least {least}"):
        train(algorithm, vocab_size=least - 1)


def test_fault_12_half_a_surrogate_pair_is_an_error_with_its_row():
    with pytest.raises(ValueError, match=r"Text 1 is .*half of a surrogate pair"):
        train_tokenizer(["a", "a\ud83d"])


@pytest.mark.parametrize("vocab_size", [10**9, 0, -1])
def test_fault_42_a_vocabulary_of_an_impossible_size_is_an_error(vocab_size):
    with pytest.raises(ValueError, match=f"`vocab_size` is {vocab_size:,}"):
        train_tokenizer(TEXTS, vocab_size=vocab_size)


def test_words_that_are_all_too_rare_are_an_error():
    with pytest.raises(ValueError, match="`min_frequency` = 2 times; lower it"):
        train_tokenizer(["each word only once"], algorithm="word")


def test_texts_may_come_from_a_generator():
    assert backend_json(train("wordpiece", (text for text in TEXTS))) == backend_json(train("wordpiece"))


@pytest.mark.parametrize(
    ("texts", "message"), [(None, "one NoneType"), ({"a": 1}, "one dict"), (["a", "\ud800"], "Text 1")]
)
def test_fault_12_what_is_no_texts_and_half_a_surrogate_pair_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(texts)
