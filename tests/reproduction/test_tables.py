"""The paper's tables beside runs: Table 1's own rows are the test case of the protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reproduction.published import TABLE_1, TABLE_3A, TABLE_3B, ClassTable, Row, Table, value
from reproduction.runs import CheckpointWindow, FoundRuns, columns, find_runs, measure, view_of
from reproduction.tables import TABLES, paper_tables

from lossmaxpool.report.comparison import MethodSetting, method_setting
from lossmaxpool.runs import RecordError
from lossmaxpool.runs.record import Evaluation
from tests.report.conftest import CLASSES
from tests.tolerances import TWO_DECIMALS

MakeRuns = Callable[..., list[Path]]
Edit = Callable[[dict[str, Any]], None]


def evaluations(*steps: int) -> tuple[Evaluation, ...]:
    return tuple(Evaluation(step, step / 1e6, 0.9, (0.5,)) for step in steps)


def on(data: str = "cityscapes", p: float | str = 1.3, **more: Any) -> Edit:
    """Edits a record: its data set, its weighting set, and further keys of its configuration."""

    def edit(record: dict[str, Any]) -> None:
        record["data"]["name"] = data
        record["config"]["loss"] = {"p": p, "min_support": 0.25}
        record["config"].update(more)

    return edit


def beside(root: Path, window: CheckpointWindow | None = None, format: Any = "text") -> str:
    return paper_tables(find_runs(root), window or CheckpointWindow(0), format)


def line(text: str, start: str, after: str = "") -> str:
    """The first line that starts so, after a heading."""
    lines = text[text.index(after) :].splitlines()
    return next(each for each in lines if each.startswith(start))


@pytest.mark.parametrize("row", TABLE_1.rows, ids=lambda row: row.name)
def test_table_1_comes_out_of_its_own_scores(row: Row) -> None:
    *scores, mean, std = map(value, row.cells)
    if row.name == "1.7":
        assert round(measure([scores]).score.mean, 2) == 74.47  # as the remark says
        assert round(measure([scores]).score.std, 2) == 0.33
        scores[0] = 74.40
    measured = measure([scores])
    assert (measured.seeds, measured.checkpoints) == (1, 3)
    # Printed from scores before they were rounded: a hundredth may differ.
    assert measured.score.mean == pytest.approx(mean, abs=TWO_DECIMALS)
    assert measured.score.std == pytest.approx(std, abs=TWO_DECIMALS)


def test_several_seeds_spread_over_the_means_of_their_checkpoints() -> None:
    measured = measure([[0.1, 0.3], [0.4, 0.4], [0.6]])
    assert (measured.seeds, measured.checkpoints) == (3, 2)
    assert measured.score.mean == pytest.approx(0.4)
    assert measured.score.std == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("steps", "counted"),
    [
        ((140_000, 150_000, 160_000, 165_000), (150_000, 160_000, 165_000)),  # Table 1
        ((170_000, 180_000, 190_000, 200_000), (180_000, 190_000, 200_000)),  # Table 4
        ((150, 300, 450, 600), (600,)),
    ],
)
def test_the_last_tenth_is_what_the_paper_averages(
    steps: tuple[int, ...], counted: tuple[int, ...]
) -> None:
    assert tuple(e.step for e in CheckpointWindow().of(evaluations(*steps))) == counted


def test_chosen_steps_count_instead_and_all_of_them_must_be_there() -> None:
    every = evaluations(150, 155, 160, 165)
    assert [e.step for e in CheckpointWindow(steps=(150, 165)).of(every)] == [150, 165]
    assert CheckpointWindow(steps=(150, 200)).of(every) == ()


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_window_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="share of the training"):
        CheckpointWindow(share)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_row_has_every_cell(table: Table | ClassTable) -> None:
    if isinstance(table, ClassTable):
        for cells in (*table.means.values(), *table.deviations.values()):
            assert len(cells) == len(table.classes) + 1
            assert all(math.isfinite(value(cell)) for cell in cells)
        return
    for row in table.rows:
        assert len(row.cells) == len(table.head) - 1
        assert all(math.isfinite(value(cell)) for cell in row.cells)
    settings = [row.setting for row in table.rows if row.setting]
    assert len(set(settings)) == len(settings)


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_without_runs_every_printed_cell_is_there_and_ours_are_empty(format: Any) -> None:
    text = paper_tables(FoundRuns(), CheckpointWindow(), format)
    for table in TABLES:
        assert f"{table.name}. {table.title}" in text
    assert "74,35" in text
    assert "nothing yet" in text
    assert (
        line(text, "BASE Augm." if format == "text" else "| BASE Augm.")
        .rstrip("| ")
        .endswith("±0.04")
    )


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'text' or 'markdown'"):
        paper_tables(FoundRuns(), CheckpointWindow(), "html")  # type: ignore[arg-type]


def test_runs_meet_the_rows_of_their_method(make_runs: MakeRuns) -> None:
    folders = make_runs("base", "loss-only", edit=on())
    text = beside(folders[0].parent)
    assert "(2 s)" in line(text, "BASE Augm.", "Table 2")
    assert "(2 s)" in line(text, "Proposed loss only", "Table 2")
    assert "(2 s)" not in line(text, "LMP Augm.", "Table 2")
    assert "here: cityscapes" in text


def test_one_seed_spreads_over_its_last_checkpoints(make_runs: MakeRuns) -> None:
    folders = make_runs("base", seeds=(0,), edit=on())
    assert "(5 c)" in line(beside(folders[0].parent, CheckpointWindow(1)), "BASE Augm.", "Table 2")
    assert "c)" not in line(beside(folders[0].parent, CheckpointWindow(0)), "BASE Augm.", "Table 2")


def test_another_p_has_a_row_of_its_own_and_infinity_is_a_p(make_runs: MakeRuns) -> None:
    folders = make_runs("loss-only", seeds=(0,), edit=on(p="inf"))
    assert method_setting(find_runs(folders[0]).runs[0]) == MethodSetting(
        "loss-only", math.inf, 0.25
    )
    text = beside(folders[0].parent)
    assert line(text, "inf loss-only", "Table 1")
    assert line(text, "Proposed loss only", "Table 2").endswith("±0.03")  # empty beside it


def test_a_max_pooling_run_without_its_p_is_left_out(make_runs: MakeRuns) -> None:
    folders = make_runs(
        "loss-only", seeds=(0,), edit=lambda r: r["config"]["loss"].pop("min_support")
    )
    assert "expected two numbers for the method 'loss-only'" in " ".join(
        beside(folders[0].parent).split()
    )


def test_runs_that_differ_in_more_than_the_row_never_share_a_cell(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        on(optimization={"lr": 0.01 * (1 + record["seed"])})(record)

    found = find_runs(make_runs("base", edit=edit)[0].parent)
    here, notes = columns(found.runs, CheckpointWindow(0))
    assert [column.letter for column in here] == ["A", "B"]
    assert not notes
    text = " ".join(paper_tables(found, CheckpointWindow(0)).split())
    assert "optimization.lr is 0.01 [A], 0.02 [B]" in text
    assert "(2 s)" not in text


@pytest.mark.parametrize(
    ("option", "columns_here"),
    [("precision", 2), ("accelerator", 1), ("workers", 1)],
)
def test_the_precision_decides_a_result_and_the_device_does_not(
    option: str, columns_here: int, make_runs: MakeRuns
) -> None:
    def edit(record: dict[str, Any]) -> None:
        on(hardware={option: f"choice {record['seed']}"})(record)

    found = find_runs(make_runs("base", edit=edit)[0].parent)
    here, _ = columns(found.runs, CheckpointWindow(0))
    assert len(here) == columns_here


def test_the_same_seed_twice_is_refused(make_runs: MakeRuns) -> None:
    folder = make_runs("base", seeds=(0,))[0]
    copy = folder.parent / "copy"
    copy.mkdir()
    (copy / "record.json").write_text((folder / "record.json").read_text())
    with pytest.raises(RecordError, match="counted twice"):
        beside(folder.parent)


def test_class_tables_show_runs_with_their_classes_alone(make_runs: MakeRuns) -> None:
    folders = make_runs("base", seeds=(0,), edit=on())
    text = " ".join(beside(folders[0].parent).split())
    assert f"has other classes ({len(CLASSES)} classes instead of 19" in text


@pytest.mark.parametrize("table", [TABLE_3A, TABLE_3B], ids=lambda table: table.name)
def test_class_tables_take_runs_whose_classes_are_spelled_otherwise(
    make_runs: MakeRuns, table: ClassTable
) -> None:
    run = find_runs(make_runs("base", seeds=(0,), edit=on(table.task.data))[0]).runs[0]
    names = tuple(name.lower().replace(" ", "") for name in table.classes)
    iou = tuple(0.01 * c for c in range(len(names)))
    stretched = replace(
        run,
        method="base+",
        label="BASE+",
        classes=names,
        evaluations=(replace(run.results, iou=(math.nan, *iou[1:])),),
        val_pixels=(1,) * len(names),
    )
    text = paper_tables(FoundRuns((stretched,)), CheckpointWindow(0))
    after = f"{table.name}."
    assert line(text, table.classes[7], after).endswith("7.00")
    assert line(text, table.classes[0], after).endswith("–")  # left out by its evaluation


def evaluated(folder: Path, checkpoint: str, step: int, iou: float) -> dict[str, Any]:
    """The output of evaluating a checkpoint with the optimized tiling."""
    return {
        "checkpoint": str(folder / "checkpoints" / checkpoint),
        "step": step,
        "data": {"name": "cityscapes", "split": "val", "images": 40},
        "classes": CLASSES,
        "iou": [iou] * len(CLASSES),
        "miou": iou,
        "pixel_accuracy": 0.9,
        "inference": {"tiling": "optimized", "tiles": 5, "overlap": 200, "scales": [1.0]},
    }


def test_tiled_scores_come_from_evaluations_of_checkpoints(make_runs: MakeRuns) -> None:
    folder = make_runs("base", seeds=(0,), edit=on())[0]
    content = evaluated(folder, "last.ckpt", 100, 0.5)
    path = folder / "evaluations" / "optimized.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    text = beside(folder.parent)
    assert " 50.00" in line(text, "BASE Augm.", "Table 2")
    bad = {
        "best.ckpt": {**content, "checkpoint": "best.ckpt"},
        "Move it": {**content, "classes": ["road"], "iou": [0.5]},
        "not valid JSON": "{",
        "'miou' is missing": {k: v for k, v in content.items() if k != "miou"},
    }
    for message, written in bad.items():
        path.write_text(written if isinstance(written, str) else json.dumps(written))
        text = " ".join(beside(folder.parent).split())
        assert "Left out" in text
        assert message in text


def test_tiled_scores_of_the_last_checkpoints_are_averaged(make_runs: MakeRuns) -> None:
    folder = make_runs("base", seeds=(0,), edit=on())[0]
    (folder / "evaluations").mkdir()
    # The first is older than the last tenth of the steps; the last one was evaluated twice.
    for name, step, iou in (
        ("step-00000800.ckpt", 800, 0.1),
        ("step-00000950.ckpt", 950, 0.5),
        ("step-00001000.ckpt", 1000, 0.6),
        ("last.ckpt", 1000, 0.6),
    ):
        path = folder / "evaluations" / f"{name}.json"
        path.write_text(json.dumps(evaluated(folder, name, step, iou)))
    # The deviation of 50 and 60 over two checkpoints of one run.
    text = beside(folder.parent, CheckpointWindow())
    assert "55.00 ±7.07 (2 c)" in line(text, "BASE Augm.", "Table 2")


@pytest.mark.parametrize(
    ("inference", "words"),
    [
        ({}, "whole images"),
        ({"tiling": "efficient", "tiles": 5, "overlap": 200}, "efficient tiling"),
        ({"tiling": "efficient", "tiles": 3}, "efficient tiling, 3 tiles"),
        ({"tiling": "optimized", "overlap": 200, "flip": True}, "optimized tiling, flip"),
        ({"tiling": "optimised"}, "optimized tiling"),  # as version 0.1 spelled it
        ({"scales": [0.5, 1.0]}, "whole images, scales 0.5, 1"),
    ],
)
def test_views_are_told_apart(inference: dict[str, Any], words: str) -> None:
    assert view_of(inference) == words


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no run folder in it"):
        find_runs(tmp_path)
    with pytest.raises(RecordError, match="no such folder"):
        find_runs(tmp_path / "nowhere")


def test_half_written_runs_are_told_and_leave_the_others_usable(make_runs: MakeRuns) -> None:
    def edit(record: dict[str, Any]) -> None:
        on()(record)
        if record["seed"] == 1:
            record["status"] = "interrupted"

    root = make_runs("base", seeds=(0, 1, 2), edit=edit)[0].parent
    cut = root / "base-seed2" / "record.json"
    cut.write_text(cut.read_text()[:200])
    (root / "begun").mkdir()
    (root / "begun" / "config.yaml").touch()
    found = find_runs(root)
    assert [run.seed for run in found.runs] == [0]
    assert len(found.damaged) == 1
    assert len(found.unfinished) == 2
    text = " ".join(paper_tables(found, CheckpointWindow(0)).split())
    for words in ("not valid JSON", "interrupted at step 200", "it has not begun"):
        assert words in text


def test_steps_that_were_not_evaluated_are_told(make_runs: MakeRuns) -> None:
    root = make_runs("base", seeds=(0,), edit=on())[0].parent
    text = " ".join(beside(root, CheckpointWindow(steps=(200, 999))).split())
    assert "not at all of 200, 999" in text
