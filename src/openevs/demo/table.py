"""Tables in plain text."""

from collections.abc import Sequence


def render(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return rows as aligned text: the first column to the left, the others to the right."""
    all_rows = [*([header] if header else []), *rows]
    widths = [max(len(row[column]) for row in all_rows) for column in range(len(all_rows[0]))]
    lines = ["  ".join(_cells(row, widths)).rstrip() for row in all_rows]
    rule = "-" * max(len(line) for line in lines)
    body = [lines[0], rule, *lines[1:]] if header else lines
    return "\n".join([rule, *body, rule])


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
