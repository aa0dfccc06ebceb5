"""Values as people type them, and options that are refused before anything is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from lossmaxpool.cli import arguments
from lossmaxpool.cli.parser import CommandParser
from tests.cli import status


def parsed(words: Sequence[object], command: str = "sweep") -> Any:
    parser = CommandParser(prog=f"lossmaxpool {command}")
    getattr(arguments, command)(parser)
    return parser.parse(["--out", "out", *map(str, words)])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--methods base,lmp", ["base", "lmp"]),
        ("--methods base lmp", ["base", "lmp"]),
        ("--methods=base,lmp", ["base", "lmp"]),
        ("--methods [base,lmp]", ["base", "lmp"]),
        ("--methods base+", ["base+"]),
        ("--seeds 0", [0]),
        ("--seeds 0,1", [0, 1]),
        ("--seeds 0 1 2", [0, 1, 2]),
        ("--p 1,1.3,inf", [1.0, 1.3, math.inf]),
        ("--p .inf", [math.inf]),
        ("--p 2", [2.0]),
        ("--min_support 0.25,1", [0.25, 1.0]),
    ],
)
def test_lists(words: str, expected: list[Any]) -> None:
    axis = words.split("=")[0].split()[0].removeprefix("--")
    assert parsed(words.split())[axis] == expected


@pytest.mark.parametrize(
    "size", ["192", "192,192", "192x192", "[192,192]", "192 192", "[192, 192]"]
)
def test_sizes(size: str) -> None:
    words = ["--optimization.crop_size", *([size] if "[" in size else size.split())]
    assert parsed(words).optimization.crop_size == (192, 192)


@pytest.mark.parametrize("text", ["0.5,2", "[0.5,2.0]", "0.5 2"])
def test_a_range_of_scales(text: str) -> None:
    words = ["--optimization.scale_range", *text.split()]
    assert parsed(words).optimization.scale_range == (0.5, 2.0)


@pytest.mark.parametrize("p", ["inf", ".inf", "Infinity"])
def test_an_infinite_exponent(p: str) -> None:
    options = parsed(["--method", "lmp", "--loss.p", p], "train")
    assert options.loss.p == math.inf


def test_a_flag_may_leave_its_group_out() -> None:
    words = ["--method", "lmp", "--steps", 7, "--crop", 192, "--p=inf", "--batch_size", 2]
    options = parsed(words, "train")
    assert (options.optimization.steps, options.optimization.batch_size) == (7, 2)
    assert options.optimization.crop_size == (192, 192)
    assert options.loss.p == math.inf
    # An option of that name itself comes first.
    assert parsed(["--p", 2]).p == [2.0]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--steps abc", "optimization.steps is 'abc': expected a whole number"),
        ("--seeds 0,x", "seeds is 'x': expected a whole number"),
        ("--workers 1.5", "hardware.workers is '1.5': expected a whole number"),
        ("--lr fast", "optimization.lr is 'fast': expected a number"),
        ("--flip maybe", "optimization.flip is 'maybe': expected true or false"),
        ("--jobs 0", "jobs: 0 does not conform to restriction v>0"),
        ("--steps 3 --optimization.steps 4", "--optimization.steps is given twice: give it once"),
    ],
)
def test_a_wrong_value_is_one_line(
    words: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["compare", "--out", tmp_path / "x", *words.split()]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: {reason}"
    assert not (tmp_path / "x").exists()


def test_files_are_read_alike(tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text(
        "methods: base,lmp\nseeds: 3\np: inf\n"
        "optimisation: {crop_size: 64, scale_range: '0.5,1'}\ndata: {scene_size: 48x64}\n"
    )
    options = parsed(["--config", tmp_path / "options.yaml"])
    assert (options.methods, options.seeds, options.p) == (["base", "lmp"], [3], [math.inf])
    assert options.optimization.crop_size == (64, 64)
    assert options.optimization.scale_range == (0.5, 1.0)
    assert options.data.scene_size == (48, 64)
    (tmp_path / "group.yaml").write_text("crop_size: 32\n")
    options = parsed(["--optimization", tmp_path / "group.yaml", "--optimization.steps", 7])
    assert (options.optimization.crop_size, options.optimization.steps) == ((32, 32), 7)


def test_a_schedule_is_a_group_of_its_own() -> None:
    options = parsed(["--loss.p_schedule", "{kind: cosine, start: 2}", "--method", "lmp"], "train")
    assert (options.loss.p_schedule.kind, options.loss.p_schedule.start) == ("cosine", 2.0)


def test_the_old_spelling_works_and_names_the_new_one() -> None:
    with pytest.warns(UserWarning, match="--optimisation.steps is called --optimization.steps now"):
        options = parsed(["--optimisation.steps", "7"])
    assert options.optimization.steps == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--methods lpm", "methods must be one of 'base', 'base+', 'loss-only', 'lmp'"),
        ("--methods base,lpm", "Did you mean 'lmp'?"),
        ("--optimization.crop_size a,b", "crop_size is 'a,b': expected one number, or two"),
        ("--optimization.crop_size 1,2,3", "expected one number, or two such as 192,256"),
        ("--seeds 0 --seeds 1", "--seeds is given twice"),
        ("--optimization.steps 3 --optimization.steps=4", "--optimization.steps is given twice"),
        ("--optimization.steps 3 --optimisation.steps 4", "given twice"),
        ("--loss.p 2", "--loss.p has no effect here: a sweep takes --p"),
        ("--loss.min_support 0.9", "a sweep takes --min_support"),
        ("--method lmp", "give --methods"),
        ("--seed 3", "give --seeds"),
    ],
)
@pytest.mark.filterwarnings("ignore:--optimisation")
def test_what_is_refused(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["sweep", "--out", tmp_path / "out", *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_mistyped_method_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["train", "--out", "out", "--method", "LMP"]) == 2
    told = capsys.readouterr().err
    assert "Did you mean 'lmp'?" in told
    assert "'bootstrap'" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xd8", "is not a text file: expected a YAML file of options"),
        (b"seed: 1\nloss: {p: 2}\nseed: 2\n", "the key 'seed' is on line 1 and again on line 3"),
        (b"loss:\n  p: 2\n  p: 3\n", "the key 'p' is on line 2 and again on line 3"),
        (b"- seed\n", "expected a YAML mapping"),
        (b"seed: [\n", "is not valid YAML"),
        (b"optimization: {steps: 1}\noptimisation: {steps: 2}\n", "keep optimization"),
        (b"method: LMP\n", "Did you mean 'lmp'?"),
        (None, "No such file or directory; expected a YAML file"),
    ],
)
def test_a_file_that_is_none_is_one_line(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "options.yaml"
    if content is not None:
        path.write_bytes(content)
    assert status(["train", "--out", tmp_path / "out", "--config", path]) == 2
    told, help_ = capsys.readouterr().err.splitlines()
    assert told.startswith("error: ")
    assert message in told
    assert help_ == "lossmaxpool train --help lists the options"


def test_a_sweep_takes_p_of_a_file_where_no_flag_gives_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(yaml.safe_dump({"loss": {"p": 1.7, "min_support": 0.5}}))
    words = ["sweep", "--config", path, "--methods", "lmp", "--dry-run"]
    assert status([*words, "--out", tmp_path / "a"]) == 0
    assert status([*words, "--p", "inf", "--out", tmp_path / "b"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "--loss.p 1.7 --loss.min_support 0.5" in first
    assert "--loss.p inf --loss.min_support 0.5" in second


def test_train_has_no_method_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["train", "--out", tmp_path / "out"]) == 1
    assert "give --method, one of base, base+, loss-only, lmp," in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_root_without_a_name_means_folders(tmp_path: Path) -> None:
    words = ["--method", "lmp", "--data.root", tmp_path]
    assert parsed(words, "train").data.name == "folders"
    assert parsed(["--recipe", "voc", *words], "train").data.name == "voc"
    assert parsed([], "sweep").data.name == "street-scenes"
    with pytest.raises(ValueError, match="street-scenes are drawn and have no folder"):
        parsed([*words, "--data.name", "street-scenes"], "train")


@pytest.mark.parametrize("command", ["train", "compare", "sweep"])
def test_resuming_a_mistyped_folder_starts_nothing(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [command, "--out", tmp_path / "tpyo", "--resume"]
    assert status([*words, *(["--method", "base"] if command == "train" else [])]) == 1
    assert "there is nothing to resume in" in capsys.readouterr().err
    assert not (tmp_path / "tpyo").exists()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--hardware.workers", -1, "hardware.workers is -1: expected 0 or more"),
        ("--hardware.workers", 50_000, "hardware.workers is 50000, but this machine has"),
        ("--hardware.threads", -1, "hardware.threads is -1"),
        ("--hardware.num_nodes", 0, "hardware.num_nodes is 0"),
        ("--hardware.accelerator", "cuda:0", "Lightning refuses this hardware: "),
        ("--hardware.strategy", "foo", "Lightning refuses this hardware: "),
    ],
)
def test_hardware_that_is_not_there_is_one_line(
    flag: str, value: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--method", "base", "--out", tmp_path / "out", "--hardware.cache", "true"]
    words += ["--data.train_scenes", 2, "--data.val_scenes", 2, "--data.scene_size", "48x64"]
    words += ["--model.encoder", "tu-test_resnet", "--model.weights", "none"]
    assert status([*words, flag, value]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.startswith("error: ")] == told[-1:]
    assert message in told[-1]
    assert not (tmp_path / "out").exists()
