"""What a reader relies on is written down: modules, errors, changes, decisions."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from features.feature_settings import Family, OwnKind
from tests.contracts.sources import CHECKOUT, PACKAGES, python_files, relative, tree

ROOT = "LikelierError"
ADRS = CHECKOUT / "docs" / "adr"


@dataclass(frozen=True)
class ErrorClass:
    """An error as its source declares it; `code` is empty where it is inherited."""

    where: str
    name: str
    bases: tuple[str, ...]
    code: str
    documented: bool


def classes(where: str, module: ast.Module) -> Iterator[ErrorClass]:
    """Yield every class of a module with the code its body assigns."""
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef):
            bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
            place = f"{where}:{node.lineno}: {node.name}"
            documented = bool(ast.get_docstring(node))
            yield ErrorClass(place, node.name, bases, _code(node), documented)


def _code(node: ast.ClassDef) -> str:
    """Return the text a class body assigns to `code`, annotated or not."""
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(text))):
                return text
            case ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(text))):
                return text
    return ""


def errors_of(declared: list[ErrorClass]) -> list[ErrorClass]:
    """Return those that derive from `LikelierError`, at any distance."""
    known = {ROOT}
    found: list[ErrorClass] = []
    while new := [c for c in declared if c not in found and known.intersection(c.bases)]:
        found += new
        known.update(each.name for each in new)
    return found


def shared_codes(errors: list[ErrorClass]) -> dict[str, list[str]]:
    """Return each code that more than one class claims, with the claimants."""
    claims = defaultdict(list)
    for each in errors:
        if each.code:
            claims[each.code].append(each.where)
    return {code: places for code, places in claims.items() if len(places) > 1}


def house_errors() -> list[ErrorClass]:
    """Return every error class of the four packages."""
    paths = python_files(*PACKAGES)
    return errors_of([each for path in paths for each in classes(relative(path), tree(path))])


def test_every_family_and_kind_of_feature_has_a_line() -> None:
    page = (CHECKOUT / "docs" / "features.md").read_text()
    named = [*get_args(Family), *get_args(OwnKind)]
    assert not [name for name in named if f"`{name}`" not in page]


def test_every_module_says_what_it_is_for() -> None:
    paths = python_files(*PACKAGES, "tests", "benchmarks")
    silent = [relative(path) for path in paths if not ast.get_docstring(tree(path))]
    assert not silent, "No module docstring in:\n" + "\n".join(silent)


def test_every_error_says_when_it_is_raised() -> None:
    errors = house_errors()
    assert errors, "No error class found"
    silent = [each.where for each in errors if not each.documented]
    assert not silent, "No docstring on:\n" + "\n".join(silent)


def test_every_kind_of_error_has_a_code() -> None:
    nameless = [each.where for each in house_errors() if ROOT in each.bases and not each.code]
    assert not nameless, "No code on:\n" + "\n".join(nameless)


def test_a_code_means_one_thing() -> None:
    shared = shared_codes(house_errors())
    assert not shared, "\n".join(f"{code}: {', '.join(at)}" for code, at in shared.items())


def test_codes_are_snake_case() -> None:
    odd = [
        e.where for e in house_errors() if e.code and not re.fullmatch("[a-z][a-z0-9_]*", e.code)
    ]
    assert not odd, odd


def test_the_error_rules_tell_right_from_wrong() -> None:
    source = """
class Near(LikelierError):
    "Said."
    code = "near"
class Far(errors.Near): ...
class Twin(Far):
    code: str = "near"
class Stranger(ValueError):
    code = "near"
"""
    errors = errors_of(list(classes("rooms.py", ast.parse(source))))
    assert [(e.name, e.code, e.documented) for e in errors] == [
        ("Near", "near", True),
        ("Far", "", False),
        ("Twin", "near", False),
    ]
    assert shared_codes(errors) == {"near": ["rooms.py:2: Near", "rooms.py:6: Twin"]}


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    text = (CHECKOUT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[(.+?)\]", text, flags=re.MULTILINE)
    assert versions[:1] == ["Unreleased"]


def test_every_decision_is_listed_with_its_context_and_costs() -> None:
    index = (ADRS / "README.md").read_text("utf-8")
    decisions = sorted(ADRS.glob("[0-9]*.md"))
    assert [path.name[:4] for path in decisions] == [
        f"{number:04}" for number in range(1, len(decisions) + 1)
    ]
    for path in decisions:
        headings = re.findall(r"^## (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
        assert headings == ["Context", "Decision", "Costs"], path.name
        assert f"({path.name})" in index, f"{path.name} is not listed in docs/adr/README.md"
