"""What is understood of the arguments."""

import re

import pytest
from train_arguments import ModelArguments


@pytest.mark.parametrize("wrong", ["gamma", "gamma=", "gamma=two", "gamma=true", "gamma=[2]", "gamma 2"])
def test_a_parameter_of_the_objective_that_is_no_number_is_told(wrong):
    with pytest.raises(ValueError, match=re.escape(f"holds {wrong!r}; give each name once, as gamma=2")):
        _ = ModelArguments(objective_parameters=["margin=0.1", wrong]).objective_numbers


def test_parameters_of_the_objective_are_whole_numbers_or_fractions_each_given_once():
    numbers = ModelArguments(objective_parameters=["samples=8", "cross_entropy=.5", "mu=1e-3"]).objective_numbers
    assert repr(numbers) == "{'samples': 8, 'cross_entropy': 0.5, 'mu': 0.001}"
    with pytest.raises(ValueError, match="holds 'gamma=2'; give each name once"):
        _ = ModelArguments(objective_parameters=["gamma=1", "gamma=2"]).objective_numbers
