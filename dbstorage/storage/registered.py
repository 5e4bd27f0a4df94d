"""The functions that the registry of commands names: they reach servers, so that it does not import them."""

from collections.abc import Callable
from functools import cache
from pkgutil import resolve_name
from typing import Any, cast


@cache
def function_named(name: str) -> Callable[..., Any]:
    """The function of a kind's `writer` or `look`, `module:function`."""
    return cast(Callable[..., Any], resolve_name(name))
