r"""Formulas as people say them: "\frac{1}{2}" is "1 over 2".

Pure. It says what is in a formula and computes nothing; a command that it does not know is left out, what stands in its
braces stays.
"""

import re

WORDS = {
    "times": "times",
    "cdot": "times",
    "div": "divided by",
    "pm": "plus or minus",
    "leq": "is at most",
    "le": "is at most",
    "geq": "is at least",
    "ge": "is at least",
    "neq": "is not",
    "ne": "is not",
    "lt": "is less than",
    "gt": "is more than",
    "approx": "is about",
    "sim": "is about",
    "propto": "is proportional to",
    "to": "to",
    "rightarrow": "to",
    "Rightarrow": "so",
    "infty": "infinity",
    "sum": "the sum of",
    "prod": "the product of",
    "int": "the integral of",
    "lim": "the limit of",
    "degree": "degrees",
    "circ": "degrees",
    "ldots": "and so on",
    "cdots": "and so on",
    "dots": "and so on",
    "log": "log",
    "ln": "log",
    "sin": "sine",
    "cos": "cosine",
    "tan": "tangent",
    "alpha": "alpha",
    "beta": "beta",
    "gamma": "gamma",
    "delta": "delta",
    "Delta": "delta",
    "epsilon": "epsilon",
    "theta": "theta",
    "lambda": "lambda",
    "mu": "mu",
    "pi": "pi",
    "rho": "rho",
    "sigma": "sigma",
    "tau": "tau",
    "phi": "phi",
    "omega": "omega",
    "Omega": "omega",
}
TWO_ARGUMENTS = ("frac", "dfrac", "tfrac", "binom")
ONE_ARGUMENT = (
    *("sqrt", "boxed", "overline", "hat", "vec", "bar", "begin", "end"),
    *("text", "textbf", "textit", "emph", "mathrm", "mathbf", "mathit", "mathbb", "operatorname"),
)

_INNER = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[^{}]*\}|\\(?:left|right|big|Big|displaystyle)\b|\\[,;:! ]|~")
_FRACTION = re.compile(rf"\\[dt]?frac\s*{_INNER}\s*{_INNER}")
_BINOMIAL = re.compile(rf"\\binom\s*{_INNER}\s*{_INNER}")
_ROOT = re.compile(rf"\\sqrt\s*(?:\[([^\]]*)\])?\s*{_INNER}")
_POWER = re.compile(rf"\s*\^\s*(?:{_INNER}|(\w|\\circ\b|'))")
_INDEX = re.compile(rf"_\s*(?:{_INNER}|(\w))")
_COMMAND = re.compile(r"\\([a-zA-Z]+)\s*")
_SIGNS = {"=": " equals ", "+": " plus ", "<": " is less than ", ">": " is more than ", "*": " times "}
_SIGN = re.compile(r"\s*([=+<>*])\s*|\s+-\s+|(?<=[\w)}])-(?=[\w({])")
_RANGE = re.compile(rf"\\(sum|prod|int)\s*_\s*(?:{_INNER}|(\w))\s*\^\s*(?:{_INNER}|(\w|\\infty))")
_NESTED = 4
_POWERS = {"2": "squared", "3": "cubed", "\\circ": "degrees", "'": "prime"}


def spoken_formula(tex: str) -> str:
    """What the formula `tex`, without its delimiters, says."""
    text = _ENVIRONMENT.sub(" ", " ".join(tex.split()))
    text = text.replace("\\\\", ", ").replace("&", " ").replace("\\%", " percent")
    if has_commands := "\\" in text:
        for _ in range(_NESTED):  # from the inside out
            before = text
            text = _FRACTION.sub(r" \1 over \2 ", text)
            text = _BINOMIAL.sub(r" \1 choose \2 ", text)
            text = _ROOT.sub(_root, text)
            if text == before:
                break
        text = _RANGE.sub(_range, text)
    if "^" in text:
        text = _POWER.sub(_power, text)
    if "_" in text:
        text = _INDEX.sub(lambda index: index[1] or index[2], text)
    text = _SIGN.sub(lambda sign: _SIGNS.get(sign[1] or "", " minus "), text)
    if has_commands:
        text = _COMMAND.sub(lambda command: f" {WORDS.get(command[1], '')} ", text)
    text = re.sub(r"[{}$]|\\", "", text)
    return " ".join(text.split())


def _range(span: re.Match[str]) -> str:
    return f" {WORDS[span[1]].removesuffix(' of')} from {span[2] or span[3]} to {span[4] or span[5]} of "


def _root(root: re.Match[str]) -> str:
    name = {None: "square", "": "square", "3": "cube"}.get(root[1], f"{root[1]}th")
    return f" the {name} root of {root[2]} "


def _power(power: re.Match[str]) -> str:
    exponent = (power[1] if power[1] is not None else power[2]).strip()
    return f" {_POWERS.get(exponent, f'to the power of {exponent}')} "
