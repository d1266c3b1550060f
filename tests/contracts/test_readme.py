"""Documentation that can fail: what users meet is written down, and the README's commands run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import ibis
import pytest
import typer
from starlette.routing import Route

from features import project_file, settings
from features.conditions import Vocabulary, parse
from features.conditions.errors import ConditionCode
from features.conditions.functions import FUNCTIONS, SCORE_FIELDS
from features.conditions.grammar import KEYWORDS
from features.conditions.parser import parse_formula
from features.identity.linking import REASONS as REFUSALS
from features.identity.namespaces import REASONS as UNUSABLE
from features.profiles.measures import with_measures
from features.profiles.templates import TEMPLATES, keys_of
from features.sources.meaning import meaning
from pipelines.cli import app
from pipelines.scoring import FACTOR_SCHEMA, SCORE_SCHEMA
from pipelines.simulate.project_file import PROJECT_FILE
from serving.api import create_app
from serving.api.openapi import document
from serving.exports.columns import FACTOR_PARTS, SCORE_PARTS
from serving.exports.rows import REASONS
from serving.journal.errors import RefusedEvent
from tests.contracts import pages
from tests.contracts.sources import CHECKOUT, tree

README = (CHECKOUT / "README.md").read_text("utf-8")
PAGES = {path.name: path.read_text("utf-8") for path in sorted(pages.DOCS.glob("*.md"))}
PROJECT = project_file.parse(PROJECT_FILE)


# Tables ------------------------------------------------------------------------------------------


def first_cells(text: str) -> set[str]:
    """Return every piece of code in the first cells of a text's tables."""
    rows = re.findall(r"^\| ([^|]*) \|", text, flags=re.MULTILINE)
    return {code for row in rows for code in re.findall(r"`([^`]+)`", row)}


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next of its rank or above."""
    marks, _, _ = heading.partition(" ")
    _, found, rest = f"\n{text}".partition(f"\n{heading}\n")
    assert found, f"No heading {heading!r}"
    return re.split(rf"\n#{{1,{len(marks)}}} ", rest)[0]


@pytest.mark.parametrize("name", sorted(pages.PAGES))
def test_a_page_written_from_the_sources_is_up_to_date(name: str) -> None:
    assert pages.written(name) == PAGES[name], "Run: python -m tests.contracts.pages"


def test_every_setting_has_a_section_and_a_meaning() -> None:
    assert set(pages.settings_classes()) == set(pages.SECTIONS)
    rows = pages.settings_page().splitlines()
    silent = [row for row in rows if row.startswith("| `") and row.endswith("|  |")]
    assert not silent, "No docstring below:\n" + "\n".join(silent)


def test_every_command_is_in_the_readme() -> None:
    listed = first_cells(section(README, "## Command line"))
    assert listed == {f"likelier {name}" for name in pages.commands()}


def test_every_option_is_explained() -> None:
    silent = [
        f"{name} {each.name}"
        for name, command in pages.commands().items()
        for each in command.params
        if not each.help and each.name != "help"
    ]
    assert not silent, silent


def quarantine_codes() -> set[str]:
    """Return every code that reading a row can give it, found in the SQL and in ingest's source."""
    times: dict[str, Any] = {
        "event_time": "t",
        "received_at": "r",
        "event_type": "'x'",
        "event_id": "i",
    }
    common: dict[str, Any] = {"name": "s", "path": "s.csv", "identities": {"customer": "c"}}
    events = settings.Source(kind="events", **common, **times)
    records = settings.Source(kind="records", known_from="t", received_at="r", **common)
    found: set[str] = set()
    for source, names in ((events, [*times]), (records, ["known_from", "received_at"])):
        columns = [*names, *(f"__said_{n}" for n in names), *(f"__unread_{n}" for n in names)]
        table = ibis.table(dict.fromkeys([*columns, "identities.customer"], "string"), name="t")
        found.update(re.findall(r"then '([a-z_]+)'", meaning(table, source, PROJECT)["code"]))
    text = (CHECKOUT / "features/sources/ingest.py").read_text("utf-8")
    judging = section_of_code(text, "def _judged(")
    return (
        found
        | set(re.findall(r'"code": "([a-z_]+)"', text))
        | set(re.findall(r'"((?:no|identity|conflicting)_[a-z_]+)"', judging))
    )


def section_of_code(text: str, start: str) -> str:
    """Return one function of a source, as text."""
    return text.partition(start)[2].partition("\n\n\n")[0]


def test_every_quarantine_code_is_in_the_readme_and_no_other() -> None:
    found = quarantine_codes()
    assert len(found) >= 10
    assert first_cells(section(README, "### Quarantine")) == found


def test_every_code_and_reason_of_identities_is_on_their_page_and_no_other() -> None:
    text = (CHECKOUT / "features/identity/overrides.py").read_text("utf-8")
    codes = set(re.findall(r'_Refused\("([a-z_]+)"', text))
    codes |= set(re.findall(r'"(alias_[a-z_]+)"', text)) | set(UNUSABLE)
    page = PAGES["identity.md"]
    assert first_cells(section(page, "### Rows that cannot be used")) == codes
    assert first_cells(section(page, "## Linking rules")) == set(REFUSALS)


def routes(folder: Path) -> set[str]:
    """Return `METHOD /path` of everything the service answers."""
    named = [route for route in create_app(PROJECT, folder).routes if isinstance(route, Route)]
    served = {
        f"{method} {route.path}"
        for route in named
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {
        f"{method.upper()} {path}"
        for path, methods in document(PROJECT)["paths"].items()
        for method in methods
    }
    assert served <= described
    return described


def test_every_route_is_in_the_readme_and_has_a_section(tmp_path: Path) -> None:
    found = routes(tmp_path)
    assert first_cells(section(README, "## HTTP")) == found
    assert set(re.findall(r"^## `(.+)`$", PAGES["api.md"], flags=re.MULTILINE)) == found


def test_every_error_of_the_service_is_documented() -> None:
    of_requests = {"unknown_goal", "nothing_published", "journal_unavailable", "online_store_away"}
    for node in tree(CHECKOUT / "serving/api/errors.py").body:
        of_requests.update(re.findall(r"^code = '(\w+)'$", pages.body_of(node), re.MULTILINE))
    assert first_cells(section(PAGES["api.md"], "## Errors")) == of_requests


def test_every_reason_to_refuse_an_event_is_documented() -> None:
    codes = {each.code for each in RefusedEvent.__subclasses__()}
    assert first_cells(section(PAGES["events.md"], "## Why an event is rejected")) == codes


def test_every_field_of_an_answer_is_documented() -> None:
    schemas = document(PROJECT)["components"]["schemas"]
    said = set(re.findall(r"`([a-z_]+)`", PAGES["api.md"] + PAGES["events.md"]))
    wanted = {name for each in schemas.values() for name in each["properties"]}
    assert wanted <= said | {"error"}, sorted(wanted - said)


def test_every_score_field_is_documented() -> None:
    score = document(PROJECT)["components"]["schemas"]["Score"]["properties"]
    factor = score["factors"]["items"]["properties"]
    fields, reasons = PAGES["scores.md"], section(PAGES["scores.md"], "## Factors")
    assert set(score) == first_cells(fields.partition("\n## ")[0])
    listed = first_cells(reasons)
    assert set(factor) | {"rank"} == listed
    assert set(FACTOR_SCHEMA.names) - {"goal", "profile_id", "profile_key"} == listed
    known = set(re.findall(r"`([a-z_]+)`", fields))
    assert set(SCORE_SCHEMA.names) <= known, sorted(set(SCORE_SCHEMA.names) - known)


def test_every_part_of_the_condition_language_is_documented() -> None:
    page = PAGES["conditions.md"]
    code = " ".join(re.findall(r"`([^`\n]+)`", page)) + section(page, "# Conditions")
    words = set(re.findall(r"[a-z_]+", code))
    wanted = {*FUNCTIONS, *KEYWORDS.values(), *SCORE_FIELDS}
    assert wanted <= words, sorted(wanted - words)
    assert first_cells(section(page, "## When it is wrong")) == set(get_args(ConditionCode))


def test_the_conditions_shown_can_be_read() -> None:
    events = {"purchase": {"amount": "number"}, "search": {"term": "text"}}
    vocabulary = Vocabulary(
        events=events,  # type: ignore[arg-type]
        attributes={"country": "text", "loyalty_tier": "text", "birth_date": "date"},
        identities=frozenset({"customer"}),
        goals=frozenset({"churn", "conversion"}),
        segments=frozenset({"win_back"}),
    )
    vocabulary = with_measures(vocabulary, PROJECT.measures)
    shown = [line for block in blocks("condition") for line in block.text.splitlines()]
    assert len(shown) >= 5
    for line in shown:
        parse(line, vocabulary)


def test_the_measures_shown_can_be_read_and_the_templates_are_what_is_said_of_them() -> None:
    page = PAGES["measures.md"]
    events = {
        "purchase": {"amount": "number", "product": "text"},
        "points": {"earned": "number", "redeemed": "number"},
    }
    vocabulary = Vocabulary(
        events=events,  # type: ignore[arg-type]
        attributes={"member_since": "date"},
    )
    shown = [line for block in blocks("measure") for line in block.text.splitlines()]
    assert len(shown) >= 5
    for line in shown:
        parse_formula(line, vocabulary)
    listed = section(page, "## Templates")
    assert first_cells(listed) == set(TEMPLATES)
    for values in TEMPLATES.values():
        for value in values:
            filled = {key: key.upper() for key in keys_of(value)} | {"in_last": ""}
            assert f"`{value.format(**filled)}`" in listed, value


def test_every_part_of_a_file_is_documented() -> None:
    page = PAGES["files.md"]
    assert first_cells(section(page, "## Who is left out")) == set(REASONS)
    named = set(re.findall(r"[a-z_0-9]+", " ".join(first_cells(page))))
    assert {*SCORE_PARTS, *FACTOR_PARTS} <= named
    facts = (CHECKOUT / "serving/exports/files.py").read_text("utf-8")
    keys = set(re.findall(r'^        "([a-z0-9_]+)":', facts, re.MULTILINE)) | {"file"}
    assert len(keys) > 10
    assert first_cells(section(page, "## Manifest")) == keys


# Blocks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A fenced block: where, in what language, and whether a comment above says it runs."""

    page: str
    language: str
    text: str
    runs: bool


FENCE = re.compile(r"(<!-- run -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Iterator[Block]:
    """Yield the blocks of one language, of the README first and then of docs/."""
    for page, text in {"README.md": README, **PAGES}.items():
        for run, said, body in FENCE.findall(text):
            if said == language:
                yield Block(page, said, body, bool(run))


def command_lines() -> list[str]:
    """Return every line of the shell blocks."""
    return [line for block in blocks("sh") for line in block.text.splitlines() if line.strip()]


def problem_with(line: str, paths: set[str], targets: set[str]) -> str:
    """Say what is wrong with a line of shell; nothing when its commands and options exist."""
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    match words:
        case ["make", *rest]:
            unknown = [word for word in rest if "=" not in word and word not in targets]
            return f"no target {unknown}" if unknown else ""
        case ["likelier", *rest]:
            return _misread(rest)
        case ["curl", *rest]:
            address = next(word for word in rest if word.startswith("http://127.0.0.1:3000"))
            asked = f"{'POST' if '-d' in rest else 'GET'} {address.partition(':3000')[2]}"
            if "-d" in rest:
                json.loads(rest[rest.index("-d") + 1])
            shaped = {re.sub(r"{\w+}", "[^/]+", each) for each in paths}
            return "" if any(re.fullmatch(each, asked) for each in shaped) else f"no {asked}"
        case ["python", script]:
            return "" if (CHECKOUT / script).is_file() else f"no {script}"
        case ["source" | "head" | "cat" | "mlflow", *_]:
            return ""
    return "a command that no test knows"


def _misread(words: list[str]) -> str:
    """Parse a command line without doing it; say what its parser refuses."""
    root: Any = typer.main.get_command(app)
    try:
        with root.make_context("likelier", list(words)) as context:
            rest = [*context._protected_args, *context.args]
            name, command, arguments = root.resolve_command(context, rest)
            command.make_context(name, arguments, parent=context).close()
    # typer may carry a click of its own, so its errors have no base to name here.
    except Exception as error:
        return str(error) or type(error).__name__
    return ""


def make_targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z.-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))


def test_the_commands_shown_exist(tmp_path: Path) -> None:
    paths, targets = routes(tmp_path), make_targets()
    found = {line: problem_with(line, paths, targets) for line in command_lines()}
    assert len(found) >= 15
    wrong = {line: problem for line, problem in found.items() if problem}
    assert not wrong, wrong


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("likelier -p demo run --explain", ""),
        ("likelier -p demo run --explian", "--explian"),
        ("likelier -p demo rnu", "rnu"),
        ("likelier -p demo backtest --goal churn", "as_of"),
        ("make demo SERVE=0", ""),
        ("make dmeo", "dmeo"),
        ("curl -s http://127.0.0.1:3000/profiles/customer%3A1/segments", ""),
        ("curl -s http://127.0.0.1:3000/profile/customer%3A1", "/profile/"),
        ("curl -s http://127.0.0.1:3000/score", "GET /score"),
        ("rm -rf shop", "a command that no test knows"),
    ],
)
def test_the_command_rules_tell_right_from_wrong(line: str, problem: str, tmp_path: Path) -> None:
    found = problem_with(line, routes(tmp_path), make_targets())
    assert problem in found
    assert bool(found) == bool(problem)


def test_the_project_files_shown_are_valid() -> None:
    found = [project_file.parse(block.text) for block in blocks("yaml")]
    assert found


def test_the_json_shown_is_json() -> None:
    shown = list(blocks("json"))
    assert shown
    for block in shown:
        json.loads(block.text)


def anchors(text: str) -> set[str]:
    """Return the anchors that a page's headings make."""
    return {pages.anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_links_lead_somewhere() -> None:
    texts = {CHECKOUT / "README.md": README} | {pages.DOCS / n: t for n, t in PAGES.items()}
    broken = []
    for page, text in texts.items():
        prose = FENCE.sub("", text)
        for link in re.findall(r"(?:\]\(|src=\")([^)\"\s]+)", prose):
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            known = target.is_file() and (not anchor or anchor in anchors(target.read_text()))
            if not link.startswith("https://") and not known:
                broken.append(f"{page.name}: {link}")
    assert not broken, broken


def test_the_picture_has_words_for_those_who_cannot_see_it() -> None:
    picture = (pages.DOCS / "path.svg").read_text("utf-8")
    assert "<title" in picture and "<desc" in picture and "prefers-color-scheme" in picture
    (alt,) = re.findall(r'src="docs/path\.svg"[^>]* alt="([^"]+)"', README)
    assert len(alt) > 100


def test_the_commands_marked_to_run_do(tmp_path: Path) -> None:
    """Every block below `<!-- run -->`, in order, in an empty folder."""
    script = "\n".join(block.text for block in blocks("sh") if block.runs)
    command = tmp_path / "bin" / "likelier"
    command.parent.mkdir()
    start = "from pipelines.cli import main; main()"
    command.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c '{start}' \"$@\"\n")
    command.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    environment = os.environ | {
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(CHECKOUT),
    }
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script], cwd=work, env=environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    assert (work / "my_shop" / "likelier.yaml").is_file()
    assert "No errors." in done.stdout
    assert "rows read = " in done.stdout
    assert "customer:C100965 known" in done.stdout
    assert list((work / "shop" / "exports").glob("*.csv.manifest.json"))
