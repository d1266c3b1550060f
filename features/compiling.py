"""Loops compiled by Numba. Importing this takes about half a second: do it where a loop is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
T = TypeVar("T")


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """Compile a function, kept on disk where there is a folder to keep it in."""
    fast: Callable[P, T]
    try:
        fast = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # Neither the installed package nor the user's cache can be written to.
        fast = numba.njit(nogil=True)(function)
    return fast
