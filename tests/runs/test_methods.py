"""Methods as plain values: what a definition means, and which ones are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from lossmaxpool.runs.config import LossConfig, TrainConfig
from lossmaxpool.runs.methods import METHODS, Imported, Own, Sum, method_named, ready

OUTSIDE = {"class_path": "torch.nn.CrossEntropyLoss", "init_args": {"label_smoothing": 0.1}}
LOSSES: dict[str, dict[str, Any]] = {
    "outside": OUTSIDE | {"label": "Outside", "lr": 0.5},
    "bootstrap+": {"method": "bootstrap", "sampler": True},
    "weighted": {"method": "lmp", "class_weights": "median-frequency"},
    "both": {"sum": [{"method": "weighted"}, {"method": "outside"}], "weights": [1, 0.5]},
    "lmp": {"lr": 0.02},
}


def test_a_definition_says_how_a_criterion_is_built() -> None:
    outside = method_named("outside", LOSSES)
    assert outside.criterion == Imported(OUTSIDE["class_path"], OUTSIDE["init_args"])
    assert (outside.label, outside.lr, outside.sampler) == ("Outside", 0.5, False)
    weighted = method_named("weighted", LOSSES)
    assert weighted.criterion == Own("max-pooling", "median-frequency")
    assert weighted.sampler, "as lmp has it"
    both = method_named("both", LOSSES)
    assert both.criterion == Sum((weighted.criterion, outside.criterion), (1.0, 0.5))
    assert both.max_pooled
    assert not both.sampler
    assert method_named("bootstrap+", LOSSES).criterion == METHODS["bootstrap"].criterion
    assert method_named("lmp", LOSSES) == replace(METHODS["lmp"], lr=0.02)


@pytest.mark.parametrize("name", [*LOSSES, *ready(), "base"])
def test_the_configuration_of_a_run_needs_no_other_file(name: str) -> None:
    shared = TrainConfig(name, losses=LOSSES, loss=LossConfig(p=1.7))
    own = shared.resolved()
    assert own.losses.keys() <= {name}
    assert own == own.resolved()
    assert own == TrainConfig.from_dict(yaml.safe_load(yaml.safe_dump(own.to_dict())))
    assert own.optimization.lr == (shared.chosen.lr or shared.optimization.lr)
    assert replace(own.chosen, lr=None) == replace(shared.chosen, lr=None)


def test_further_definitions_change_no_run_of_the_package() -> None:
    assert TrainConfig("base", losses=LOSSES).resolved() == TrainConfig("base")
    assert TrainConfig.from_dict({"method": "lmp"}).losses == {}, "a folder of version 0.2"


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"x": {}}, "losses.x has neither class_path nor method nor sum"),
        ({"x": {"class_path": "a.b", "method": "base"}}, "has class_path and method: expected one"),
        ({"x": {"class_path": "a.b", "init_arg": {}}}, "no option losses.x.init_arg.*'init_args'"),
        ({"x": {"class_path": "a.b", "init_args": [1]}}, r"init_args is \[1\]: expected .* name"),
        ({"x": OUTSIDE | {"valid_only": 1}}, "losses.x.valid_only is 1: expected true or false"),
        ({"x": OUTSIDE | {"target_channel": "y"}}, "target_channel is 'y': expected true or false"),
        ({"x": {"class_path": 3}}, "losses.x.class_path is 3: expected a text"),
        ({"x": {"method": "lpm"}}, "method is lpm: .* Did you mean 'lmp'"),
        ({"x": {"method": "y"}, "y": {"method": "x"}}, "defined by itself: x -> y -> x"),
        ({"x": {"sum": []}}, r"losses.x.sum is \[\]: expected a list"),
        ({"x": {"sum": [{"method": "base"}], "weights": [1, 2]}}, "expected 1 numbers"),
        ({"x": {"sum": [3]}}, r"losses.x.sum\[0\] is 3: expected a mapping"),
        ({"x": {"method": "base", "class_weights": "inverse"}}, "class_weights is 'inverse': exp"),
        ({"x": {"method": "dice-ce", "class_weights": "median-frequency"}}, "weight its parts"),
        ({"x": {"method": "base", "lr": -1}}, "losses.x.lr is -1: expected a positive number"),
        ({"x": {"method": "base", "sampler": "yes"}}, "sampler is 'yes': expected true or false"),
        ({"x": {"method": "base", "label": 3}}, "losses.x.label is 3: expected a text"),
        ({"lmp": OUTSIDE}, "losses.lmp has the name of a method of the package"),
        ({"base": {"sampler": True}}, "leave out sampler"),
        ({"../x": OUTSIDE}, "expected a name of letters"),
    ],
)
def test_a_wrong_definition_is_one_line(losses: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        TrainConfig(losses=losses)
    assert "\n" not in str(error.value)
