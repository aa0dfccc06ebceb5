"""Rows of text as an aligned table for the terminal, or in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row: the first column to the left, the numbers to the right.

    Args:
        rows: The head and the body, each with the same number of cells.

    Example:
        >>> aligned([["class", "IoU"], ["road", "97.4"]])
        ['class   IoU', 'road   97.4']
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def piped(rows: Sequence[Sequence[str]], words: Collection[int] = (0,)) -> str:
    """A Markdown table of the head and the body, without a trailing newline.

    Args:
        rows: The head and the body, each with the same number of cells.
        words: The columns that stand to the left, as they hold no numbers.

    Example:
        >>> print(piped([["class", "IoU"], ["road", "97.4"]]))
        | class | IoU |
        | :-- | --: |
        | road | 97.4 |
    """
    head, *body = [
        [cell.strip().replace("|", "\\|").replace("*", "\\*") for cell in row] for row in rows
    ]
    rules = [":--" if i in words else "--:" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *body))
