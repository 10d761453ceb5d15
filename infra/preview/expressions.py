"""The little of CloudWatch's metric math that our alarms and dashboards use: arithmetic, comparisons, IF and FILL."""

import ast
import operator
from collections.abc import Callable, Mapping

import numpy as np

from infra.preview.series import Values
from infra.preview.template import NotUnderstood

_OPERATORS: Mapping[type[ast.AST], Callable[[Values, Values], Values]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class NoData(Exception):
    """A metric of the expression has no data, so CloudWatch would draw nothing."""


def evaluate(expression: str, values: Callable[[str], Values | None]) -> Values | None:
    """What an expression gives, where `values` gives each id's; none if one has no data. Raises `NotUnderstood`."""
    try:
        # It is written as Python would write it, so Python's own parser reads it; nothing is run.
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(_value(ast.parse(expression, mode="eval").body, values), dtype=float)
    except NoData:
        return None


def _value(node: ast.AST, values: Callable[[str], Values | None]) -> Values:
    match node:
        case ast.Constant(value=int() | float() as number):
            return np.array(float(number))
        case ast.Name(id=name):
            found = values(name)
            if found is None:
                raise NoData(name)
            return found
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, values), _value(right, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left, values), _value(right, values))
        case ast.Call(func=ast.Name(id="FILL"), args=[series, filler]):
            found = _value(series, values)
            return np.where(np.isnan(found), _value(filler, values), found)
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, *otherwise]):
            missing = np.array(np.nan)
            other = _value(otherwise[0], values) if otherwise else missing
            return np.where(_value(condition, values), _value(then, values), other)
    raise NotUnderstood(f"got {ast.unparse(node)!r}; takes numbers, ids, + - * / > >=, IF and FILL")
