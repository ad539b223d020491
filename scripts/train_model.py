"""The net that `train.py` trains, and its tokenizer: new, or started from a checkpoint or from other embeddings."""

import os

from safetensors import SafetensorError
from train_arguments import (
    ARCHITECTURE,
    DROPOUT,
    DROPOUT_OF_FEW,
    FEW_TEXTS,
    HEAD,
    LARGEST_BAG,
    LARGEST_WHOLE_VOCABULARY,
    DataArguments,
    EncoderArguments,
    ModelArguments,
    refuse_settings,
)
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForMaskedLM, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.data import prune_tokenizer, train_tokenizer
from hf_rnn_multilabel.hub.provenance import shown_name
from hf_rnn_multilabel.training.embeddings import start_embeddings, vectors_from_file, vectors_from_model
from hf_rnn_multilabel.training.label_names import share_in_texts, start_from_label_names


TAGGER, MASKED_LM = RnnMultilabelForSequenceClassification.__name__, RnnMultilabelForMaskedLM.__name__
MAKERS = {TAGGER: AutoModelForSequenceClassification, MASKED_LM: AutoModelForMaskedLM}
# Whether texts are in the language of the labels' names is to be seen in so many.
TEXTS_FOR_NAMES = 10_000


def takes_embeddings_of_a_model(args: EncoderArguments) -> bool:
    """Whether the embeddings start from another model's, and not from a file of word vectors."""
    return args.embeddings_from is not None and not os.path.isfile(args.embeddings_from)


def make_tokenizer(args: EncoderArguments, data_args: DataArguments, texts: list[str]):
    """The tokenizer, and the vectors to start the embeddings from, if any."""
    source = args.embeddings_from
    vectors = None
    if args.prune_vocabulary is not None and not takes_embeddings_of_a_model(args):
        raise ValueError(
            f"`--prune_vocabulary` is {str(args.prune_vocabulary).lower()}, but only a model in `--embeddings_from` "
            f"brings a vocabulary to prune or to keep whole, not {source!r}; leave it out."
        )
    if args.model_name_or_path is not None:
        if source is not None or args.tokenizer_name is not None:
            raise ValueError(
                "`--model_name_or_path` brings its own tokenizer and embeddings; leave out `--embeddings_from` and "
                "`--tokenizer_name`."
            )
        tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path, trust_remote_code=args.trust_remote_code)
    elif source is not None and takes_embeddings_of_a_model(args):
        tokenizer = AutoTokenizer.from_pretrained(args.tokenizer_name or source)
        if tokenizer.pad_token is None:
            raise ValueError(f"The tokenizer of {source!r} has no pad token; save it with one, as its `eos_token`.")
        kept_ids = list(range(len(tokenizer)))
        is_pruned = args.prune_vocabulary
        if is_pruned is None:
            # Ids that do not count from 0 on are made to.
            has_gaps = max(tokenizer.get_vocab().values()) >= len(tokenizer)
            is_pruned = has_gaps or len(tokenizer) > LARGEST_WHOLE_VOCABULARY
        if is_pruned:
            tokenizer, kept_ids = prune_tokenizer(tokenizer, texts)
        vectors = vectors_from_model(source, kept_ids)
    elif args.tokenizer_name is not None:
        tokenizer = AutoTokenizer.from_pretrained(args.tokenizer_name)
    else:
        # Word vectors are of whole words.
        algorithm = args.tokenizer_algorithm if source is None else "word"
        tokenizer = train_tokenizer(texts, algorithm=algorithm, vocab_size=args.vocab_size, lowercase=args.lowercase)
    if source is not None and os.path.isfile(source):
        vectors = vectors_from_file(source, tokenizer)[0]
    tokenizer.model_max_length = data_args.max_length
    return tokenizer, vectors


def make_model(
    args: ModelArguments,
    tokenizer: PreTrainedTokenizerBase,
    vectors,
    encoding,
    texts: list[str],
    distillation: dict | None = None,
) -> tuple[RnnMultilabelForSequenceClassification, int]:
    """A new model, or one whose encoder and, where the labels are the same, head are those of a checkpoint.

    A new head's pooling and dropouts depend on the training texts where they are not given. Returns too how many
    labels' attention starts from their names.
    """
    settings = {
        "id2label": dict(enumerate(encoding.label_names)),
        "label2id": {name: index for index, name in enumerate(encoding.label_names)},
        "label_frequencies": encoding.frequencies,
        "positive_weights": "balanced" if args.balance_positives else None,
        "objective": args.objective,
        "objective_parameters": args.objective_numbers,
        "label_smoothing": args.label_smoothing,
        # That of a checkpoint is not trained on: it is fitted anew when the net is trained.
        "bag_weight": 0.0,
        "bag_pairs": args.bag_pairs,
    }
    if distillation is not None:
        settings |= {f"distillation_{name}": distillation[name] for name in ("weight", "temperature")}
    if args.model_name_or_path is not None:
        model, has_new_head = load_model(args.model_name_or_path, settings, args, texts)
    else:
        settings |= head_settings(args, encoding.label_names, texts)
        model = new_model(RnnMultilabelForSequenceClassification, args, tokenizer, vectors, settings)
        has_new_head = True
    named = 0
    if has_new_head and args.label_name_queries and "label_attention" in model.config.poolings:
        named = start_from_label_names(model, tokenizer)
        print(f"The attention of {named:,} of {model.num_labels:,} labels starts from their names.")
    return model, named


def takes_bag(args: ModelArguments, tokens: int, labels: int) -> bool:
    """Whether a bag of so many tokens and labels is to be put beside the net; says so where it is left out by size."""
    if args.bag_of_tokens is not None:
        return args.bag_of_tokens
    weights = (args.bag_pairs + tokens) * labels
    if weights > LARGEST_BAG:
        print(
            f"A logistic regression on the tokens would have {weights:,} weights, more than {LARGEST_BAG:,}: it is "
            "left out. `--bag_of_tokens true` takes it, fewer `--bag_pairs` make it smaller."
        )
    return weights <= LARGEST_BAG


def new_model(model_class: type, args: EncoderArguments, tokenizer: PreTrainedTokenizerBase, vectors, settings: dict):
    """A net with drawn weights, but for embeddings that start elsewhere."""
    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        embedding_size=args.embedding_size if vectors is None else vectors.shape[1],
        hidden_size=args.hidden_size,
        num_hidden_layers=args.num_hidden_layers,
        cell_type=args.cell_type,
        bidirectional=args.bidirectional,
        pad_token_id=tokenizer.pad_token_id,
        **settings,
    )
    model = model_class(config)
    if vectors is not None:
        started = start_embeddings(model, vectors)
        print(f"{started:,} of {len(tokenizer):,} embeddings start from {args.embeddings_from}.")
    return model


def head_settings(args: ModelArguments, names: list[str], texts: list[str]) -> dict:
    """Pooling, label correlation and dropouts, as the configuration has them."""
    pooling = default_pooling(args, names, texts) if args.pooling is None else args.pooling
    dropout = DROPOUT if len(texts) >= FEW_TEXTS else DROPOUT_OF_FEW
    given = {name: value for name in HEAD if (value := getattr(args, name)) is not None}
    unsaid = {"embedding_dropout": dropout, "classifier_dropout": dropout}
    return unsaid | given | {"pooling": pooling[0] if len(pooling) == 1 else pooling}


def default_pooling(args: ModelArguments, names: list[str], texts: list[str]) -> list[str]:
    """With label attention where something is known of the labels' names; elsewhere it was of little use, or did harm.

    Another model's embeddings know words that the training texts lack.
    """
    if takes_embeddings_of_a_model(args) or share_in_texts(names, texts[:TEXTS_FOR_NAMES]) >= 0.5:
        return ["attention", "max", "label_attention"]
    print("Most labels' names have no word in the training texts, so there is no label attention; see `--pooling`.")
    return ["attention", "max"]


def load_config(name_or_path: str, trust_remote_code: bool) -> RnnMultilabelConfig:
    """The configuration of a checkpoint to start from."""
    config = AutoConfig.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    if config.model_type != RnnMultilabelConfig.model_type:
        raise ValueError(
            f"{name_or_path!r} is a {config.model_type!r} model; give a {RnnMultilabelConfig.model_type!r} one, or "
            "start a new one from its embeddings with `--embeddings_from`."
        )
    return config


def load_model(name_or_path: str, settings: dict, args: ModelArguments, texts: list[str]):
    """A checkpoint with these labels, and whether its head is new.

    A tagger keeps its settings, and its head where it has the same labels; an encoder without a tagger's head gets a
    new one, with the pooling and the dropouts of `args` or, where they are not given, those for the texts. With the
    same labels it keeps its thresholds until they are tuned anew, as an objective may ask for them, but for those of a
    mixture with a bag of tokens: it goes on without the bag.
    """
    remote = {"trust_remote_code": args.trust_remote_code}
    config = load_config(name_or_path, **remote)
    had_bag = bool(config.bag_weight)
    architecture = (config.architectures or [TAGGER])[0]
    is_tagger = architecture == TAGGER
    refuse_settings(args, ARCHITECTURE if is_tagger else ARCHITECTURE - HEAD)
    has_same_labels = is_tagger and config.label_names == list(settings["label2id"])
    if not is_tagger:
        settings = settings | head_settings(args, list(settings["label2id"]), texts)
    for name, value in settings.items():
        setattr(config, name, value)
    if had_bag or not has_same_labels:
        config.thresholds = None
    config.validate()
    try:
        if has_same_labels:
            return AutoModelForSequenceClassification.from_pretrained(name_or_path, config=config, **remote), False
        trained = MAKERS.get(architecture, AutoModel).from_pretrained(name_or_path, **remote)
    except SafetensorError as error:
        raise ValueError(f"The weights in {name_or_path!r} are broken ({error}); fetch or save them again.") from error
    model = AutoModelForSequenceClassification.from_config(config, **remote)
    model.rnn.load_state_dict(trained.base_model.state_dict())
    if is_tagger:
        model.pooling.load_state_dict(trained.pooling.state_dict())
    return model, True


def tokenizer_origin(args: EncoderArguments) -> str:
    """Where the tokenizer came from, in words."""
    taken_from = args.model_name_or_path or args.tokenizer_name or args.embeddings_from
    is_trained = taken_from is None or (args.embeddings_from == taken_from and os.path.isfile(taken_from))
    return "trained on the training texts" if is_trained else f"that of {shown_name(taken_from)}"
