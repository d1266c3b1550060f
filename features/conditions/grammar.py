"""The grammar of conditions and of measures, and the plain words for each of its tokens.

LALR(1) with a contextual lexer: a keyword is one only where it may stand, so an attribute may be
called `last` or `count`. Functions are plain names here; which exist, and what they take, is
checked afterwards, so that a misspelt one gets a suggestion.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from lark import Lark

GRAMMAR = r"""
?start: either_of{_profile_test}

?either_of{test}: all_of{test}
    | all_of{test} (_OR all_of{test})+ -> either
?all_of{test}: one_of{test}
    | one_of{test} (_AND one_of{test})+ -> both
?one_of{test}: _NOT one_of{test} -> negation
    | "(" either_of{test} ")"
    | test

_profile_test: test_of{_operand} | bare
bare: call
_operand: attribute | score | call
attribute: NAME
score: NAME "." NAME
call: NAME "(" arguments ")"
arguments: _step (_THEN _step)*
    | NAME "," NAME -> pair
_step: step | absent
step: event _limit*
absent: _NOT event _limit*
event: (NAME | STRING) ("." NAME)?
_limit: where | lookback | since | before | within
where: _WHERE either_of{_event_test}
lookback: _IN _LAST WINDOW
since: _SINCE date
before: _BEFORE date
within: _WITHIN WINDOW

?value: product (SUM product)+ -> chain
    | product
?product: _part (PRODUCT _part)+ -> chain
    | _part
_part: number | attribute | call | "(" value ")"
number: NUMBER

_event_test: test_of{field}
field: NAME

?test_of{operand}: operand OPERATOR literal -> compare
    | operand _IN "(" literal ("," literal)* ")" -> among
    | operand _BETWEEN literal _AND literal -> range
    | operand _CONTAINS literal -> contains
    | operand _STARTS _WITH literal -> starts_with
    | operand _ENDS _WITH literal -> ends_with
    | operand _EXISTS -> exists

?literal: STRING | NUMBER | TRUE | FALSE | NAME | date
date: _DATE "(" STRING ")"

_OR.2: /or\b/i
_AND.2: /and\b/i
_NOT.2: /not\b/i
_IN.2: /in\b/i
_LAST.2: /last\b/i
_WHERE.2: /where\b/i
_CONTAINS.2: /contains\b/i
_BETWEEN.2: /between\b/i
_STARTS.2: /starts\b/i
_ENDS.2: /ends\b/i
_WITH.2: /with\b/i
_EXISTS.2: /exists\b/i
_SINCE.2: /since\b/i
_BEFORE.2: /before\b/i
_WITHIN.2: /within\b/i
_THEN.2: /then\b/i
_DATE.2: /date\b/i
TRUE.2: /true\b/i
FALSE.2: /false\b/i
SUM: /[+-]/
PRODUCT: /[*\/]/
OPERATOR: /!=|<=|>=|=|<|>/
NUMBER: /-?[0-9]+(\.[0-9]+)?/
STRING: /"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/s
NAME: /[A-Za-z_][A-Za-z0-9_]*/
WINDOW: /[A-Za-z0-9_.]+/
%ignore /\s+/
"""

KEYWORDS = {
    "_OR": "or",
    "_AND": "and",
    "_NOT": "not",
    "_IN": "in",
    "_LAST": "last",
    "_WHERE": "where",
    "_CONTAINS": "contains",
    "_BETWEEN": "between",
    "_STARTS": "starts",
    "_ENDS": "ends",
    "_WITH": "with",
    "_EXISTS": "exists",
    "_SINCE": "since",
    "_BEFORE": "before",
    "_WITHIN": "within",
    "_THEN": "then",
    "_DATE": "date",
    "TRUE": "true",
    "FALSE": "false",
}
"""Token → the word it stands for."""

_PLAIN = {
    "NAME": "a name",
    "STRING": "a quoted text",
    "NUMBER": "a number",
    "OPERATOR": "a comparison (= != < <= > >=)",
    "SUM": "`+`, `-`",
    "PRODUCT": "`*`, `/`",
    "WINDOW": "a length of time like 30d",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "COMMA": "`,`",
    "DOT": "`.`",
}


@cache
def lark() -> Lark:
    """Build the parser, once. It starts at `start`, a condition, or at `value`, a measure."""
    starts = ["start", "value"]
    return Lark(GRAMMAR, start=starts, parser="lalr", lexer="contextual", propagate_positions=True)


def in_words(tokens: Iterable[str]) -> str:
    """Say which tokens may stand somewhere: `a name, a quoted text or `)``."""
    found = set(tokens)
    if {"NAME", "NUMBER", "STRING"} <= found:
        found -= {"NAME"}  # a literal: names stand there only after factor(…)
    words = _PLAIN | {token: f"`{word}`" for token, word in KEYWORDS.items()}
    said = [said for token, said in words.items() if token in found]
    said += ["the end"] if "$END" in found else []
    return " or ".join(filter(None, [", ".join(said[:-1]), *said[-1:]]))
