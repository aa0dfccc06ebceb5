from __future__ import annotations

from lossmaxpool.data.decode import palette_color


def test_colours_are_distinct() -> None:
    assert len({palette_color(i) for i in range(256)}) == 256


def test_void_is_the_cream_of_the_development_kit() -> None:
    assert palette_color(255) == (224, 224, 192)
