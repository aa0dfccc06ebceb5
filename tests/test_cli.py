from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from reproduction.__main__ import main as reproduce

from lossmaxpool.cli import COMMANDS, main
from lossmaxpool.cli.networks import format_scores
from lossmaxpool.cli.parser import nearest_option
from lossmaxpool.cli.trainings import configuration, first_unfinished
from lossmaxpool.metrics import ConfusionMatrix
from lossmaxpool.runs.record import RunRecord
from lossmaxpool.training import train
from tests.cli import status
from tests.tolerances import PRINTED, PRINTED_PERCENT
from tests.training.runs import tiny


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A YAML file of the smallest run."""
    config = tiny()
    short = replace(config, optimization=replace(config.optimization, steps=2))
    path = tmp_path_factory.mktemp("cli") / "tiny.yaml"
    path.write_text(yaml.safe_dump(short.to_dict()))
    return path


@pytest.fixture(scope="module")
def trained(options: Path) -> Path:
    """A run folder, trained by the command from the file and a flag."""
    out = options.parent / "trained"
    words = ["train", "--config", options, "--out", out, "--loss.p", "1.7"]
    assert main([str(word) for word in words]) == 0
    return out


def data_flags() -> list[str]:
    return ["--data.scene_size", "[48,64]", "--data.train_scenes", "6", "--data.val_scenes", "3"]


def test_help_comes_without_torch_and_the_training_libraries() -> None:
    code = "import sys; from lossmaxpool.cli import main; main(['--help']); print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert all(name in result.stdout for name in COMMANDS)
    modules = result.stdout.splitlines()[-1].split()
    heavy = {"torch", "lightning", "torchvision", "timm", "jsonargparse", "matplotlib"}
    assert not heavy & set(modules)


def on_a_terminal(words: Sequence[str]) -> str:
    """The output of the command where it writes to a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "lossmaxpool", *words]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        written = b""
        with suppress(OSError):  # on Linux, the end of a closed terminal
            while part := os.read(ours, 4096):
                written += part
    os.close(ours)
    return written.decode()


def test_a_terminal_shows_that_a_command_has_begun() -> None:
    written = on_a_terminal(["inspect", "--data.nmae", "x"])
    begun, clear, rest = written.partition("\r\x1b[K")
    assert begun == "lossmaxpool inspect: starting ..."
    assert clear
    assert rest.startswith("error: ")


def test_nothing_but_a_terminal_shows_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert status(["inspect", "--data.nmae", "x"]) == 2
    assert capfd.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", [["--help"], ["inspect", *data_flags()]], ids=["help", "inspect"])
def test_a_reader_that_leaves_ends_a_command_quietly(words: list[str], buffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "lossmaxpool", *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": buffered},
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_evaluate_writes_its_file_for_a_reader_that_leaves(trained: Path, tmp_path: Path) -> None:
    words = ["evaluate", trained, "--json", tmp_path / "scores.json"]
    command = [sys.executable, "-m", "lossmaxpool", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith(b"checkpoint")
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141
    assert "miou" in json.loads((tmp_path / "scores.json").read_text())


@pytest.mark.parametrize("command", ["compare", "sweep"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_missing_data_are_refused_before_a_run_is_announced(
    command: str, jobs: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data.name", "folders", "--data.root", tmp_path / "nowhere"]
    words = [command, *data, "--out", tmp_path / "out", "--seeds", "0,1", "--jobs", jobs]
    assert status(words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "nowhere" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_comes_without_them(command: str) -> None:
    code = (
        "import sys\nfrom lossmaxpool.cli import main\n"
        f"try: main(['{command}', '--help'])\nexcept SystemExit: print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = result.stdout.splitlines()[-1].split()
    assert not {"torch", "lightning", "numpy", "timm"} & set(modules)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status([name, "--help"]) == 0
    usage, *_ = capsys.readouterr().out.splitlines()
    assert usage.startswith(f"usage: lossmaxpool {name} ")
    assert usage.endswith("[options]")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lossmaxpool ")


def test_an_unknown_command_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["trian"]) == 2
    assert "Did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--stepz", "optimization.steps"),
        ("--optimization.lrate", "optimization.lr"),
        ("--data.nmae", "data.name"),
        ("--sed", "seed"),
        ("--resum", "resume"),
    ],
)
def test_a_wrong_flag_is_answered(
    flag: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["train", "--out", tmp_path / "run", flag, "1"]) == 2
    assert f"did you mean '{meant}'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("optimization:\n  batchsize: 3\n", "optimization.batch_size"),
        ("sead: 3\n", "seed"),
        ("optimizations:\n  lr: 3\n", "optimization"),
        ("data:\n  rooot: x\n", "data.root"),
    ],
)
def test_a_wrong_key_of_a_file_is_answered(
    text: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.yaml").write_text(text)
    words = ["train", "--config", tmp_path / "wrong.yaml", "--out", tmp_path / "run"]
    assert status(words) == 2
    assert f"did you mean '{meant}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("default:.*are never drawn")
def test_a_bad_picture_in_a_worker_is_one_line(
    options: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for split in ("train", "val"):
        for kind, mode, size in (("images", "RGB", (64, 48)), ("masks", "L", (64, 40))):
            (data / split / kind).mkdir(parents=True)
            Image.new(mode, size).save(data / split / kind / "a.png")
    (data / "classes.txt").write_text("road\nsky\n")
    words = ["train", "--config", options, "--out", tmp_path / "run", "--hardware.workers", "1"]
    words += ["--hardware.cache", "false"]  # counting would decode the picture first
    words += ["--method", "lmp", "--sampling.update_interval", "4"]
    assert status([*words, "--data.name", "folders", "--data.root", data]) == 1
    *warned, told = capsys.readouterr().err.splitlines()
    assert told.startswith("error: ")
    assert "masks/a.png is 64x40" in told
    # A warning along the way is one line, too.
    assert [line for line in warned if line] == [
        "warning: 1 of 2 classes have no pixel in the data and are never drawn: sky"
    ]


def test_nothing_near_gets_no_hint() -> None:
    assert nearest_option("xyzzy", ["seed", "optimization.lr"]) == ""


def test_a_value_of_the_wrong_type_names_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["train", "--out", tmp_path / "run", "--optimization.lr", "fast"]) == 2
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == "error: optimization.lr is 'fast': expected a number"


@pytest.mark.parametrize("command", ["compare", "sweep"])
def test_a_folder_that_cannot_be_made_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "out"
    assert status([command, "--out", out]) == 1
    assert capsys.readouterr().err == f"error: {out}: Not a directory\n"


@pytest.mark.parametrize("command", ["compare", "sweep"])
def test_no_job_at_all_is_refused_before_anything_is_written(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status([command, "--out", tmp_path / "out", "--jobs", "0"]) == 2
    assert "jobs" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_value_out_of_range_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["train", "--out", tmp_path / "run", "--loss.p", "0.5"]) == 1
    assert capsys.readouterr().err.startswith("error: p must be a norm exponent")


def test_flags_override_the_file(trained: Path) -> None:
    saved = yaml.safe_load((trained / "config.yaml").read_text())
    assert saved["loss"]["p"] == 1.7
    assert saved["optimization"]["steps"] == 2


def test_an_infinite_p_trains(options: Path, tmp_path: Path) -> None:
    words = ["train", "--config", options, "--out", tmp_path / "run"]
    assert status([*words, "--method", "loss-only", "--loss.p", ".inf"]) == 0
    assert RunRecord.read(tmp_path / "run").config["loss"]["p"] == "inf"
    assert status(["train", "--out", tmp_path / "run", "--resume"]) == 0


def test_a_folder_in_use_is_refused(
    trained: Path, options: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["train", "--config", options, "--out", trained]) == 1
    assert "not empty: choose a new folder, or add --resume" in capsys.readouterr().err


def test_resume_takes_the_saved_options(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["train", "--out", trained, "--resume"]) == 0
    assert RunRecord.read(trained).config["loss"]["p"] == 1.7
    assert status(["train", "--out", trained, "--resume", "--loss.p", "1.1"]) == 1
    assert "loss.p: 1.7 -> 1.1" in capsys.readouterr().err


def test_evaluate_repeats_the_evaluation_of_the_run(trained: Path, tmp_path: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    assert status(["evaluate", last, *data_flags(), "--json", tmp_path / "scores.json"]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["step"] == RunRecord.read(trained).evaluations[-1].step
    record = RunRecord.read(trained)
    assert sum(map(sum, scores["confusion"])) == sum(record.val_pixels)
    assert scores["miou"] == pytest.approx(record.miou, abs=PRINTED)


def test_a_checkpoint_of_other_classes_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
    assert status(["evaluate", trained, "--data.name", "folders", "--data.root", tmp_path]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_export_writes_the_weights_beside_the_checkpoints(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", trained, "--format", "safetensors", "--out", tmp_path / "net.safetensors"]
    assert status(words) == 0
    assert f"{tmp_path / 'net.safetensors.json'}\n" in capsys.readouterr().out
    said = json.loads((tmp_path / "net.safetensors.json").read_text())
    assert said["checkpoint"] == str(trained / "checkpoints" / "last.ckpt")
    assert status(words) == 1
    assert "net.safetensors exists" in capsys.readouterr().err


def test_predict_writes_one_mask_per_image(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (70, 50), (90, 90, 90)).save(tmp_path / "images" / "street.png")
    assert status(["predict", trained, tmp_path / "images", "--out", tmp_path / "out"]) == 0
    with Image.open(tmp_path / "out" / "ids" / "street.png") as mask:
        assert mask.size == (70, 50)


def test_evaluate_knows_the_run_s_own_data_and_says_what_it_scores(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a word about the data: the scores of the record, and of the same checkpoint."""
    assert status(["evaluate", trained]) == 0
    out = capsys.readouterr().out
    record = RunRecord.read(trained)
    assert f"{trained / 'checkpoints' / 'last.ckpt'}, after step {len(record.curve)}" in out
    assert "street-scenes/val, 3 images" in out
    assert all(word in out for word in ("IoU", "precision", "recall", "Dice (F1)"))
    (miou,) = [line.split()[-1] for line in out.splitlines() if line.startswith("mIoU")]
    assert float(miou) == pytest.approx(100 * record.miou, abs=PRINTED_PERCENT)
    assert status(["evaluate", trained, "--data.val_scenes", "2", "--checkpoint", "best"]) == 0
    out = capsys.readouterr().out
    assert "best.ckpt" in out
    assert "street-scenes/val, 2 images" in out


def test_calibrate_fits_on_one_half_and_is_used_where_it_is_asked_for(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    # A network of two steps knows nothing. This one knows how frequent the classes are, too well.
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    pixels = torch.tensor(RunRecord.read(run).val_pixels)
    content["state_dict"]["model.segmentation_head.0.weight"].zero_()
    content["state_dict"]["model.segmentation_head.0.bias"].copy_(3 * (1 + pixels).log())
    torch.save(content, run / "checkpoints" / "last.ckpt")
    assert status(["evaluate", run, "--calibrated"]) == 1
    assert "fit a temperature first, lossmaxpool calibrate" in capsys.readouterr().err
    assert status(["calibrate", run]) == 0
    out = capsys.readouterr().out
    assert "fitted to the first 1 images; on the other 2" in out
    file = run / "checkpoints" / "last.temperature.json"
    said = json.loads(file.read_text())
    assert 1.5 < said["temperature"] < 6
    assert f"temperature {said['temperature']:.3f}" in out
    assert said["data"] == {"name": "street-scenes", "split": "val"}
    assert said["after"]["nll"] != said["before"]["nll"]
    assert status(["calibrate", run]) == 1
    assert "add --overwrite" in capsys.readouterr().err
    assert "warning" not in capsys.readouterr().err
    assert status(["calibrate", run, "--overwrite", "--seed", "1", "--split", "train"]) == 0
    assert "the network was trained on these images" in capsys.readouterr().err
    found = {}
    for name, flags in (("plain", []), ("calibrated", ["--calibrated"])):
        scores = tmp_path / f"{name}.json"
        assert status(["evaluate", run, "--json", scores, *flags]) == 0
        found[name] = json.loads(scores.read_text())
        assert "calibration error (ECE)" in capsys.readouterr().out
    assert found["plain"]["confusion"] == found["calibrated"]["confusion"]
    assert found["plain"]["temperature"] == 1
    plain, after = (each["calibration"] for each in found.values())
    assert sum(plain["pixels"]) == sum(after["pixels"]) == sum(RunRecord.read(run).val_pixels)
    assert plain["ece"] != after["ece"]
    (tmp_path / "images").mkdir()
    Image.new("RGB", (70, 50), (90, 90, 90)).save(tmp_path / "images" / "street.png")
    words = ["predict", run, tmp_path / "images", "--out", tmp_path / "out", "--calibrated"]
    assert status(words) == 1
    assert "--confidence" in capsys.readouterr().err
    assert status([*words, "--confidence"]) == 0
    with Image.open(tmp_path / "out" / "confidence" / "street.png") as picture:
        assert picture.size == (70, 50)
    words = ["export", run, "--format", "safetensors", "--calibrated"]
    assert status(words) == 1
    assert "safetensors hold the weights alone" in capsys.readouterr().err


def test_evaluate_and_predict_explain_a_wrong_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    for words, message in (
        ([trained.parent], "holds 1 runs (trained): give one of them"),
        ([tmp_path / "gone"], "there is no run folder or checkpoint"),
        ([last, "--checkpoint", "best"], "is a checkpoint itself"),
        ([trained, "--device", "cuda:77"], "--device cuda:77 cannot be used ("),
    ):
        for command in (["evaluate"], ["predict", tmp_path, "--out", tmp_path / "out"]):
            name, *rest = command
            assert status([name, *words[:1], *rest, *words[1:]]) == 1
            error = capsys.readouterr().err
            assert error.startswith("error: ")
            assert message in error
            assert error.count("\n") == 1


def test_explore_writes_the_page_of_a_run_or_of_the_example(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "explorer.html"
    assert status(["explore", "--out", out]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    example = out.read_text(encoding="utf-8")
    assert status(["explore", trained, "--out", out, "--images", "2"]) == 0
    page = out.read_text(encoding="utf-8")
    assert page != example
    assert page.count("data:image/jpeg") == 2
    assert "The images are 2 of 3 of street-scenes/val" in page
    assert '"p":1.7' in page  # of the run
    rng = np.random.default_rng(0)
    classes = len(RunRecord.read(trained).classes)
    Image.fromarray(rng.integers(256, size=(40, 60, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    ids = rng.integers(classes, size=(40, 60), dtype=np.uint8)
    Image.fromarray(ids).save(tmp_path / "m.png")
    words = ["explore", trained, "--image", tmp_path / "a.png", "--mask", tmp_path / "m.png"]
    assert status([*words, "--out", out]) == 0
    assert "The image is a.png" in out.read_text(encoding="utf-8")


def test_explore_refuses_what_it_cannot_show(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.html").write_text("mine")
    mask = tmp_path / "m.png"
    for words, message in (
        (["--image", mask], "--image needs a trained network"),
        (["--data.val_scenes", "2"], "--data needs a trained network"),
        (["--device", "cuda"], "--device needs a trained network"),
        ([trained, "--image", mask], "give --image and --mask together"),
        ([trained, "--image", mask, "--mask", mask, "--images", "2"], "leave out --images"),
        ([trained, "--images", "10"], "expected 1 to 9"),
        ([trained, "--image", mask, "--mask", mask], "does not exist"),
        (["--out", tmp_path / "notes.html"], "not a page of the explorer"),
    ):
        out = [] if "--out" in words else ["--out", tmp_path / "e.html"]
        assert status(["explore", *words, *out]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "e.html").exists()


def test_predict_skips_a_damaged_image_and_says_so(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "broken.png").write_text("not a picture")
    Image.new("RGB", (70, 50), (90, 90, 90)).save(tmp_path / "images" / "street.png")
    assert status(["predict", trained, tmp_path / "images", "--out", tmp_path / "out"]) == 1
    streams = capsys.readouterr()
    assert "1 image predicted into" in streams.out
    assert "broken.png is not a picture file" in streams.err
    assert "1 of 2 images were skipped" in streams.err
    words = ["predict", trained, tmp_path / "images" / "street.png", "--out", tmp_path / "one"]
    assert status(words) == 0
    assert (tmp_path / "one" / "overlays" / "street.png").is_file()


def test_of_two_classes_the_foreground_is_scored_first() -> None:
    matrix = ConfusionMatrix.from_counts(torch.tensor([[90, 2], [4, 4]]))
    lines = format_scores(("background", "crack"), matrix).splitlines()
    assert lines[1].split() == ["crack", "8.0", "40.0", "66.7", "50.0", "57.1"]
    assert lines[2].startswith("background")


def test_classes_are_scored_in_the_order_of_their_pixels() -> None:
    counts = torch.zeros(5, 5, dtype=torch.int64)
    counts[0, 0], counts[2, 2], counts[2, 3] = 10, 80, 10
    lines = format_scores(("a", "b", "c", "d", "e"), ConfusionMatrix.from_counts(counts))
    head, *rows = lines.splitlines()
    assert head.split()[:3] == ["class", "share", "%"]
    assert [row.split()[:2] for row in rows[:3]] == [["c", "90.0"], ["a", "10.0"], ["d", "0.0"]]
    assert "neither labeled nor predicted: b, e" in rows


def test_inspect_prints_the_shares(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["inspect", *data_flags()]) == 0
    assert "% of pixels" in capsys.readouterr().out


def test_compare_writes_a_report(
    options: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = yaml.safe_load(options.read_text())
    del shared["method"], shared["seed"]
    (tmp_path / "shared.yaml").write_text(yaml.safe_dump(shared))
    out = tmp_path / "comparison"
    words = ["compare", "--config", tmp_path / "shared.yaml", "--out", out]
    assert status([*words, "--methods", "base,loss-only", "--seeds", "[0]"]) == 0
    assert str(out / "report.html") in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "base-seed0",
        "loss-only-seed0",
        "compare.yaml",
        "report.html",
        "results.csv",
        "figures",
        "summary.json",
    }
    assert status(words) == 1
    assert status(["compare", "--out", out, "--resume", "--seeds", "[0,1]"]) == 0
    assert yaml.safe_load((out / "compare.yaml").read_text())["seeds"] == [0, 1]
    assert (out / "loss-only-seed1" / "record.json").is_file()
    # Resuming under other options is refused, and spoils nothing.
    saved = (out / "compare.yaml").read_bytes()
    assert status(["compare", "--out", out, "--resume", "--optimization.steps", "9"]) == 1
    assert "optimization.steps: 2 -> 9" in capsys.readouterr().err
    assert (out / "compare.yaml").read_bytes() == saved
    # The runs have pictured training images as they went: nothing of Figure 4 is missing.
    words = ["figures", "--out", tmp_path / "figures", "--runs", out]
    assert reproduce([str(word) for word in words]) == 0
    assert "Figure 4" not in capsys.readouterr().out
    drawn = (tmp_path / "figures" / "figure-4.svg").read_text()
    assert drawn.count("<image") == 2 * (2 + 2 * 1)  # two images, two methods, one evaluation


def test_the_demo_runs_twice(tmp_path: Path) -> None:
    assert first_unfinished(tmp_path / "demo") == tmp_path / "demo"
    for name in ("demo", "demo-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.html").write_text("done")
    assert first_unfinished(tmp_path / "demo") == tmp_path / "demo-3"


def test_the_demo_trains(tmp_path: Path) -> None:
    config = configuration(steps=1)
    few = replace(config, data=replace(config.data, train_scenes=2, val_scenes=1))
    assert train(few, tmp_path / "run").status == "finished"


def test_evaluate_takes_a_tiling(trained: Path, tmp_path: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    words = ["evaluate", last, *data_flags(), "--json", tmp_path / "scores.json"]
    tiling = ["--inference.tiling", "optimized", "--inference.tiles", "2"]
    assert status([*words, *tiling, "--inference.overlap", "20", "--inference.flip", "true"]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert sum(map(sum, scores["confusion"])) == sum(RunRecord.read(trained).val_pixels)
    assert scores["inference"] == {
        "tiling": "optimized",
        "tiles": 2,
        "overlap": 20,
        "flip": True,
        "scales": [1.0],
    }


def test_a_tiling_that_does_not_fit_is_one_line(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["evaluate", trained, *data_flags(), "--inference.tiling", "optimized"]) == 1
    assert "is too narrow for 5 tiles" in capsys.readouterr().err
    assert status(["evaluate", trained, *data_flags(), "--inference.tilling", "full"]) == 2
    assert "did you mean 'inference.tiling'?" in capsys.readouterr().err


def test_predict_takes_a_tiling_and_refuses_a_foreign_submission(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (90, 50), (90, 90, 90)).save(tmp_path / "images" / "street.png")
    words = ["predict", trained, tmp_path / "images", "--out", tmp_path / "out"]
    assert status([*words, "--submission"]) == 1
    assert "Cityscapes" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert status([*words, "--inference.tiling", "efficient", "--inference.tiles", "2"]) == 0
    with Image.open(tmp_path / "out" / "ids" / "street.png") as mask:
        assert mask.size == (90, 50)


def test_compare_takes_the_paper_s_four(options: Path, tmp_path: Path) -> None:
    shared = yaml.safe_load(options.read_text())
    del shared["method"], shared["seed"]
    (tmp_path / "shared.yaml").write_text(yaml.safe_dump(shared))
    out = tmp_path / "comparison"
    words = ["compare", "--config", tmp_path / "shared.yaml", "--out", out, "--seeds", "[0]"]
    assert status([*words, "--methods", "[base,base+,loss-only,lmp]"]) == 0
    labels = [RunRecord.read(out / f"{method}-seed0").label for method in ("base+", "lmp")]
    assert labels == ["BASE+", "LMP"]
    report = (out / "report.html").read_text()
    assert all(label in report for label in ("BASE+", "LMP (loss only)"))


def test_workers_that_overrun_the_sampler_are_one_line(
    options: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--config", options, "--out", tmp_path / "run", "--method", "lmp"]
    assert status([*words, "--hardware.workers", "4"]) == 1
    assert capsys.readouterr().err.startswith("error: sampling.update_interval is 3: 4 workers")
    assert not (tmp_path / "run").exists()


def test_a_sweep_trains_its_grid_and_goes_on(
    options: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    grid = ["--methods", "[base,loss-only]", "--p", "[1.3,.inf]", "--seeds", "[3]"]
    content = yaml.safe_load(options.read_text())
    shared = tmp_path / "shared.yaml"
    shared.write_text(yaml.safe_dump({k: content[k] for k in content.keys() - {"method", "seed"}}))
    assert status(["sweep", "--config", shared, "--out", out, *grid, "--dry-run"]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 3
    assert status(["sweep", "--out", out, "--resume", "--dry-run", "--engine", "ray"]) == 1
    assert "leave out --engine" in capsys.readouterr().err
    assert not list(out.glob("*/record.json"))
    # A machine of the cluster runs one of them; the sweep takes it as done.
    assert status(commands[1].split()[1:]) == 0
    done = out / "loss-only-p1.3-m0.25-seed3" / "record.json"
    written = done.read_bytes()
    assert status(["sweep", "--out", out, "--resume"]) == 0
    assert done.read_bytes() == written
    records = [RunRecord.read(folder) for folder in sorted(out.glob("*/"))]
    assert [record.status for record in records] == ["finished"] * 3
    assert {path.name for path in out.glob("sweep.*")} == {
        "sweep.yaml",
        "sweep.json",
        "sweep.md",
        "sweep.svg",
        "sweep.pdf",
    }
    assert "LMP (loss only)" in capsys.readouterr().out
    assert status(["sweep", "--config", shared, "--out", out, *grid]) == 1
    assert "is not empty" in capsys.readouterr().err
    # Resuming under other options is refused, and spoils nothing.
    saved = (out / "sweep.yaml").read_bytes()
    assert status(["sweep", "--out", out, "--resume", "--optimization.steps", "9"]) == 1
    assert "optimization.steps: 2 -> 9" in capsys.readouterr().err
    assert (out / "sweep.yaml").read_bytes() == saved
    assert status(["sweep", "--out", out, "--resume"]) == 0
