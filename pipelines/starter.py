"""The project file that `likelier init` writes."""

from __future__ import annotations

from features.errors import LikelierError


class ProjectExists(LikelierError):
    """A project file where a new one was to be written."""

    code = "project_exists"


STARTER = """\
# A Likelier project. Every key is explained in the settings table of README.md.
project: my_shop
time_zone: UTC                        # defines days, and reads times that have no offset
sources:
  - name: web
    kind: events                      # things that happened; `records` are rows about people
    path: data/events/*.jsonl         # a file, a folder or a glob: csv, jsonl, parquet, lines
    event_time: timestamp             # columns, or SQL expressions over them
    event_type: event
    # event_id: id                    # without it, made from the row's content
    # received_at: received_at        # when we knew; without it, when it happened
    identities: {customer: user_id, cookie: anonymous_id}
    attributes: {amount: amount}
identity:
  namespaces:                         # in priority order
    - {name: customer, type: person, unique: true}
    - {name: cookie, type: cookie}
features: {windows: [7d, 30d, 90d]}
goals:
  - name: conversion
    kind: conversion                  # or churn
    outcome: any(purchase)
    outcome_window: 14d
    # eligible: any(page_view in last 30d)     # by default, active in the last 45 days
segments:
  - name: ready_to_buy
    title: Ready to buy
    where: conversion.bucket = "high"
    export: [crm_file]
destinations:
  - name: crm_file
    kind: file
    format: csv
    path: exports/
    purpose: marketing
    columns: {profile: profile_id, score: conversion.score, reason_1: conversion.factors.1.label}
"""
