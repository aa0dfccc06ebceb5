"""The page on the evidence shows the demo on every machine that was measured, as it came out."""

from __future__ import annotations

import pytest
from benchmarks.blocks import block_names

from benchmarks import machines

CONTENT = list(machines.stored().values())


def test_the_page_shows_what_was_measured() -> None:
    page = machines.PAGE.read_text()
    assert block_names(page, "machines") == {"table", "setting"}
    assert page == machines.rendered(page, CONTENT), "run: python -m benchmarks.machines --render"


@pytest.mark.parametrize("each", CONTENT, ids=lambda each: each["machine"])
def test_every_machine_trained_every_seed_as_it_says(each: dict) -> None:
    seeds = {str(seed) for seed in machines.GRID.seeds}
    assert {method: set(runs) for method, runs in each["miou"].items()} == dict.fromkeys(
        machines.GRID.methods, seeds
    )
    assert each["environment"]["threads"] == machines.MACHINES[each["machine"]].threads


def test_what_the_page_says_in_words() -> None:
    """Where another measurement says something else, the words below the table are wrong."""
    rows = machines.machines_table(CONTENT).splitlines()[2:]
    assert rows
    assert all(r"\*" in row and "| +" in row for row in rows)
    # Rounding alone makes different runs of one seed.
    base = {tuple(each["miou"]["base"].values()) for each in CONTENT}
    assert len(base) == len(CONTENT)


def test_a_machine_that_the_processor_lacks_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    own = machines.torch.backends.cpu
    monkeypatch.setattr(own, "get_cpu_capability", lambda: "AVX2")
    assert [name for name, each in machines.MACHINES.items() if machines.offers(each)] == [
        "AVX2", "AVX2, 2 threads", "SSE4.1",
    ]  # fmt: skip
    monkeypatch.setattr(own, "get_cpu_capability", lambda: "NO AVX")
    assert not any(machines.offers(each) for each in machines.MACHINES.values())
