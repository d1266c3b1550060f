"""The project file of the simulated shop."""

from __future__ import annotations

PROJECT_FILE = """\
# The simulated shop. What is true of it is written down in truth/README.md.
project: simulated_shop
time_zone: UTC
engine: {kind: duckdb, threads: 2, memory_limit: 2GB}
store: .likelier
mlflow: {tracking_uri: "sqlite:///.likelier/mlflow.db", artifacts: .likelier/mlartifacts}
sources:
  - name: web
    kind: events
    path: data/events/*.jsonl.gz
    event_time: ts
    received_at: received_at
    event_id: id
    event_type: type
    identities: {customer: customer, cookie: cookie}
    attributes:
      category: category
      price: price
      amount: amount
      items: items
      term: term
      topic: topic
      channel: channel
      device: device
  - name: crm
    kind: records
    path: data/crm/customers.csv
    known_from: updated_at
    identities: {customer: customer, email: email}
    profile: {country: country, loyalty_tier: loyalty_tier, birth_date: birth_date}
    constant: [birth_date]
    consent: {marketing: marketing_opt_in}
identity:
  namespaces:                      # in priority order
    - {name: customer, type: person, unique: true}
    - {name: email, type: email, pii: true}
    - {name: cookie, type: cookie}
features: {windows: [7d, 14d, 30d, 60d, 90d]}
goals:
  - name: churn
    kind: churn
    outcome: not any(purchase)
    outcome_window: 30d
    eligible: any(purchase in last 90d)
    min_people: 50                 # a simulated shop may be small
  - name: conversion               # anonymous visitors included
    kind: conversion
    outcome: any(purchase)
    outcome_window: 14d
    eligible: any(page_view in last 30d)
    min_people: 50                 # a simulated shop may be small
measures:
  - name: spend_90d
    label: Spend in 90 days
    value: sum(purchase.amount in last 90d)
  - name: average_order
    label: Average order
    template: average_transaction_value
    event: purchase
    amount: amount
segments:
  - name: win_back
    title: Win back
    where: churn.bucket = "high" and sum(purchase.amount in last 90d) > 60
    export: [crm_file]
  - name: ready_to_buy
    title: Ready to buy
    where: conversion.bucket = "high"
    export: [web_file]
  - name: vip
    title: Best customers
    where: spend_90d > 200 and count(purchase in last 90d) >= 3
    export: [crm_file]
  - name: anonymous_hot
    title: Hot and anonymous
    where: conversion.bucket = "high" and not identity(customer) exists
    export: [web_file]
destinations:
  - name: crm_file
    kind: file
    format: csv
    path: exports/
    purpose: marketing
    columns:
      customer: identity.customer
      score: churn.score
      reason_1: churn.factors.1.label
  - name: web_file
    kind: file
    format: jsonl
    path: exports/
    purpose: personalization
    columns:
      cookie: identity.cookie
      score: conversion.score
      reason_1: conversion.factors.1.label
"""
"""`likelier.yaml`; its paths are relative to the project folder."""
