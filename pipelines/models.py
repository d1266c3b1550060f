"""Versions of models: what there is, and which of them serves when somebody says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from features import time
from features.errors import LikelierError, did_you_mean
from features.store import Manifest
from pipelines import runner
from pipelines.challenges import settle
from pipelines.champions import champion_of, registry_of, unmeasurable
from pipelines.erasing import TAG, erased_from, learnt_from_erased
from pipelines.learning import TRAINED, bundle_of, question_of
from pipelines.promotions import Promotion, promotions
from pipelines.stages import Bench, ingest_all, plan_features, unify
from pipelines.workspace import Workspace
from training.errors import MlflowUnreachable, UnknownVersion
from training.registry import CHAMPION, ListedVersion

BY_HAND, BACK = "models promote", "models rollback"
Reporter = Callable[[str, str], None]


class CannotServe(LikelierError):
    """A version that must not, or cannot, serve any more."""

    code = "cannot_serve"


class AlreadyServes(LikelierError):
    """A promotion of the version that is the champion already."""

    code = "already_serves"


class NoWayBack(LikelierError):
    """A rollback of a goal whose champion has not changed yet."""

    code = "no_way_back"


@dataclass(frozen=True)
class Changed:
    """A change of champion by hand; `manifest` is the run published by it, None where none was."""

    promotion: Promotion
    manifest: Manifest | None

    def body(self) -> dict[str, Any]:
        """Return the change as JSON-ready facts."""
        found = self.promotion.body
        del found["at"]
        return found | {"published": self.manifest.run_id if self.manifest else None}


# What there is -----------------------------------------------------------------------------------


def versions_of(workspace: Workspace, goal: str | None = None) -> dict[str, Any]:
    """Return every version, of one goal or all: figures, aliases, and whether it serves.

    Without MLflow those in the store, with a warning; `number` and `made_at` are null then. Raises
    `UnknownVersion` for a goal without one.
    """
    warnings: list[str] = []
    try:
        listed = [_listed(workspace, each) for each in registry_of(workspace).versions()]
    except MlflowUnreachable as error:
        warnings.append(f"{error.code}: {error.message} These are the versions in the store.")
        listed = _stored(workspace)
    found = [each for each in listed if goal in (None, each["goal"])]
    if goal is not None and not found:
        raise UnknownVersion(
            f"{goal!r} has no versions.",
            hint=did_you_mean(goal, {each["goal"] for each in listed}),
        )
    return {"versions": found, "warnings": warnings}


def version_shown(workspace: Workspace, version: str) -> dict[str, Any]:
    """Return all that is known of a version, and its lines of the promotion log."""
    found = versions_of(workspace)
    mine = next((each for each in found["versions"] if each["version"] == version), None)
    if mine is None:
        raise UnknownVersion.of(version, "", [each["version"] for each in found["versions"]])
    log = [each.body for each in promotions(workspace.store, mine["goal"])]
    facts = _facts(workspace).get((mine["goal"], version), {})
    about = {name: facts.get(name) for name in ("trained_on", "summary", "warnings", "challenge")}
    concerned = [each for each in log if version in (each["before"], each["after"])]
    return {**mine, **about, "log": concerned, "unreachable": found["warnings"]}


def promotion_log(workspace: Workspace, goal: str | None = None) -> list[dict[str, Any]]:
    """Return the promotion log, newest first."""
    return [each.body for each in promotions(workspace.store, goal)][::-1]


def _listed(workspace: Workspace, each: ListedVersion) -> dict[str, Any]:
    erased = TAG in each.tags or bool(erased_from(workspace, each.goal, each.version))
    return {
        "goal": each.goal,
        "version": each.version,
        "number": each.number,
        "made_at": time.format_instant(each.made_at),
        "aliases": list(each.aliases),
        "published": _published(workspace).get(each.goal) == each.version,
        "in_store": workspace.bundle_folder(each.goal, each.version).is_dir(),
        "learnt_from_erased": erased,
        "decision": each.tags.get("decision"),
        "metrics": dict(each.metrics),
    }


def _stored(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the versions of the store as they are listed, with the aliases of the log."""
    found = []
    for (goal, version), facts in sorted(_facts(workspace).items(), reverse=True):
        log = promotions(workspace.store, goal)
        serves = bool(log) and log[-1].after == version
        found.append({
            "goal": goal,
            "version": version,
            "number": None,
            "made_at": None,
            "aliases": [CHAMPION] if serves else [],
            "published": _published(workspace).get(goal) == version,
            "in_store": workspace.bundle_folder(goal, version).is_dir(),
            "learnt_from_erased": bool(erased_from(workspace, goal, version)),
            "decision": facts["challenge"]["words"],
            "metrics": dict(facts["metrics"]),
        })  # fmt: skip
    return found


def _facts(workspace: Workspace) -> dict[tuple[str, str], dict[str, Any]]:
    keys = sorted(each.name for each in (workspace.store.root / "tables" / TRAINED).glob("[!.]*"))
    facts = [workspace.store.facts(TRAINED, key) for key in keys]
    return {(each["goal"], each["version"]): each for each in facts if "goal" in each}


def _published(workspace: Workspace) -> Mapping[str, str]:
    manifest = workspace.store.current()
    return manifest.models if manifest else {}


# Which serves ------------------------------------------------------------------------------------


def promote(workspace: Workspace, version: str, reason: str, report: Reporter) -> Changed:
    """Let a version serve, whatever its figures, and publish the run anew with it.

    Raises `UnknownVersion`, `AlreadyServes`, `CannotServe` and `MlflowUnreachable`; the alias, the
    log and the published run are then what they were.
    """
    listed = registry_of(workspace).versions()
    mine = next((each for each in listed if each.version == version), None)
    if mine is None:
        raise UnknownVersion.of(version, "", [each.version for each in listed])
    before = next(
        (v.version for v in listed if v.goal == mine.goal and CHAMPION in v.aliases), None
    )
    return _change(workspace, Promotion(mine.goal, before, version, BY_HAND, reason), report)


def rollback(workspace: Workspace, goal: str, reason: str, report: Reporter) -> Changed:
    """Let the version serve again that did before the last change; raises as `promote` does.

    A second rollback undoes the first. Raises `NoWayBack` where nothing has changed yet.
    """
    log = promotions(workspace.store, goal)
    if not log:
        known = {each.goal for each in promotions(workspace.store)}
        raise NoWayBack(f"Nothing is known of {goal!r}.", hint=did_you_mean(goal, known))
    now = registry_of(workspace).champions([goal]).get(goal, log[-1].after)
    # An alias that was moved by hand since is the last change.
    back = log[-1].before if now == log[-1].after else log[-1].after
    if back is None:
        raise NoWayBack(
            f"{goal} has had no champion before {now}.",
            hint="`likelier models promote VERSION --reason TEXT` lets any version serve.",
        )
    return _change(workspace, Promotion(goal, now, back, BACK, reason), report)


def _change(workspace: Workspace, change: Promotion, report: Reporter) -> Changed:
    if change.before == change.after:
        raise AlreadyServes(
            f"{change.goal} {change.after} is the champion already.",
            hint="`likelier run` scores by it, if it does not yet.",
        )
    if change.goal not in [goal.name for goal in workspace.project.goals]:
        # A model of a wide table: no run scores by it.
        with workspace.store.lock():
            settle(workspace, [change])
        return Changed(change, None)
    with workspace.store.lock(), workspace.engine() as engine:
        bench = Bench(workspace, engine)
        published = workspace.store.require_current()
        _check(bench, change, published, report)
        manifest = runner.republish(bench, change, report)
    return Changed(change, manifest)


def _check(bench: Bench, change: Promotion, published: Manifest, report: Reporter) -> None:
    """Raise `CannotServe` unless a version may and can score the people of the published run."""
    bench.say = lambda text: report("features", text)
    unify(bench, ingest_all(bench))
    (goal,) = plan_features(bench, published.as_of, goals=[change.goal]).goals
    champion = champion_of(bench, change.goal, change.after)
    bundle = bundle_of(bench, change.goal, champion.trained)
    why, hint = "", "Train a new one with `likelier run --from train`."
    if learnt_from_erased(bench, champion):
        why = "it learnt, or may have learnt, from people who were erased since"
    elif champion.facts["question"] != question_of(goal):
        why, hint = "the goal asks another question now", "Put the goal back as it was, and run."
    elif lost := unmeasurable(bench, bundle, champion.facts):
        why = f"it wants what is measured no longer: {', '.join(lost[:3])}"
    elif published.as_of < champion.as_of:
        why = "it learnt what came after the published run, which is of an earlier moment"
        hint = "Publish a run of today first: `likelier run`."
    if why:
        raise CannotServe(f"{change.goal} {change.after} cannot serve: {why}.", hint=hint)
