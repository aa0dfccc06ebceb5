"""Recipes have the values that the paper states, and mark those that it does not state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lossmaxpool.cli import arguments
from lossmaxpool.cli.parser import CommandParser
from lossmaxpool.runs.config import (
    RECIPES,
    OptimizationConfig,
    SamplingConfig,
    recipe_file,
)
from lossmaxpool.runs.methods import METHODS
from lossmaxpool.training import TrainConfig


def content(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(recipe_file(name).read_text())
    return found


def parsed(*words: str) -> TrainConfig:
    parser = CommandParser(prog="lossmaxpool train")
    arguments.train(parser)
    method = [] if "--method" in words else ["--method", "base"]
    options = parser.parse(["--out", "out", *method, *words])
    return TrainConfig(**{key: options[key] for key in TrainConfig.__dataclass_fields__})


def test_there_is_one_for_each_data_set_of_the_evidence() -> None:
    assert RECIPES == ("camvid", "cityscapes", "voc")


@pytest.mark.parametrize("name", RECIPES)
def test_every_value_says_where_it_comes_from(name: str) -> None:
    lines = recipe_file(name).read_text().splitlines()
    leaves = [line for line in lines if line.startswith("  ")]
    assert len(leaves) == sum(len(group) for group in content(name).values())
    for line in leaves:
        _, _, origin = line.partition("  # ")
        assert origin.startswith(("Sect. ", "assumed")), line


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_that_decides_the_result_is_left_to_a_default(name: str) -> None:
    assert content(name)["optimization"].keys() == OptimizationConfig.__dataclass_fields__.keys()
    assert content(name)["sampling"].keys() == SamplingConfig.__dataclass_fields__.keys()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", RECIPES)
def test_every_method_takes_it(name: str, method: str) -> None:
    config = parsed("--recipe", name, "--method", method, "--data.root", "data")
    assert (config.method, config.data.name) == (method, name)
    saved = config.to_dict()
    for group, values in content(name).items():
        assert {key: saved[group][key] for key in values} == values


@pytest.mark.parametrize(
    ("name", "steps", "batch_size", "crop"),
    [("cityscapes", 165_000, 2, 550), ("voc", 200_000, 4, 321)],
)
def test_the_paper_s_numbers(name: str, steps: int, batch_size: int, crop: int) -> None:
    config = parsed("--recipe", name)
    assert config.optimization.steps == steps
    assert config.optimization.batch_size == batch_size
    assert config.optimization.crop_size == (crop, crop)
    assert (config.optimization.lr, config.loss.p, config.loss.min_support) == (2.5e-4, 1.3, 0.25)
    last = {"cityscapes": (150_000, 160_000, 165_000), "voc": (180_000, 190_000, 200_000)}[name]
    assert all(step % config.reporting.eval_every == 0 for step in last)


def test_what_comes_later_overrides(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("optimization: {steps: 7, lr: 0.5}\n")
    words = ["--recipe=voc", "--config", str(tmp_path / "mine.yaml"), "--optimization.lr", "0.25"]
    found = parsed(*words).optimization
    assert (found.steps, found.lr, found.batch_size) == (7, 0.25, 4)


def test_comparisons_take_it() -> None:
    parser = CommandParser(prog="lossmaxpool compare")
    arguments.compare(parser)
    options = parser.parse(["--out", "out", "--recipe", "voc", "--methods", "[base,base+,lmp]"])
    assert options.data.train_split == "train_aug"


@pytest.mark.parametrize("name", ["cityscape", ""])
def test_an_unknown_one_is_answered(name: str) -> None:
    with pytest.raises(ValueError, match=r"no recipe '.*There are: camvid, cityscapes, voc"):
        parsed("--recipe", name)


def test_a_file_cannot_name_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("recipe: voc\n")
    with pytest.raises(SystemExit):
        parsed("--config", str(tmp_path / "mine.yaml"))
    assert "recipe is a flag, no key of a file" in capsys.readouterr().err
