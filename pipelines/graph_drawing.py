"""A picture of who is who: one self-contained SVG, readable on light and dark pages.

Identities stand on a circle, those of one profile side by side and in one colour; a hollow one
belongs to no profile. A solid line is a link that holds, with when it was last seen; a dotted one
was refused, with the reason. Pointing at anything shows all that is known of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from features.errors import LikelierError
from features.identity.who import Link, WhoIsWho

When = Callable[[int], str]
"""Says a moment of a link in words."""

FORMATS = (".svg", ".html")
SPACING = 46
"""Pixels between neighbours on the circle."""
SMALLEST = 150
"""Radius of the smallest circle, in pixels."""
MARGIN = (230, 90)
"""Room for labels beside and above the circle, in pixels."""
LONGEST = 26
"""Characters of a label; what is longer is cut, and whole in its title."""
MOST_LABELS = 60
"""Links that are written on: of more, the times and reasons are in the titles only."""
GOLDEN_ANGLE = 137.508
"""Degrees between the hues of profiles: never near each other, however many there are."""

STYLE = """
svg { background: #ffffff; color: #1b1f24; font: 12px system-ui, sans-serif; }
text { fill: currentColor; }
.held { stroke: #57606a; stroke-width: 1.6; }
.refused { stroke: #c4432b; stroke-width: 1.8; stroke-dasharray: 1.5 5; stroke-linecap: round; }
.note { font-size: 10px; paint-order: stroke; stroke: #ffffff; stroke-width: 4; }
.why { fill: #a8321c; }
.nobody { fill: none; stroke: currentColor; stroke-width: 1.5; }
.title { font-size: 15px; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  svg { background: #14181d; color: #e6e9ed; }
  .held { stroke: #98a2ad; }
  .refused { stroke: #ff8a70; }
  .note { stroke: #14181d; }
  .why { fill: #ff9d86; }
}
"""

# What XML 1.0 cannot hold at all, even escaped.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class NoSuchPicture(LikelierError):
    """A picture that cannot be: in a format that is not drawn, or where no file can be written."""

    code = "bad_picture"


@dataclass(frozen=True)
class Place:
    """Where an identity stands: pixels, y downwards, and the angle seen from the centre."""

    x: float
    y: float
    angle: float


def picture(who: WhoIsWho, title: str, when: When, ending: str) -> str:
    """Return the picture as the text of a file that ends in `ending`: `.svg` or `.html`.

    Raises `NoSuchPicture` for another ending.
    """
    if ending.lower() not in FORMATS:
        raise NoSuchPicture(
            f"No picture is drawn as {ending or 'a file without an ending'}.",
            hint="End the file name in .svg or .html.",
        )
    drawn = svg(who, title, when)
    if ending.lower() == ".svg":
        return drawn
    # The page stands behind the picture: without this, a white edge in a dark window.
    page = '<meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    return f"<!doctype html>\n{page}\n<title>{_text(title)}</title>\n{drawn}"


def svg(who: WhoIsWho, title: str, when: When) -> str:
    """Return an SVG document of everyone in `who`."""
    radius = max(SMALLEST, SPACING * len(who.identities) / math.tau)
    width, height = (2 * (radius + margin) for margin in MARGIN)
    places = _places(who, radius, width / 2, height / 2)
    written = len(who.links) <= MOST_LABELS
    summary = (
        f"{len(who.identities)} identities, {len(who.profiles)} profiles, "
        f"{len(who.held)} links, {len(who.refused)} refused"
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{_text(title)}</title>",
        f"<desc>{summary}. Solid: a link, with when it was last seen. Dotted: refused, and why. "
        "One colour: one profile. Hollow: in no profile.</desc>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="16" y="26">{_text(title)}</text>',
        f'<text x="16" y="44">{summary}</text>',
        *(_line(link, places, when) for link in who.links),
        *_notes(who, places, when, written),
        *(_identity(name, places[name], hue) for name, hue in _hues(who).items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _places(who: WhoIsWho, radius: float, x: float, y: float) -> dict[str, Place]:
    """Stand everyone on the circle, from the left and clockwise, profile by profile."""
    around = list(_hues(who))
    places = {}
    for position, name in enumerate(around):
        angle = math.pi + math.tau * position / len(around)
        places[name] = Place(x + radius * math.cos(angle), y + radius * math.sin(angle), angle)
    return places


def _hues(who: WhoIsWho) -> dict[str, float | None]:
    """Return everyone, profile by profile, with the hue of the profile; None for no profile."""
    hues: dict[str, float | None] = {
        name: (210 + GOLDEN_ANGLE * number) % 360
        for number, profile in enumerate(who.profiles)
        for name in profile
    }
    return hues | {name: None for name in who.identities if name not in hues}


def _identity(name: str, place: Place, hue: float | None) -> str:
    cosine, sine = math.cos(place.angle), math.sin(place.angle)
    side = "middle" if abs(cosine) < 0.2 else "start" if cosine > 0 else "end"
    x, y = place.x + 14 * cosine, place.y + 18 * sine + 4
    paint = 'class="nobody"' if hue is None else f'fill="hsl({hue:.0f} 60% 52%)"'
    return (
        f"<g><title>{_text(name)}</title>"
        f'<circle cx="{place.x:.1f}" cy="{place.y:.1f}" r="8" {paint}/>'
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{side}">{_text(_short(name))}</text></g>'
    )


def _line(link: Link, places: dict[str, Place], when: When) -> str:
    a, b = places[link.a], places[link.b]
    said = f"{link.a} with {link.b}: {link.seen(when)}"
    said += link.override and f"; by override: {link.override}"
    said += link.refused and f"; refused: {link.refused}"
    return (
        f'<line class="{"refused" if link.refused else "held"}" x1="{a.x:.1f}" y1="{a.y:.1f}" '
        f'x2="{b.x:.1f}" y2="{b.y:.1f}"><title>{_text(said)}</title></line>'
    )


def _notes(who: WhoIsWho, places: dict[str, Place], when: When, written: bool) -> list[str]:
    if not written:
        return []
    notes = []
    for number, link in enumerate(who.links):
        a, b = places[link.a], places[link.b]
        # Chords cross in the middle: what is written on them keeps away from it, and apart.
        share = (0.32, 0.4, 0.6, 0.68)[number % 4]
        x, y = a.x + share * (b.x - a.x), a.y + share * (b.y - a.y)
        seen = "" if link.last_seen is None else when(link.last_seen)
        why = ", ".join(filter(None, (link.refused, link.override, seen)))
        kind = "note why" if link.refused else "note"
        notes.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y + 3:.1f}" text-anchor="middle">'
            f"{_text(why)}</text>"
        )
    return notes


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _text(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))
