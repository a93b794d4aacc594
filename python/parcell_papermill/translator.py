"""Python values as Rust literals with their types.

Every parameter becomes `let name: Type = value;`. A value that does not tell its type (`None`, an
empty list or dictionary) counts as one of numbers: `Option<f64>`, `Vec<f64>`.
"""

import math
import re

from papermill.exceptions import PapermillException
from papermill.translators import Translator

# Reserved words of the 2024 edition; these can be written as raw identifiers ...
RESERVED = frozenset(
    """abstract as async await become box break const continue do dyn else enum extern false final
    fn for gen if impl in let loop macro match mod move mut override priv pub ref return static
    struct trait true try type typeof unsafe unsized use virtual where while yield""".split()
)
# ... and these cannot.
UNUSABLE = frozenset(["_", "crate", "self", "Self", "super"])
# What stands for a type that the value does not tell.
UNKNOWN = "f64"


class Untranslatable(PapermillException):
    """A parameter that has no counterpart in Rust."""


class RustTranslator(Translator):
    """Writes papermill's parameters as Rust."""

    @classmethod
    def translate(cls, val):
        """The Rust expression for a value."""
        return _expression(val, _type(val))

    @classmethod
    def comment(cls, cmt_str):
        """A comment line."""
        return f"// {cmt_str}".strip()

    @classmethod
    def assign(cls, name, str_val):
        """A statement that binds a name to an expression."""
        return f"let {_identifier(name)} = {str_val};"

    @classmethod
    def codify(cls, parameters, comment="Parameters"):
        """The source of the parameters cell."""
        lines = [cls.comment(comment)]
        for name, value in parameters.items():
            kind = _type(value)
            lines.append(f"let {_identifier(name)}: {kind} = {_expression(value, kind)};")
        return "\n".join(lines) + "\n"


def _identifier(name):
    if name in UNUSABLE or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise Untranslatable(f"{name!r} cannot be the name of a Rust variable")
    return f"r#{name}" if name in RESERVED else name


def _type(value):
    """The Rust type of a value; None for a value that does not tell."""
    return _known_type(value).replace("?", UNKNOWN)


def _known_type(value):
    """Like `_type`, with a question mark for each part that is not known."""
    if value is None:
        return "Option<?>"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return _integer_type(value)
    if isinstance(value, float):
        return "f64"
    if isinstance(value, str):
        return "String"
    if isinstance(value, (list, tuple)):
        return f"Vec<{_common(map(_known_type, value))}>"
    if isinstance(value, dict):
        return f"std::collections::BTreeMap<String, {_common(map(_known_type, value.values()))}>"
    raise Untranslatable(f"a value of type {type(value).__name__} has no counterpart in Rust")


def _integer_type(value):
    for bits in (64, 128):
        if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            return f"i{bits}"
    raise Untranslatable(f"{value} does not fit into an i128")


def _common(types):
    """The one type that all elements of a collection can have."""
    common = "?"
    for kind in types:
        common = _join(common, kind)
    return common


NUMBERS = ["i64", "i128", "f64"]


def _join(one, other):
    if one == other or other == "?":
        return one
    if one == "?":
        return other
    if one in NUMBERS and other in NUMBERS:
        return max(one, other, key=NUMBERS.index)
    # An element that may be missing makes all of them optional.
    for first, second in ((one, other), (other, one)):
        if first.startswith("Option<"):
            inner = second[7:-1] if second.startswith("Option<") else second
            return f"Option<{_join(first[7:-1], inner)}>"
    for outer in ("Vec<", "std::collections::BTreeMap<String, "):
        if one.startswith(outer) and other.startswith(outer):
            return f"{outer}{_join(one[len(outer):-1], other[len(outer):-1])}>"
    raise Untranslatable(f"a list cannot hold both {one} and {other} in Rust")


def _expression(value, kind):
    """The value written as an expression of this type."""
    if kind.startswith("Option<"):
        return "None" if value is None else f"Some({_expression(value, kind[7:-1])})"
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind == "f64":
        return _float(float(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f"{_string(value)}.to_string()"
    if isinstance(value, dict):
        return _map(value, kind)
    inner = kind[len("Vec<") : -1]
    return f"vec![{', '.join(_expression(v, inner) for v in value)}]"


def _map(value, kind):
    if not all(isinstance(key, str) for key in value):
        raise Untranslatable("the keys of a dictionary must be strings")
    inner = kind[len("std::collections::BTreeMap<String, ") : -1]
    pairs = [f"({_string(k)}.to_string(), {_expression(v, inner)})" for k, v in value.items()]
    return f"std::collections::BTreeMap::from([{', '.join(pairs)}])"


def _float(value):
    if math.isnan(value):
        return "f64::NAN"
    if math.isinf(value):
        return "f64::INFINITY" if value > 0 else "f64::NEG_INFINITY"
    # Python writes 1e+16, which is a floating-point literal in Rust too.
    return repr(value)


def _string(text):
    return f'"{"".join(map(_character, text))}"'


def _character(char):
    if char in '"\\':
        return "\\" + char
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
    if char in named:
        return named[char]
    if "\ud800" <= char <= "\udfff":
        raise Untranslatable("a string holds half of a surrogate pair, which Rust does not allow")
    # rustc refuses invisible characters that change the direction of text.
    return char if char.isprintable() else f"\\u{{{ord(char):x}}}"
