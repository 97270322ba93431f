"""Markdown out of measured JSON: tables, and the places they go to."""

import re
from collections.abc import Sequence
from typing import Any


def replaced(page: str, name: str, text: str) -> str:
    """Put a text between `<!-- NAME -->` and `<!-- end -->`.

    Raises:
        ValueError: The page has no such place.
    """
    pattern = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
    result, found = re.subn(
        pattern, lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page, flags=re.S
    )
    if not found:
        raise ValueError(f"no <!-- {name} --> ... <!-- end --> in the page")
    return result


def where(result: dict[str, Any]) -> str:
    """Say when, on what and beside what load this was measured."""
    facts = [
        f"`python benchmarks/{result['command']}`",
        result["date"],
        f"{result['cores']} cores",
    ]
    if "threads" in result:
        facts.append(f"threads: {result['threads'] or 'all'}")
    facts.append(f"load average before it {result['load_average'][0]}")
    if "rounds" in result:
        facts.append(f"{result['rounds']} rounds")
    return ", ".join(facts) + "."


def ratio(found: dict[str, float] | None) -> str:
    """Return a ratio with its range."""
    if not found:
        return ""
    return f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), ["---"] * len(head)]
    lines += [[cell(value) for value in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: Any) -> str:
    """Return a figure as a reader wants it."""
    if value is None:
        return ""
    if isinstance(value, float) and 0 < abs(value) < 0.01:
        return f"{value:.0e}"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
