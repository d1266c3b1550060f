"""The page `truth/README.md` of a simulated shop."""

from __future__ import annotations

README = """\
# What is true of this shop

Everything below was planted. Nothing in this folder is read by the project: `likelier.yaml` names
only `data/`.

| file | a row a | holds |
|---|---|---|
| `people.parquet` | person | customer id (null = never registered), cookies, latent traits, \
when the person came, registered and died (null = alive at the end), and the sum of daily death \
hazards lived through (`death_risk`) |
| `cookies.parquet` | cookie | its owner, and by how many people it was used |
| `sessions.parquet` | session | who, when, and the true chance that it ended in a purchase |
| `events.parquet` | event | the id in the data, the session, the person it really was |
| `snapshot.parquet` | person who had come by {as_of} | hazards and memories at that moment, \
the true probability of a purchase within 14 and 30 days, and what happened |
| `causes.json` | | the sizes below, for machines |

## How a day goes

Memories of views, carts, tickets, orders and spend halve every half-life. With
`h = log1p(memory)`, and everything known before the moment it acts:

- **Dying** (no activity ever again, from 00:00 of that day): hazard =
  `death_base · exp(death_guest·[never registers] + death_tickets·tickets +
  death_gap·min(days since last session, death_gap_cap) + death_tier·tier)`, tier 0 to 3.
- **Visiting** (at most one session a day): hazard = `visit_rate · exp(visit_interest·h(views) +
  visit_carts·h(carts) + visit_weekend·[days 5 and 6 of each week since the start])`.
- **Buying** (at the end of a session, its own views and carts included): log odds =
  `purchase_base + purchase_inclination·inclination + purchase_views·h(views) +
  purchase_carts·h(carts) + purchase_price_sensitivity·price_sensitivity +
  purchase_tickets·tickets + purchase_mobile·[mobile] + purchase_channel[channel] +
  purchase_guest·[never registers]`. Channels: direct, organic, email, paid, social.
- **Complaining**: chance per session `ticket_base + ticket_after_order·min(orders, 2)`.

A chance of a hazard h in a day is 1 - exp(-h). After an order the memory of carts is empty and
that of views is halved (`interest_kept_after_order`). `spend` adds 1.5 times the median price of
the favourite category an order; a review at 03:00 of every thirtieth day grants bronze, silver and
gold to those who will register (an order registers them at once).

## The true probability at {as_of}

`purchase_probability_14d` and `_30d` average 1 - ∏(1 - chance of each session) over {paths} lives
simulated from the person's true state by the code that made the data, purchases suppressed; that is
unbiased for the probability of at least one purchase, with a standard error of about 0.02 and, for
one person in a hundred, an error beyond 0.07. It knows the latent traits and who has died, so no
model reaches its accuracy. The dead have 0.

## What the shop can see

About 40% never log in. Three in ten registered people use two devices, one in twelve clears cookies
once, about one in eighty sometimes uses another person's device. One event in a thousand, none of
them logged in, carries a junk customer id (`undefined`, `null`); one in two hundred arrives
hours or days late.

## Sizes

| cause | size |
|---|---|
{causes}
"""
"""The text, with `as_of`, `paths` and `causes` left to fill in."""
