"""What is decided of a training where it was not told."""

import pytest
import train_settings
from helpers import run_train


@pytest.mark.parametrize(("max_length", "labels", "most"), [(256, 28, 256), (256, 8_207, 127), (4_096, 80_000, 1)])
def test_an_evaluation_batch_holds_as_many_texts_as_label_attention_has_room_for(max_length, labels, most):
    assert train_settings.evaluation_batch_size(max_length, labels) == most


@pytest.mark.parametrize("rate", ["0", "0.1"])
def test_new_embeddings_learn_at_the_rate_of_the_rest(tmp_path, train_and_validation, rate):
    with pytest.raises(ValueError, match=r"`--embedding_rate` is .*, but the embeddings are new"):
        run_train(tmp_path / "model", *train_and_validation, "--embedding_rate", rate)
