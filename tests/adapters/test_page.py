"""Each block of docs/frameworks.md runs inside its framework."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "frameworks.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FRAMEWORKS = {
    "Hugging Face Transformers": "transformers",
    "nnU-Net": "nnunetv2",
    "MMSegmentation": "mmseg",
    "JAX": "jax",
}


def sections() -> dict[str, str]:
    heads = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(heads[1::2], heads[2::2], strict=True))
    return {head: text for head, text in found.items() if SNIPPET.search(text)}


def test_every_section_names_its_framework() -> None:
    assert sections().keys() == FRAMEWORKS.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("head", FRAMEWORKS)
def test_blocks_run(head: str) -> None:
    package = FRAMEWORKS[head]
    pytest.importorskip(package, reason=f"{package} is not installed: make test-adapters has it")
    names: dict[str, Any] = {}
    for snippet in SNIPPET.findall(sections()[head]):
        exec(compile(snippet, str(PAGE), "exec"), names)


def test_versions_are_those_of_the_environment() -> None:
    pinned = (Path(__file__).parent / "requirements.txt").read_text(encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    for version in re.findall(r"==(\S+)", pinned):
        assert version in page
