"""Count the package: modules, lines, code and importers, room by room.

    python benchmarks/house.py [FOLDER]

FOLDER holds `keras_distill/`; by default it is this repository. Code is what
is left without docstrings, comments and blank lines.
"""

import argparse
import ast
import io
import tokenize
from collections import Counter, defaultdict
from pathlib import Path

PACKAGE = "keras_distill"
_QUIET = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT),
    *(tokenize.DEDENT, tokenize.ENDMARKER),
}
_DOCUMENTED = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef),
)


def code_lines(text: str) -> int:
    """Count the lines that hold code."""
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _QUIET:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node):
            first = node.body[0]
            lines.difference_update(range(first.lineno, first.end_lineno + 1))
    return len(lines)


def imported(text: str, modules: set[str]) -> set[str]:
    """Return the package's modules that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in modules else node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found & modules


def main(folder: Path) -> None:
    """Print a table of the rooms and what they come to."""
    files = sorted((folder / PACKAGE).rglob("*.py"))
    names = {
        path: ".".join(path.relative_to(folder).with_suffix("").parts)
        for path in files
    }
    texts = {name: path.read_text("utf-8") for path, name in names.items()}
    rooms = defaultdict(Counter)
    importers = Counter(dict.fromkeys(texts, 0))
    arrows = 0
    for name, text in texts.items():
        room = name.split(".")[1] if name.count(".") > 1 else "(top)"
        for key in (room, "all"):
            rooms[key] += Counter(
                modules=1, lines=text.count("\n"), code=code_lines(text)
            )
        for other in imported(text, set(texts)) - {name}:
            importers[other] += 1
            arrows += 1
    print(f"{'room':14}{'modules':>8}{'lines':>8}{'code':>8}")
    for room, row in sorted(rooms.items(), key=lambda item: item[0] == "all"):
        print(f"{room:14}{row['modules']:8}{row['lines']:8}{row['code']:8}")
    once = sum(count == 1 for count in importers.values())
    print(f"{arrows} imports between modules, {once} modules with one importer")
    size, largest = max((t.count("\n"), name) for name, t in texts.items())
    print(f"largest: {largest}, {size} lines")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("folder", nargs="?", type=Path, default=here)
    main(parser.parse_args().folder)
