"""What settings are: objects that refuse unknown keys, of values each with what is refused."""

from __future__ import annotations

from typing import Annotated

from phonenumbers import SUPPORTED_REGIONS
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from features.errors import TimeError
from features.time import Window, zone


class Settings(BaseModel):
    """Base of every settings object: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def _window(value: object) -> Window:
    if isinstance(value, Window):
        return value
    try:
        return Window.parse(str(value))
    except TimeError as error:
        raise ValueError(str(error)) from error


def _zone(name: str) -> str:
    try:
        return zone(name).key
    except TimeError as error:
        raise ValueError(str(error)) from error


def _sql(value: object) -> object:
    # YAML reads `1` and `true` as what they are; as expressions they are constants.
    return str(value) if isinstance(value, bool | int | float) else value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | bool | int | float) else value


def _region(code: object) -> object:
    # YAML reads NO, Norway, as false.
    return "NO" if code is False else code


def _known_region(code: str) -> str:
    if code not in SUPPORTED_REGIONS:
        raise ValueError(f"{code!r} is no country with telephones; write two letters such as GB")
    return code


def refuse_repeats(key: str, names: list[str]) -> None:
    """Raise `ValueError` where a name stands twice in the list under `key`."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{key}: {name!r} is there twice")


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Length = Annotated[Window, BeforeValidator(_window), PlainSerializer(str)]
Zone = Annotated[str, AfterValidator(_zone)]
Sql = Annotated[str, BeforeValidator(_sql), Field(min_length=1, max_length=2_000)]
Sqls = Annotated[tuple[Sql, ...], BeforeValidator(_listed), Field(min_length=1, max_length=20)]
Region = Annotated[str, BeforeValidator(_region), AfterValidator(_known_region)]
