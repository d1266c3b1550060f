"""Pages of docs/ whose tables are written from the sources, so that they cannot fall behind.

`python -m tests.contracts.pages` writes them; `test_readme.py` fails while they differ.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel

from features import feature_settings, goal_settings, measure_settings, settings
from features.conditions.errors import ConditionCode
from pipelines.cli import app
from tests.contracts.sources import CHECKOUT, PACKAGES, python_files, relative, tree
from tests.contracts.test_documented import ErrorClass, house_errors

DOCS = CHECKOUT / "docs"
BEGIN, END = "<!-- from the sources: begin -->", "<!-- from the sources: end -->"

SECTIONS = {
    "Project": "The project",
    "Engine": "`engine`",
    "Mlflow": "`mlflow`",
    "Source": "`sources`: a list",
    "Identity": "`identity`",
    "Namespace": "`identity.namespaces`: a list",
    "Overrides": "`identity.overrides`",
    "Profiles": "`profiles`",
    "Merging": "`profiles.attributes`: by name",
    "Group": "`profiles.groups`: a list",
    "Features": "`features`",
    "EventFeatures": "`features.event_types`: by name",
    "OwnFeature": "`features.own`: a list",
    "Subscription": "`goals.subscription`",
    "Goal": "`goals`: a list",
    "Allowed": "`training.allow`: a list",
    "Tuning": "`training.tuning`",
    "Training": "`training`",
    "Measure": "`measures`: a list",
    "Segment": "`segments`: a list",
    "Destination": "`destinations`: a list",
    "Serving": "`serving`",
}
"""Settings class to the heading under which its keys stand."""

KINDS = {
    "str": "text", "int": "whole number", "float": "number", "bool": "true or false",
    "Name": "name", "Sql": "SQL expression", "Sqls": "SQL expression or list of them",
    "Region": "country code", "Length": "length", "Zone": "time zone",
}  # fmt: skip

CONDITION_CODES = {
    "condition_syntax": "A condition that breaks off, or goes on with what cannot stand there.",
    "unknown_name": "A condition that uses a name nothing here has.",
    "type_mismatch": "A condition that compares a value with a literal of another kind.",
    "too_long": "A condition or measure of more than 4,000 characters.",
    "too_deep": "More than 50 parentheses and `not`s inside each other, or 50 signs in a measure.",
    "not_known_in_training": "An outcome or a population that asks for scores or segments.",
}
"""The codes of one error class, which its docstring cannot tell apart."""


ROOMS = (settings, feature_settings, goal_settings, measure_settings)
"""Modules of settings classes."""


@cache
def _settings_source() -> list[ast.stmt]:
    return [node for each in ROOMS for node in tree(Path(each.__file__)).body]


def settings_classes() -> list[str]:
    """Return the name of every settings class that has keys, in the order of the sources."""
    return [
        node.name
        for node in _settings_source()
        if isinstance(node, ast.ClassDef) and _fields(node.name)
    ]


def _class(name: str) -> ast.ClassDef:
    return next(
        node for node in _settings_source() if isinstance(node, ast.ClassDef) and node.name == name
    )


def _fields(name: str) -> dict[str, tuple[ast.AnnAssign, str]]:
    """Return each key with its declaration and the docstring below it (empty: none)."""
    body = _class(name).body
    found = {}
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = (node, _text(below))
    return found


def _text(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
    return ""


def _kind(node: ast.expr) -> str:
    """Say a type in words: `list of names`, `1 to 256`, `csv, jsonl or parquet`."""
    match node:
        case ast.Constant(value=None):
            return ""
        case ast.BinOp(left=left, right=right):
            return " or ".join(filter(None, [_kind(left), _kind(right)]))
        case ast.Name(id=name) if name in KINDS:
            return KINDS[name]
        case ast.Name(id=name) if name in SECTIONS:
            return f"[{name.lower()}](#{anchor(SECTIONS[name])})"
        case ast.Name(id=name):
            return _kind(_alias(name))
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return _either(ast.literal_eval(choices))
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, _])):
            return f"list of {_plural(_kind(item))}"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, value])):
            return f"{_kind(key)}: {_kind(value)}"
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[item, *limits])):
            return ", ".join(filter(None, [_kind(item), *map(_limits, limits)]))
    raise NotImplementedError(ast.unparse(node))


def _alias(name: str) -> ast.expr:
    for node in _settings_source():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise NotImplementedError(name)


def _plural(kind: str) -> str:
    return f"{kind}s" if kind.isalpha() and kind != "text" else kind


def _either(choices: Any) -> str:
    named = [f"`{choice}`" for choice in (choices if isinstance(choices, tuple) else (choices,))]
    return " or ".join(filter(None, [", ".join(named[:-1]), named[-1]]))


def _limits(node: ast.expr) -> str:
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "Field"):
        return ""
    limits = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg}
    words = {
        "ge": "at least {:,}", "gt": "above {:,}", "le": "at most {:,}", "lt": "below {:,}",
        "pattern": "`{}`",
    }  # fmt: skip
    said = [words[name].format(value) for name, value in limits.items() if name in words]
    if limits.get("min_length") == limits.get("max_length") == 1:
        said.append("one character")
    elif limits.get("min_length"):
        said.append("not empty")
    return ", ".join(said)


def _default(model: type[BaseModel], key: str) -> str:
    field = model.model_fields[key]
    value = field.default
    if field.is_required():
        return "required"
    if value is None or value in ((), {}, ""):
        return ""
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, tuple):
        return "`[" + ", ".join(map(str, value)) + "]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def anchor(heading: str) -> str:
    """Return the anchor that a heading makes on a page."""
    kept = (c for c in heading.lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def settings_page() -> str:
    """Return every key of the project file, a table a section."""
    parts = []
    for name, heading in SECTIONS.items():
        model: type[BaseModel] = next(getattr(m, name) for m in ROOMS if hasattr(m, name))
        promise = " ".join((ast.get_docstring(_class(name)) or "").split())
        rows = [
            _row(f"`{key}`", _kind(node.annotation), _default(model, key), meaning)
            for key, (node, meaning) in _fields(name).items()
        ]
        head = [_row("key", "type", "default", "meaning"), "|---|---|---|---|"]
        parts.append("\n".join([f"## {heading}", "", promise, "", *head, *rows]))
    return "\n\n".join(parts)


def commands() -> dict[str, Any]:
    """Return every command of the command line, by name."""
    return dict(_leaves(typer.main.get_command(app)))


def _leaves(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the commands of a group and of the groups in it: `goals factors`."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def commands_page() -> str:
    """Return every command with its arguments and options."""
    parts = []
    for name, command in commands().items():
        text = "\n".join(line.strip() for line in (command.help or "").splitlines())
        rows = [
            _row(f"`{_spelling(each)}`", each.help or "", _shown_default(each))
            for each in command.params
            if each.name != "help"
        ]
        head = [_row("argument or option", "meaning", "default"), "|---|---|---|"]
        parts.append("\n".join([f"## `likelier {name}`", "", text, "", *head, *rows]))
    return "\n\n".join(parts)


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return ", ".join(parameter.opts)


def _shown_default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    return "" if value in (None, False, ()) else f"`{value}`"


def error_codes() -> Iterator[tuple[str, str, str, str]]:
    """Yield package, code, HTTP status and meaning of every error of the house."""
    errors = house_errors()
    nodes = {
        f"{relative(path)}:{node.lineno}: {node.name}": node
        for path in python_files(*PACKAGES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    }
    by_name = {each.name: _status(nodes[each.where]) for each in errors}
    for each in errors:
        inherited = next(filter(None, map(by_name.get, each.bases)), 400)
        status = _status(nodes[each.where]) or inherited
        meaning = (ast.get_docstring(nodes[each.where]) or "").split("\n\n")[0]
        for code, what in _codes(each, " ".join(meaning.split())).items():
            yield each.where.partition("/")[0], code, str(status), what


def _codes(error: ErrorClass, meaning: str) -> dict[str, str]:
    if error.name == "ConditionError":
        return {code: CONDITION_CODES[code] for code in get_args(ConditionCode)}
    return {error.code: meaning} if error.code else {}


def body_of(node: ast.stmt) -> str:
    """Return the statements of a class, one a line; nothing for anything else."""
    return "\n".join(map(ast.unparse, node.body)) if isinstance(node, ast.ClassDef) else ""


def _status(node: ast.ClassDef) -> int:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="status")], value=ast.Constant(value=int(number))):
                return number
    return 0


def errors_page() -> str:
    """Return every error code, a table a package."""
    found = sorted(set(error_codes()))
    parts = []
    for package in PACKAGES:
        rows = [_row(f"`{code}`", status, what) for where, code, status, what in found
                if where == package]  # fmt: skip
        head = [_row("code", "HTTP", "what is wrong"), "|---|---|---|"]
        parts.append("\n".join([f"## From {package}", "", *head, *rows]))
    return "\n\n".join(parts)


PAGES = {"settings.md": settings_page, "commands.md": commands_page, "errors.md": errors_page}


def written(name: str) -> str:
    """Return page `name` as it should be: what stands there, its tables made anew."""
    text = (DOCS / name).read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{PAGES[name]()}\n\n{END}{after}"


def main() -> None:
    """Write every page."""
    for name in PAGES:
        (DOCS / name).write_text(written(name), "utf-8")
        print(f"Wrote docs/{name}")


if __name__ == "__main__":
    main()
