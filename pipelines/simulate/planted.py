"""A shop with two planted causes, and the reasons in which they must show.

Whether a visit ends in buying follows from what lies in the cart, and leaving from support tickets;
nothing else moves either. Taste, price, channel, tier, looking at products and being registered do
nothing here. How often somebody visits stays different between people, and a cart brings them back.
"""

from __future__ import annotations

from pipelines.simulate.world import Causes

PLANTED = Causes(
    purchase_base=-6.0, purchase_inclination=0.0, purchase_views=0.0, purchase_carts=3.0,
    purchase_price_sensitivity=0.0, purchase_tickets=0.0, purchase_mobile=0.0,
    purchase_channel=(0.0,) * 5, purchase_guest=0.0,
    visit_interest=0.0, visit_carts=2.0,
    death_base=0.0003, death_guest=0.0, death_tickets=5.0, death_gap=0.0, death_tier=0.0,
    ticket_base=0.03, ticket_after_order=0.2,
    half_life_carts=10.0, half_life_tickets=20.0,
)  # fmt: skip
"""Effects for `simulate(causes=PLANTED)`."""

_VIEWS = ("page_view", "product_view")
_VISITS = {"page_view_active_days", "page_view_count", "page_view_gap_mean", "session_count"}
"""How often somebody comes: every session has a page view."""
_SILENCE = {f"days_since_{view}" for view in _VIEWS} | {f"{view}_gap_ratio" for view in _VIEWS}


def cause_shown(goal: str, code: str) -> str | None:
    """Return which planted cause a reason of a goal shows: its code is all that counts.

    Of a conversion: `carts`, any reason about carts, and `visits`, how often somebody comes, since
    nobody buys without coming. Of a churn: `tickets`, any reason about tickets, and `leaving`, what
    tickets do: those who have left are known by their silence. None for what only goes along with
    these: purchases, products viewed, and all else.
    """
    if goal == "conversion":
        if "add_to_cart" in code:
            return "carts"
        return "visits" if code in _VISITS else None
    if "support_ticket" in code:
        return "tickets"
    return "leaving" if code in _SILENCE else None


_TOLD = {"add_to_cart": "carts", "support_ticket": "tickets"}
_LIKED = ("product_view", "search")


def part_told(code: str) -> str | None:
    """Return which part of a person (`reasons.PARTS`) a reason is the trace of; None: of no one.

    Silence is the trace of having left for good. That of living people who seldom come looks alike.
    """
    for event, part in _TOLD.items():
        if event in code:
            return part
    if code in _VISITS:
        return "visits"
    if code in _SILENCE:
        return "gone"
    if "purchase" in code or code == "loyalty_tier":
        return "orders"
    return "taste" if any(event in code for event in _LIKED) else None
