"""Numbers as people read them."""

from __future__ import annotations


def said_number(value: float) -> str:
    """Say a finite number with about three digits that count: `1,250`, `31.5`, `0.25`, `4`."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    shown = f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.01 else ""
    return shown.rstrip("0").rstrip(".") if shown else f"{value:.2g}"
