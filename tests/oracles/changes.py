"""The slow twin of `profile_changes`: who each old profile is now, one identity at a time."""

from __future__ import annotations

from collections.abc import Mapping

People = Mapping[str, str]
"""Identity to the anchor of its profile."""


def changes(before: People, now: People) -> dict[str, tuple[str, str, dict[str, str]]]:
    """Return, by old profile that is not as it was, its successor, the kind, and what moved."""
    found = {}
    olds = set(before.values())
    for old in olds:
        if old not in now:
            continue
        new = now[old]
        mine = [identity for identity, anchor in before.items() if anchor == old]
        moved = {each: now[each] for each in mine if each in now and now[each] != new}
        others = [each for each in olds if each != old and now.get(each) == new]
        kind = "split" if moved else "merged" if others else "renamed"
        if moved or new != old:
            found[old] = (new, kind, moved)
    return found
