"""The users' feature functions, found by the `module:function` names in a model's spec."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ratchet.errors import SpecError


def load_function(reference: str) -> Callable:
    """The function that "module:function" names. Raises SpecError if the module or the function is not there."""
    module_name, separator, name = reference.partition(":")
    if not (module_name and separator and name):
        raise SpecError("not a function's name", seen=repr(reference), expected="module:function", hint="mend the spec")
    try:
        function = getattr(import_module(module_name), name, None)
    except ImportError as error:
        raise SpecError(
            f"can't import {module_name!r} for {reference!r}",
            seen=f"{type(error).__name__}: {error}",
            expected="a module on the path, such as feature_views.flight_delay",
            hint="put the file in include/feature_views/ or mend the name in the model's spec",
        ) from error
    if not callable(function):
        raise SpecError(
            f"{module_name!r} has no function {name!r}",
            expected=f"def {name}(...) in {module_name}",
            hint="write the function or mend the name in the model's spec",
        )
    return function
