"""Reading the project file `likelier.yaml`: YAML in, settings or one telling error out.

`${ENV}` is filled in, and a key that stands twice is refused. Every error names the key, what stood
there and what was expected.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from features.errors import SettingsError, did_you_mean
from features.settings import Identity, Project

FILE_NAME = "likelier.yaml"

_COMMENT = re.compile(r"""^(?:[^"'#]|"[^"]*"|'[^']*'|(?<=\S)#)*(?:^|\s)#""")
_ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build the mapping; raise where a key comes a second time."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(folder: Path) -> Project:
    """Read `likelier.yaml` in `folder`; raise `SettingsError` naming every key that is wrong."""
    path = folder / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"There is no {FILE_NAME} in {str(folder)!r}.",
            hint="Name the project folder with -p DIR, or write a starter with `likelier init`.",
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path} is not UTF-8: byte {error.start + 1}.", hint="Save the file as UTF-8."
        ) from error
    return parse(text, str(path))


def parse(text: str, where: str = FILE_NAME) -> Project:
    """Read the text of a project file; `where` names it in errors."""
    raw = _mapping(text, where, "Start with `project: NAME`.")
    try:
        return Project.model_validate(raw)
    except ValidationError as error:
        raise _settings_error(where, error, Project) from error


def parse_identity(text: str, where: str) -> Identity:
    """Read linking rules alone: what stands under `identity:` in a project file.

    Names of namespaces may be written in any case; they are kept in lower case. Raises
    `SettingsError`, which names `where`.
    """
    raw = _mapping(text, where, "Start with `namespaces:`, as under `identity:`.")
    spaces = raw.get("namespaces")
    if isinstance(spaces, list):
        raw = raw | {"namespaces": [_lowered(space) for space in spaces]}
    try:
        return Identity.model_validate(raw)
    except ValidationError as error:
        raise _settings_error(where, error, Identity) from error


def _lowered(space: object) -> object:
    if isinstance(space, dict) and isinstance(space.get("name"), str):
        return space | {"name": space["name"].lower()}
    return space


def _mapping(text: str, where: str, start: str) -> dict[str, Any]:
    try:
        # A subclass of the safe loader.
        raw = yaml.load(_fill_environment(text, where), Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(
            f"{where}{line}: not readable as YAML: {getattr(error, 'problem', error)}.",
            hint="Check the indentation and quotes of that line.",
        ) from error
    if not isinstance(raw, dict):
        raise SettingsError(f"{where} holds no settings.", hint=start)
    return raw


def _fill_environment(text: str, where: str) -> str:
    def fill(match: re.Match[str]) -> str:
        if _COMMENT.search(text[text.rfind("\n", 0, match.start()) + 1 : match.start()]):
            return match[0]
        value = os.environ.get(match[1])
        if value is None:
            line = text[: match.start()].count("\n") + 1
            raise SettingsError(
                f"{where}, line {line}: the environment variable {match[1]} is not set.",
                hint=f"Run with {match[1]}=… in front of the command.",
            )
        return value

    return _ENVIRONMENT.sub(fill, text)


def _settings_error(where: str, error: ValidationError, model: type[BaseModel]) -> SettingsError:
    problems = [_problem(item, model) for item in error.errors()]
    listed = "; ".join(f"{key}: {what}" for key, what, _ in problems)
    hints = [hint for *_, hint in problems if hint]
    return SettingsError(
        f"{where}: {listed}.",
        hint=hints[0] if hints else "The settings table in README.md lists every key.",
        problems=[{"key": key, "problem": what} for key, what, _ in problems],
    )


def _problem(item: Any, model: type[BaseModel]) -> tuple[str, str, str]:
    key = ".".join(str(part) for part in item["loc"]) or "project file"
    if item["type"] == "extra_forbidden":
        return key, "unknown key", did_you_mean(str(item["loc"][-1]), _siblings(item["loc"], model))
    message = item["msg"].removeprefix("Value error, ").rstrip(".")
    if item["type"] in ("missing", "value_error"):
        return key, message, ""
    return key, f"{message}, got {item['input']!r}", ""


def _siblings(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    for part in location[:-1]:
        if isinstance(part, str) and part in model.model_fields:
            inner = _model_inside(model.model_fields[part].annotation)
            if inner is None:
                break
            model = inner
    return list(model.model_fields)


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        if found := _model_inside(part):
            return found
    return None
