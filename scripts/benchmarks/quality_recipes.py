"""The recipes of `benchmark_quality.py`: options of the commands, by the names that its results have."""

LINEAR, FINE_TUNED = "TF-IDF + LR", "fine-tuned encoder"
# What is added to the options of `train`. {encoder} is that of `--encoder`; {set}, {seed} and {cells} are of the cell.
# The last one counts: WIDE after NOT_WIDE.
WIDE, NOT_WIDE = ["--wide_head", "true"], ["--wide_head", "false"]
EMBEDDINGS = ["--embeddings_from", "{encoder}", *NOT_WIDE]
CORRELATION = ["--label_correlation_size", "64"]
MORE_DROPOUT = ["--embedding_dropout", "0.4", "--classifier_dropout", "0.4"]
# A loss that is meant to start from a trained model: the cell of the recipe "embeddings" comes first.
ON_TOP = ["--model_name_or_path", "{cells}/{set}/embeddings/{seed}", "--learning_rate", "5e-4"]
ON_TOP += ["--embedding_lr_factor", "0.1", "--objective", "expected_f1", *NOT_WIDE]
PRUNED_AND_AVERAGED = [*EMBEDDINGS, "--prune_vocabulary", "true", "--weight_averaging", "0.998"]
PRUNED_AND_AVERAGED += ["--num_train_epochs", "4", *MORE_DROPOUT]
FULL_LEARNING_RATE = [*CORRELATION, *MORE_DROPOUT, "--embedding_lr_factor", "1", "--weight_averaging", "0.998"]
LONG_TEXTS = [*FULL_LEARNING_RATE, "--max_length", "512"]
# The options of `pretrain` for the encoders of a folder, from which recipes start.
PRETRAINING = {
    "encoders": ["--num_train_epochs", "4"],
    "encoders from embeddings": ["--num_train_epochs", "3", "--embeddings_from", "{encoder}"],
}
FROM_EMBEDDINGS = ["--model_name_or_path", "{cells}/encoders from embeddings/{set}", *LONG_TEXTS]
# With bigrams it would have more than ten million parameters.
SMALL = [*PRUNED_AND_AVERAGED, *WIDE, "--num_bigram_buckets", "0"]
RECIPES: dict[str, list[str]] = {
    "default": [],
    "default, no bag of tokens": NOT_WIDE,
    "default, searched": ["--search_trials", "20"],
    "embeddings": EMBEDDINGS,
    "embeddings, bag of tokens": [*EMBEDDINGS, *WIDE],
    "frozen embeddings": [*EMBEDDINGS, "--embedding_lr_factor", "0"],
    "pruned and averaged": PRUNED_AND_AVERAGED,
    "pruned and averaged, bag of tokens": SMALL,
    "pruned and averaged, bag of tokens, retrained": [*SMALL, "--retrain_with_validation", "true"],
    # For sets with a validation split: elsewhere these teachers have seen validation rows of other seeds.
    "pruned and averaged, bag of tokens, taught": [*SMALL, "--teacher", "{cells}/{set}/fine-tuned encoder/0"],
    "pruned and averaged, bag of tokens, taught by three": [
        *(*SMALL, "--teacher"),
        *(f"{{cells}}/{{set}}/pruned and averaged, bag of tokens/{seed}" for seed in range(3)),
    ],
    "pretrained": ["--model_name_or_path", "{cells}/encoders/{set}", *NOT_WIDE],
    "pretrained, bag of tokens": ["--model_name_or_path", "{cells}/encoders/{set}", *WIDE],
    "pretrained, bag of tokens, retrained": [
        *("--model_name_or_path", "{cells}/encoders/{set}", *WIDE, "--retrain_with_validation", "true"),
    ],
    "pretrained from embeddings, 512 tokens": [*FROM_EMBEDDINGS, *NOT_WIDE],
    "pretrained from embeddings, 512 tokens, bag of tokens": [*FROM_EMBEDDINGS, *WIDE],
    # One technique more.
    "averaged": [*EMBEDDINGS, "--weight_averaging", "0.998"],
    "smoothed": [*EMBEDDINGS, "--label_smoothing", "0.05"],
    "zlpr": [*EMBEDDINGS, "--objective", "zlpr"],
    "focal": [*EMBEDDINGS, "--objective", "focal"],
    "asymmetric": [*EMBEDDINGS, "--objective", "asymmetric"],
    "distribution-balanced": [*EMBEDDINGS, "--objective", "distribution_balanced"],
    "expected F1": [*ON_TOP, "--objective_parameters", "cross_entropy=0.3"],
    "expected F1, sampled": [*ON_TOP, "--objective_parameters", "cross_entropy=0.3", "samples=8"],
    "taught": [*EMBEDDINGS, "--teacher", "{cells}/{set}/fine-tuned encoder/{seed}"],
    "retrained": [*EMBEDDINGS, "--retrain_with_validation", "true"],
    "label correlation": [*EMBEDDINGS, *CORRELATION],
    "label correlation, bag of tokens": [*EMBEDDINGS, *CORRELATION, *WIDE],
    "label correlation, taught by three": [
        *(*EMBEDDINGS, *CORRELATION, "--teacher"),
        *(f"{{cells}}/{{set}}/label correlation/{seed}" for seed in range(3)),
    ],
    "label correlation, retrained": [*EMBEDDINGS, *CORRELATION, "--retrain_with_validation", "true"],
    "label correlation, full rate, averaged": [*EMBEDDINGS, *FULL_LEARNING_RATE],
    "label correlation, full rate, averaged, 512 tokens, bag of tokens": [*EMBEDDINGS, *LONG_TEXTS, *WIDE],
    "512 tokens": [*EMBEDDINGS, "--max_length", "512"],
    "1,024 tokens": [*EMBEDDINGS, "--max_length", "1024"],
    # One technique less.
    "unnamed labels": [*EMBEDDINGS, "--label_name_queries", "false"],
    "no label attention": [*EMBEDDINGS, "--pooling", "attention", "max"],
    "pruned vocabulary": [*EMBEDDINGS, "--prune_vocabulary", "true"],
    "one rate": [*EMBEDDINGS, "--embedding_lr_factor", "1"],
    "one direction": [*EMBEDDINGS, "--bidirectional", "false"],
    "dropout .1": [*EMBEDDINGS, "--embedding_dropout", "0.1", "--classifier_dropout", "0.1"],
    "dropout .4": [*EMBEDDINGS, *MORE_DROPOUT],
}
# Cells that tag together, as `tag --model a b` does.
TOGETHER = {
    "pretrained and embeddings together": [
        *("{cells}/{set}/pretrained, bag of tokens/{seed}", "{cells}/{set}/embeddings, bag of tokens/{seed}"),
    ],
    "pretrained and embeddings together, 512 tokens": [
        "{cells}/{set}/pretrained from embeddings, 512 tokens, bag of tokens/{seed}",
        "{cells}/{set}/label correlation, full rate, averaged, 512 tokens, bag of tokens/{seed}",
    ],
}
