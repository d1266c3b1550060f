"""Reading the house's own sources: which files there are and what each of them imports."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("features", "training", "serving", "pipelines")


@dataclass(frozen=True)
class Import:
    """One imported thing, spelt in full (`training.bundle.Bundle`), and where it is imported."""

    path: str
    line: int
    target: str

    @property
    def room(self) -> str:
        """The top-level package imported."""
        return self.target.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: imports {self.target}"


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """Return the Python files below `folders` of the checkout, in order.

    Environments that stand there in hidden folders are not the house's.
    """
    paths = (path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py")))
    return tuple(path for path in paths if "/." not in path.relative_to(CHECKOUT).as_posix())


def relative(path: Path) -> str:
    """Return `path` as written from the checkout, with forward slashes."""
    return path.relative_to(CHECKOUT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a source file."""
    return ast.parse(path.read_text("utf-8"), filename=relative(path))


def imports(path: str, module: ast.Module) -> Iterator[Import]:
    """Yield everything a module imports: at its top, inside functions, and by name at run time."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(path, node)
            for alias in node.names:
                target = origin if alias.name == "*" else f"{origin}.{alias.name}"
                yield Import(path, node.lineno, target)
        elif isinstance(node, ast.Call) and (named := _named_at_run_time(node)):
            yield Import(path, node.lineno, named)


def _origin(path: str, node: ast.ImportFrom) -> str:
    """Return the module an import names, a relative one resolved from the file's place."""
    if not node.level:
        return node.module or ""
    parts = path.split("/")[: -node.level]
    return ".".join([*parts, node.module] if node.module else parts)


def _named_at_run_time(call: ast.Call) -> str:
    """Return the module of `import_module("x")` or `__import__("x")`, else nothing."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name not in {"import_module", "__import__"} or not call.args:
        return ""
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def all_imports() -> list[Import]:
    """Return every import of the four packages."""
    return [
        found for path in python_files(*PACKAGES) for found in imports(relative(path), tree(path))
    ]


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return the files git tracks or would track, or none where this is no git checkout."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"]
    listing = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False).stdout
    paths = (CHECKOUT / name for name in listing.decode().split("\0") if name)
    return tuple(path for path in paths if path.is_file())
