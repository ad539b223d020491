"""Pruned tokenizers split the texts as before, and keep no other token than those that this needs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from hf_rnn_multilabel.data import prune_tokenizer, train_tokenizer
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


def trained(model, trainer, pre_tokenizer, texts, **special_tokens):
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special_tokens)


BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
ROBERTA = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
BYTES = {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}


def with_processor(tokenizer, processor):
    tokenizer.backend_tokenizer.post_processor = processor
    return tokenizer


def bert_like(texts):
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    tokenizer = trained(models.WordPiece(unk_token="[UNK]"), trainer, pre_tokenizers.BertPreTokenizer(), texts, **BERT)
    ids = tokenizer.convert_tokens_to_ids
    template = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids("[CLS]")), ("[SEP]", ids("[SEP]"))],
    )
    return with_processor(tokenizer, template)


def roberta_like(texts):
    trainer = trainers.BpeTrainer(vocab_size=700, show_progress=False, **BYTES)
    tokenizer = trained(models.BPE(), trainer, pre_tokenizers.ByteLevel(add_prefix_space=False), texts, **ROBERTA)
    ids = tokenizer.convert_tokens_to_ids
    ends = processors.RobertaProcessing(("</s>", ids("</s>")), ("<s>", ids("<s>")))
    return with_processor(tokenizer, processors.Sequence([processors.ByteLevel(), ends]))


def clip_like(texts):
    trainer = trainers.BpeTrainer(
        vocab_size=500, end_of_word_suffix="</w>", special_tokens=[*ROBERTA.values()], show_progress=False
    )
    model = models.BPE(unk_token="<unk>", end_of_word_suffix="</w>")
    return trained(model, trainer, pre_tokenizers.Whitespace(), texts, **ROBERTA)


def prefixed_bpe(texts):
    trainer = trainers.BpeTrainer(
        vocab_size=500, continuing_subword_prefix="##", special_tokens=[*ROBERTA.values()], show_progress=False
    )
    model = models.BPE(unk_token="<unk>", continuing_subword_prefix="##")
    return trained(model, trainer, pre_tokenizers.Whitespace(), texts, **ROBERTA)


def llama_like(texts):
    """Every way to put two tokens together is a merge, and unknown characters fall back on bytes."""
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=[*ROBERTA.values()], show_progress=False)
    source = trained(models.BPE(), trainer, pre_tokenizers.Metaspace(), texts).get_vocab()
    tokens = [*sorted(source, key=source.get), *(f"<0x{byte:02X}>" for byte in range(256))]
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    merges = [
        (token[:cut], token[cut:])
        for token in tokens
        for cut in range(1, len(token))
        if token[:cut] in vocab and token[cut:] in vocab
    ]
    model = models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True, ignore_merges=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROBERTA)


def xlm_roberta_like(texts):
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=[*ROBERTA.values()], unk_token="<unk>", show_progress=False
    )
    tokenizer = trained(models.Unigram(), trainer, pre_tokenizers.Metaspace(), texts, **ROBERTA)
    ids = tokenizer.convert_tokens_to_ids
    return with_processor(tokenizer, processors.BertProcessing(("</s>", ids("</s>")), ("<s>", ids("<s>"))))


def word_level(texts):
    trainer = trainers.WordLevelTrainer(special_tokens=[*BERT.values()], show_progress=False)
    return trained(models.WordLevel(unk_token="[UNK]"), trainer, pre_tokenizers.Whitespace(), texts, **BERT)


STOCK = [bert_like, roberta_like, clip_like, prefixed_bpe, llama_like, xlm_roberta_like, word_level]
KINDS = {make.__name__: make(TEXTS) for make in STOCK} | {f"own_{name}": train(name) for name in ALGORITHMS}
SEEN, UNSEEN = TEXTS[:2] + CHINESE[:1], [*TEXTS[2:5], *CHINESE[1:3], *UNSPACED["Thai"], "жук 🤖"]

each_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def old_ids(kept_ids, encodings):
    return [[kept_ids[new_id] for new_id in ids] for ids in encodings["input_ids"]]


@each_kind
def test_pruning_keeps_how_the_texts_are_split(kind):
    tokenizer = KINDS[kind]
    pruned, kept_ids = prune_tokenizer(tokenizer, SEEN)
    assert old_ids(kept_ids, pruned(SEEN)) == tokenizer(SEEN)["input_ids"]
    assert len(pruned) == len(kept_ids) < len(tokenizer)
    assert pruned.convert_ids_to_tokens(range(len(pruned))) == tokenizer.convert_ids_to_tokens(kept_ids)


@each_kind
def test_pruning_keeps_the_order_of_the_ids(kind):
    _, kept_ids = prune_tokenizer(KINDS[kind], SEEN)
    assert kept_ids == sorted(set(kept_ids))


@each_kind
def test_pruning_keeps_the_special_tokens(kind):
    tokenizer = KINDS[kind]
    pruned, kept_ids = prune_tokenizer(tokenizer, SEEN)
    assert pruned.special_tokens_map == tokenizer.special_tokens_map
    assert [kept_ids[new_id] for new_id in pruned.all_special_ids] == tokenizer.all_special_ids
    padded = pruned([SEEN[0], ""], padding=True)
    assert padded["input_ids"][1][-1] == pruned.pad_token_id
    assert old_ids(kept_ids, pruned([SEEN[0]], [SEEN[1]])) == tokenizer([SEEN[0]], [SEEN[1]])["input_ids"]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"word_level", "own_word"}))
def test_pruning_makes_no_unseen_word_unknown(kind):
    tokenizer = KINDS[kind]
    pruned, _ = prune_tokenizer(tokenizer, SEEN)
    unknown = [sum(ids.count(t.unk_token_id) for ids in t(UNSEEN)["input_ids"]) for t in (tokenizer, pruned)]
    assert unknown[1] == unknown[0]


@each_kind
def test_pruning_twice_is_pruning_once(kind):
    pruned, _ = prune_tokenizer(KINDS[kind], SEEN)
    again, kept_ids = prune_tokenizer(pruned, SEEN)
    assert kept_ids == list(range(len(pruned)))
    assert backend_json(again) == backend_json(pruned)


@each_kind
def test_the_reload_of_a_pruned_tokenizer_is_exact(kind, tmp_path):
    pruned, _ = prune_tokenizer(KINDS[kind], SEEN)
    pruned.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    assert backend_json(reloaded) == backend_json(pruned)
    assert reloaded([*SEEN, *UNSEEN])["input_ids"] == pruned([*SEEN, *UNSEEN])["input_ids"]
    assert reloaded.special_tokens_map == pruned.special_tokens_map


WORDS = st.lists(st.text(alphabet="abcd ", min_size=1, max_size=24), min_size=1, max_size=6).filter(
    lambda texts: any(text.strip() for text in texts)
)


@settings(deadline=None, max_examples=40)
@given(corpus=WORDS, texts=WORDS, kind=st.sampled_from(STOCK))
def test_pruning_keeps_how_any_text_is_split(corpus, texts, kind):
    tokenizer = kind([*corpus, "abcd dcba abab cdcd abc bcd"] * 2)
    pruned, kept_ids = prune_tokenizer(tokenizer, texts)
    assert old_ids(kept_ids, pruned(texts)) == tokenizer(texts)["input_ids"]


def test_pruning_keeps_the_tokens_on_the_way_to_a_merged_one_and_no_others():
    vocab = {token: token_id for token_id, token in enumerate(["<pad>", "a", "b", "c", "bc", "ab", "abc", "cc"])}
    merges = [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc"), ("c", "c")]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab, merges)), pad_token="<pad>")
    pruned, kept_ids = prune_tokenizer(tokenizer, ["abc"])
    assert pruned.tokenize("abc") == ["abc"]
    assert tokenizer.convert_ids_to_tokens(kept_ids) == ["<pad>", "a", "b", "c", "bc", "abc"]


def test_pruning_keeps_the_cost_of_an_unknown_character():
    scores = [("<pad>", 0.0), ("<unk>", 0.0), ("▁", -1.0), ("ab", -13.0), ("bc", -13.0), ("a", -12.0), ("rare", -30.0)]
    backend = Tokenizer(models.Unigram(scores, unk_id=1))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")
    texts = ["abbc", "abc", "aabx"]
    pruned, kept_ids = prune_tokenizer(tokenizer, texts)
    assert old_ids(kept_ids, pruned(texts)) == tokenizer(texts)["input_ids"]
    assert "rare" in pruned.get_vocab()


def test_pruning_keeps_added_tokens_that_are_special_or_used():
    tokenizer = train("wordpiece")
    tokenizer.add_tokens(["<used>", "<unused>"])
    tokenizer.add_special_tokens({"extra_special_tokens": ["<extra>"]})
    texts = ["going <used> home"]
    pruned, kept_ids = prune_tokenizer(tokenizer, texts)
    assert old_ids(kept_ids, pruned(texts)) == tokenizer(texts)["input_ids"]
    assert [*pruned.get_added_vocab()] == ["[PAD]", "[UNK]", "<used>", "<extra>"]
    assert pruned.extra_special_tokens == ["<extra>"]


def test_pruning_a_vocabulary_with_gaps_numbers_added_tokens_last():
    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "home": 7, "going": 9}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", extra_special_tokens=["<extra>"]
    )
    texts = ["going <extra> home"]
    pruned, kept_ids = prune_tokenizer(tokenizer, texts)
    assert old_ids(kept_ids, pruned(texts)) == tokenizer(texts)["input_ids"]
    assert sorted(pruned.get_vocab().values()) == list(range(5))


def test_pruning_a_tokenizer_that_splits_special_tokens_keeps_their_pieces():
    texts = ["[pad] means padding, padding means [PAD]"] * 3
    backend = train("wordpiece", texts).backend_tokenizer
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", split_special_tokens=True
    )
    assert "pad" in tokenizer.tokenize("[PAD]")
    pruned, kept_ids = prune_tokenizer(tokenizer, ["[PAD]"])
    assert old_ids(kept_ids, pruned(["[PAD]"])) == tokenizer(["[PAD]"])["input_ids"]


def test_pruning_clears_truncation_and_padding_left_in_the_file():
    tokenizer = train("wordpiece")
    tokenizer.backend_tokenizer.enable_truncation(max_length=4)
    tokenizer.backend_tokenizer.enable_padding(length=128)
    pruned, kept_ids = prune_tokenizer(tokenizer, ENGLISH)
    assert pruned.backend_tokenizer.truncation is pruned.backend_tokenizer.padding is None
    assert old_ids(kept_ids, pruned(ENGLISH)) == tokenizer(ENGLISH, truncation=False, padding=False)["input_ids"]
    assert len(pruned.backend_tokenizer.encode("going home").ids) == 2


def test_pruning_leaves_the_given_tokenizer_alone():
    tokenizer = train("bpe")
    tokenizer.backend_tokenizer.enable_padding(length=128)
    before = backend_json(tokenizer)
    prune_tokenizer(tokenizer, ENGLISH)
    assert backend_json(tokenizer) == before


def test_pruning_keeps_sides_and_lengths():
    tokenizer = train("wordpiece", model_max_length=33)
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    pruned, _ = prune_tokenizer(tokenizer, ENGLISH)
    assert (pruned.padding_side, pruned.truncation_side, pruned.model_max_length) == ("left", "left", 33)


def test_a_slow_tokenizer_cannot_be_pruned():
    with pytest.raises(ValueError, match="ByT5Tokenizer is not a fast tokenizer"):
        prune_tokenizer(ByT5Tokenizer(), TEXTS)


def test_a_tokenizer_without_a_pad_token_cannot_be_pruned():
    backend = train("word").backend_tokenizer
    with pytest.raises(
        ValueError, match=r"no pad token; set one, as in `tokenizer\.pad_token = tokenizer\.eos_token`"
    ):
        prune_tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend), TEXTS)


def test_pruning_to_no_texts_is_an_error():
    with pytest.raises(ValueError, match="All of the 0 texts are empty"):
        prune_tokenizer(train("word"), [])
