"""Bars, tables, pictures and page, from results whose numbers are made up."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from benchmarks.drawing import svg_texts, texts, write
from benchmarks.kernels import BACKWARD, LOSS, TRITON
from benchmarks.speed import page
from benchmarks.speed.bars import Bar, bars, counts, exponent
from benchmarks.speed.cases import Case, cases
from benchmarks.speed.pictures import LONGEST, cost_picture, scaling_picture
from benchmarks.speed.results import Results, kernels_on_gpu, ops_digest
from benchmarks.speed.tables import bar_table, megabytes, number, scaling_table, table

from tests.tolerances import PRINTED

LOGITS = {"cross_entropy": 10.0, "cross_entropy_compiled": 5.0, "lmp_by_sort": 30.0, "clone": 2.0}
SOLVER = {"lmp": 1.0, "lmp_by_sort": 8.0, "top_k": 4.0}


def made_up(device: str, ours: str | None, ms: float = 5.0) -> Results:
    """Every case of a device; ours takes `ms`, cross-entropy 10; memory is a MB per ms."""
    measured = [case_result(case, device, ours, ms) for case in cases(device, quick=False)]
    environment = {"date": "2026-01-02T03:04:05+00:00", "device": "a chip", "threads": 2}
    content = {
        "command": "python x",
        "device": device,
        "environment": environment,
        "cases": measured,
    }
    return Results(json.loads(json.dumps(content)))


def case_result(case: Case, device: str, ours: str | None, ms: float) -> dict[str, Any]:
    if case.kind in ("dense", "upsampling"):
        times = LOGITS | ({ours: ms} if ours else {})
    else:
        times = {name: time * case.shape[3] / 302_500 for name, time in SOLVER.items()}
    waits = {"synchronizations": 0} if device == "cuda" else {}
    return {
        **asdict(case),
        "low": case.low,
        "logits_bytes": case.logits_bytes,
        "floor_bytes": case.floor_bytes,
        "auto": ours if case.kind in ("dense", "upsampling") else None,
        "left_out": {"liger": "needs a GPU"},
        "contenders": {
            name: {
                "median_ms": time,
                "q20_ms": time,
                "q80_ms": time,
                "extra_bytes": 1e6 * time,
                **waits,
            }
            for name, time in times.items()
        },
    }


def verdicts(results: Results) -> dict[str, tuple[float | None, bool | None]]:
    return {bar.text: (bar.measured, bar.holds) for bar in bars(results)}


def test_a_bar_holds_on_its_own_side() -> None:
    assert Bar("", 0.75, 0.75).holds is True
    assert Bar("", 0.75, 0.76).holds is False
    assert Bar("", 5, 5.0, at_most=False).holds is True
    assert Bar("", 5, 4.9, at_most=False).holds is False
    assert Bar("", 5, None).holds is None


def test_the_bars_of_a_cpu_are_computed() -> None:
    found = verdicts(made_up("cpu", "lmp_native", 5.0))
    assert found["dense, native kernel: time / cross-entropy"] == (0.5, True)
    assert found["dense, native kernel: extra memory / cross-entropy"] == (0.5, True)
    assert found["dense, portable path: time / cross-entropy"] == (None, None)
    assert found["×8 upsampling, C = 19: times faster than cross-entropy"] == (2.0, True)
    assert found["×8 upsampling, C = 150: extra memory / cross-entropy"] == (0.5, False)
    assert found["solver, 2^24 losses: times faster than by sort"] == (8.0, True)
    k, holds = found["solver: k of time ~ n^k, from 2^20 losses on"]
    assert holds
    assert k == pytest.approx(1.0)


def test_the_bars_of_a_gpu_are_computed() -> None:
    found = verdicts(made_up("cuda", "lmp_triton", 4.0))
    where = "dense 16×19×1024×1024"
    assert found[f"{where}: time / compiled"] == (0.8, True)
    assert found[f"{where}: time / cross-entropy"] == (0.4, True)
    # Beside three passes over 38 bytes of logits, the floor has 32 bytes of a pixel: label, loss.
    assert found[f"{where}: bandwidth of the floor's bytes / clone's"] == (
        pytest.approx(0.75 * (3 * 76 + 32) / (3 * 76)),
        True,
    )
    assert found["synchronizations"][1] is True
    assert len(found) == 16


def test_the_bars_of_the_counts_are_computed() -> None:
    losses = {"kernel": "upsampled_losses_kernel", "stack": 0}
    content = {
        "host": {TRITON: {LOSS: {"forward_and_backward_us": 160.0}}},
        "launches": {
            LOSS: ["zero", "losses", "sift", "sift", BACKWARD, "gradient"],
            f"{LOSS}, p = 1": ["zero", *["sift"] * 4, BACKWARD],
            f"{LOSS}, ×8 upsampling": ["zero", BACKWARD],
        },
        "kernels": {
            "dense 19": [{"kernel": "sift_kernel, pass 0", "stack": 24}, {**losses, "stack": 8}],
            "upsampled 19": [{**losses, "per_pixel": 190.0, "bytes_per_pixel": 12 + 19 * 4 / 2}],
            "upsampled 150 bf16": [
                {**losses, "per_pixel": 1050.0, "bytes_per_pixel": 12 + 150 * 2 / 32}
            ],
        },
    }
    found = {bar.text: (bar.measured, bar.holds) for bar in counts(content, None)}
    assert found["launches forward, dense"] == (4, True)
    assert found["launches forward, dense, p = 1"] == (5, False)
    assert found["host, forward and backward: µs"] == (160, False)
    assert found["solver: bytes of stack a thread"] == (24, False)
    assert found["dense logits: bytes of stack a thread"] == (8, False)
    assert found["×8 upsampling: bytes of stack a thread"] == (0, True)
    where = "×8 upsampling, losses, C ="
    assert found[f"{where} 19: instructions a score"] == (10, False)
    assert found[f"{where} 150: instructions a score"] == (7, True)
    assert found[f"{where} 19: logits read a score"] == (0.5, False)
    assert found[f"{where} 150: logits read a score"] == (1 / 32, True)
    with_memory = counts(content, made_up("cuda", "lmp_triton", 0.45))[len(found) :]
    assert [bar.holds for bar in with_memory] == [True, True]
    assert with_memory[0].measured == pytest.approx(4.5)


def test_a_figure_that_is_missing_in_one_dtype_is_missing() -> None:
    results = made_up("cuda", "lmp_triton", 4.0)
    del results.of("dense", shape=[16, 19, 1024, 1024])[0].contenders["lmp_triton"]
    assert verdicts(results)["dense 16×19×1024×1024: time / compiled"] == (None, None)


def test_the_exponent_tells_a_square_from_a_line() -> None:
    scaling = made_up("cpu", "lmp_native").of("scaling")
    for case in scaling:
        case.contenders["top_k"]["median_ms"] = float(case.shape[3]) ** 2
    assert exponent(scaling, "top_k") == pytest.approx(2.0)
    assert exponent(scaling[:3], "top_k") is None


def test_times_that_are_those_of_the_calls_have_no_exponent() -> None:
    results = made_up("cuda", "lmp_triton")
    sizes = [case.shape[3] for case in results.of("scaling")]
    for case in results.of("scaling"):
        case.contenders["lmp"]["median_ms"] = 1 + case.shape[3] / sizes[-2]
    assert exponent(results.of("scaling")) is None  # the last size alone takes four times the first
    assert verdicts(results)["solver: k of time ~ n^k, from 2^20 losses on"] == (None, None)
    assert scaling_table(results.of("scaling")).splitlines()[-1].startswith("| k | – |")


def test_the_ceiling_is_the_clone_of_the_same_run() -> None:
    case = made_up("cpu", "lmp_native", 4.0).of("dense")[0]
    # The clone moves two passes over 45.98 MB in 2 ms; the floor is 157.3 MB.
    assert case.floor_ms == pytest.approx(157.3 / 45.98, rel=PRINTED)
    assert case.of_clone("lmp_native") == pytest.approx(case.floor_ms / 4.0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (0.054, "0.05"), (9.996, "10.00"), (12.34, "12.3"), (1234.5, "1234")],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_tables() -> None:
    assert megabytes(45_980_000) == "46.0"
    written = table(("what", "ms"), [("a", "1"), ("b", "2")], left=1)
    assert written == "| what | ms |\n| :-- | --: |\n| a | 1 |\n| b | 2 |"
    results = made_up("cpu", "lmp_native", 9.0)
    assert "| dense, native kernel: time / cross-entropy | ≤ 0.75 | 0.90 | **no** |" in (
        bar_table(results)
    )
    assert scaling_table(results.of("scaling")).splitlines()[2].startswith("| 2^16 | 3.31 |")


@pytest.mark.parametrize(("device", "ours"), [("cpu", "lmp_native"), ("cuda", "lmp_triton")])
def test_pictures_are_sound_and_read_aloud(device: str, ours: str, tmp_path: Path) -> None:
    results = made_up(device, ours)
    for picture in (cost_picture(results), scaling_picture(results)):
        write(picture, tmp_path / "drawn.svg")
        drawn = (tmp_path / "drawn.svg").read_text(encoding="utf-8")
        assert texts(picture) <= svg_texts(drawn)
        assert "nan" not in svg_texts(drawn)
        assert "loss max-pooling" in picture.get_label()
        description = ET.fromstring(drawn).find(".//{http://purl.org/dc/elements/1.1/}description")
        assert description is not None
        assert description.text == picture.get_label()


def test_bars_are_as_long_as_what_was_measured() -> None:
    figure = cost_picture(made_up("cpu", "lmp_native", 5.0))
    lengths = [bar.get_width() for axes in figure.axes for bar in axes.patches]
    assert 0.5 in lengths  # ours: 5 ms beside 10
    assert max(lengths) == LONGEST  # by sort: 30 ms, cut off
    assert "→ 3.00" in texts(figure)


def test_a_page_is_filled_between_its_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    results = {"cpu": made_up("cpu", "lmp_native"), "cuda": None}
    monkeypatch.setattr(page, "read", results.__getitem__)
    marked = "<!-- speed: {} -->\ntyped\n<!-- end -->\n"
    typed = f"before\n\n{marked.format('bars-cpu')}\nafter\n\n{marked.format('all-cuda')}"
    filled = page.rendered(typed)
    assert "typed" not in filled
    assert bar_table(results["cpu"]) in filled  # type: ignore[arg-type]
    assert page.UNKNOWN in filled
    assert filled.startswith("before\n")
    assert page.rendered(filled) == filled


def test_a_page_says_that_the_kernels_were_others(monkeypatch: pytest.MonkeyPatch) -> None:
    results = made_up("cuda", "lmp_triton")
    monkeypatch.setattr(page, "read", lambda _: results)
    block = "<!-- speed: setting-cuda -->\n<!-- end -->"
    results.content["environment"] |= {"ops_digest": ops_digest(), "ops_commit": "abc1234"}
    assert "earlier kernels" not in page.rendered(block)
    results.content["environment"]["ops_digest"] = "of others"
    assert "**Measured with earlier kernels (commit abc1234)**: they have" in page.rendered(block)
    results.content["environment"]["ops_changes"] = "the solver"
    assert "the solver have changed since" in page.rendered(block)


def test_a_digest_is_that_of_what_is_computed(tmp_path: Path) -> None:
    (tmp_path / "backends" / "native").mkdir(parents=True)
    source, native = tmp_path / "a.py", tmp_path / "backends" / "native" / "b.py"
    digests = []
    for text in (
        '"""One."""\n\ndef f(x):\n    return x + 1\n',
        '"""Another."""\n\n\ndef f(x):  # why\n    "It says more."\n    return (x + 1)\n',
        "def f(x):\n    return x + 2\n",
    ):
        source.write_text(text)
        digests.append(kernels_on_gpu(tmp_path)["ops_digest"])
        native.write_text(text)
    assert digests[0] == digests[1] != digests[2]
    source.rename(tmp_path / "c.py")
    assert ops_digest(tmp_path) != digests[2]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_section_is_written(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    results = made_up(device, "lmp_native")
    monkeypatch.setattr(page, "read", lambda _: results)
    for section in page.SECTIONS:
        filled = page.rendered(f"<!-- speed: {section}-{device} -->\n<!-- end -->")
        assert len(filled.splitlines()) > 4
    assert "`F.cross_entropy`" in page.rendered("<!-- speed: all-cuda -->\n<!-- end -->")
