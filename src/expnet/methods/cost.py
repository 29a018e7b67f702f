"""The declared cost of a method: arithmetic that is parsed, never run as code."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from expnet.errors import MethodError

_OPERATIONS: dict[type[ast.operator], Callable[[int | float, int | float], int | float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def passes(declared: str, values: Mapping[str, Any]) -> int | float:
    """Return the number of passes that an expression such as "permutations * (tokens - 1) + 2" names.

    Args:
        declared: Whole numbers and names, joined by +, -, * and //, with parentheses.
        values: What the names stand for.

    Raises:
        MethodError: If it is anything else, or a name stands for no number.
    """
    try:
        return _value(ast.parse(declared, mode="eval").body, values)
    except (KeyError, SyntaxError, TypeError, ZeroDivisionError) as error:
        raise MethodError(
            f"The passes {declared!r} cannot be counted: expected whole numbers, tokens, layers and numeric options "
            f"({', '.join(values)}), joined by +, -, * and //."
        ) from error


def _value(node: ast.expr, values: Mapping[str, Any]) -> int | float:
    match node:
        case ast.Constant(value=int() as number):
            return number
        case ast.Name(id=name) if isinstance(value := values[name], int | float):
            return value
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATIONS[type(op)](_value(left, values), _value(right, values))
    raise TypeError(node)
