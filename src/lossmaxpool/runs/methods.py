"""The methods that can be compared, as plain values; training builds them, the report names them.

A method is a criterion and a way to draw crops. Its criterion is one of the package, one by import
path, or a weighted sum of both. Those of the package are :data:`METHODS`, ready ones with losses of
other libraries are in ``losses.yaml`` beside this file, and a run may bring its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from lossmaxpool.checks import did_you_mean

# The class weights that training can compute from the pixels of the training split.
Weighting = Literal["median-frequency", "effective-number", "enet", "inverse-sqrt"]
# The criteria of the package; training.criteria builds each from the options of the losses.
CriterionName = Literal[
    "cross-entropy", "max-pooling", "bootstrap", "ohem", "top-k", "logit-adjustment",
    "adjusted-max-pooling",
]  # fmt: skip
# Those that the weighting set of the options ``loss`` concerns.
_MAX_POOLED = ("max-pooling", "adjusted-max-pooling")


@dataclass(frozen=True)
class Own:
    """A criterion of the package, which the options ``loss`` of a run describe further."""

    name: CriterionName
    class_weights: Weighting | None = None


@dataclass(frozen=True)
class Imported:
    """A criterion by import path.

    Args:
        class_path: Of a class, of a function of logits and target, or of one that returns a
            criterion.
        class_weights: Weights that are passed to it as ``weight``; None passes none.
        valid_only: Give it the pixels that are not ignored, as (1, C, n, 1) and (1, n, 1): for a
            criterion that sees each pixel by itself and knows no ``ignore_index``.
        target_channel: Give the class ids a channel, (B, 1, H, W), as MONAI's losses take them.
    """

    class_path: str
    init_args: Mapping[str, Any]
    class_weights: Weighting | None = None
    valid_only: bool = False
    target_channel: bool = False


@dataclass(frozen=True)
class Sum:
    """A weighted sum of criteria."""

    parts: tuple[Criterion, ...]
    weights: tuple[float, ...]


Criterion = Own | Imported | Sum


@dataclass(frozen=True)
class Method:
    """One way to train.

    Args:
        id: The name in configurations and run folders.
        label: The name in tables.
        sampler: Whether crops are drawn by class; else uniformly.
        lr: A learning rate of its own; None takes ``optimization.lr``.
        text: What it is, in a line.
    """

    id: str
    label: str
    criterion: Criterion
    sampler: bool = False
    lr: float | None = None
    text: str = ""

    @property
    def max_pooled(self) -> bool:
        """Whether ``loss.p`` and ``loss.min_support`` change its criterion."""
        return any(isinstance(c, Own) and c.name in _MAX_POOLED for c in leaves(self.criterion))


_TOLD = {
    "max-pooling": "loss max-pooling",
    "adjusted-max-pooling": "loss max-pooling of adjusted logits",
}
_BY_CLASS = "with more crops of the classes on which the network is still poor"
_POOLING = Own("max-pooling")
METHODS = {
    method.id: method
    for method in (
        Method(
            "base",
            "BASE",
            Own("cross-entropy"),
            text="cross-entropy: every pixel has the same weight, crops are drawn uniformly",
        ),
        Method("base+", "BASE+", Own("cross-entropy"), True, text=f"cross-entropy, {_BY_CLASS}"),
        Method(
            "loss-only",
            "LMP (loss only)",
            _POOLING,
            text="loss max-pooling: pixels of high loss get more weight, up to a cap; crops are "
            "drawn uniformly",
        ),
        Method("lmp", "LMP", _POOLING, True, text=f"loss max-pooling, {_BY_CLASS}"),
        Method(
            "inverse-median",
            "Inverse median frequency",
            Own("cross-entropy", "median-frequency"),
            text="cross-entropy weighted per class by the inverse of its median frequency",
        ),
        Method(
            "bootstrap",
            "Bootstrapped",
            Own("bootstrap"),
            text="cross-entropy of the pixels of highest loss alone",
        ),
        Method(
            "ohem",
            "OHEM",
            Own("ohem"),
            text="cross-entropy of the pixels whose class has a low probability, and of at least a "
            "share of the batch",
        ),
        Method(
            "topk",
            "Top-k",
            Own("top-k"),
            text="cross-entropy of the share of the batch with the highest loss: loss max-pooling "
            "at p = 1 over the batch",
        ),
        Method(
            "logit-adjustment",
            "Logit adjustment",
            Own("logit-adjustment"),
            text="cross-entropy of logits raised by the log frequency of their class",
        ),
        Method(
            "adjusted-lmp",
            "Logit-adjusted LMP",
            Own("adjusted-max-pooling"),
            text="loss max-pooling of logits raised by the log frequency of their class",
        ),
        Method(
            "effective-number",
            "Effective number",
            Own("cross-entropy", "effective-number"),
            text="cross-entropy weighted per class by the inverse of its effective number",
        ),
        Method(
            "enet",
            "ENet weights",
            Own("cross-entropy", "enet"),
            text="cross-entropy weighted per class by 1 / log(1.02 + frequency)",
        ),
        Method(
            "inverse-sqrt",
            "Inverse square root",
            Own("cross-entropy", "inverse-sqrt"),
            text="cross-entropy weighted per class by the inverse square root of its frequency",
        ),
    )
}
# The default methods of compare and sweep.
DEFAULT_METHODS = ("base", "loss-only", "lmp")

_NAME = re.compile(r"\w[\w.+-]*")
_KINDS = ("class_path", "method", "sum")
_OF_KIND = {
    "class_path": {"class_path", "init_args", "class_weights", "valid_only", "target_channel"},
    "method": {"method", "class_weights"},
    "sum": {"sum", "weights"},
}
_FORMS = ("valid_only", "target_channel")
_OF_METHOD = {"label", "lr", "sampler"}
Definitions = Mapping[str, Mapping[str, Any]]


@cache
def ready() -> Definitions:
    """Return the definitions that come with the package."""
    text = (Path(__file__).parent / "losses.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return found


def method_names(losses: Definitions) -> list[str]:
    """Return the names of all methods, those of the package first."""
    return list(dict.fromkeys([*METHODS, *ready(), *losses]))


def method_named(name: str, losses: Definitions) -> Method:
    """Return a method by its name.

    Args:
        losses: Definitions of further methods; one with the name of a method of the package may
            give it a label and a learning rate.

    Raises:
        ValueError: There is no such method, or its definition is wrong.

    Example:
        >>> method_named("lmp", {"lmp": {"lr": 0.02}}).lr
        0.02
    """
    return _method(name, losses, ())


def definition(method: Method) -> dict[str, Any]:
    """Return a method as its definition, which needs no other one; empty for the package's own.

    Example:
        >>> definition(METHODS["base"])
        {}
        >>> definition(method_named("x", {"x": {"method": "base", "sampler": True}}))
        {'label': 'x', 'method': 'base', 'sampler': True}
    """
    if METHODS.get(method.id) == replace(method, lr=None):
        return {} if method.lr is None else {"lr": method.lr}
    content: dict[str, Any] = {"label": method.label, **_content(method.criterion)}
    if method.sampler:
        content["sampler"] = True
    if method.lr is not None:
        content["lr"] = method.lr
    if method.id in METHODS:
        # Known by name: its criterion cannot differ.
        return {key: content[key] for key in ("label", "lr") if key in content}
    return content


def leaves(criterion: Criterion) -> Iterator[Own | Imported]:
    """Return the criteria that a criterion is made of."""
    if isinstance(criterion, Sum):
        for part in criterion.parts:
            yield from leaves(part)
    else:
        yield criterion


def described(criterion: Criterion) -> str:
    """Return a criterion as a line of text.

    Example:
        >>> described(method_named("dice-ce", {}).criterion)
        'cross-entropy + segmentation_models_pytorch.losses.DiceLoss (mode: multiclass)'
    """
    if isinstance(criterion, Sum):
        pairs = zip(criterion.parts, criterion.weights, strict=True)
        return " + ".join(
            described(part) if weight == 1 else f"{weight:g} × {described(part)}"
            for part, weight in pairs
        )
    if isinstance(criterion, Own):
        text = _TOLD.get(criterion.name, criterion.name)
    else:
        arguments = ", ".join(f"{key}: {value}" for key, value in criterion.init_args.items())
        text = criterion.class_path + (f" ({arguments})" if arguments else "")
    if criterion.class_weights is not None:
        text += f" with class weights by {criterion.class_weights}"
    return text


def _method(name: str, losses: Definitions, above: tuple[str, ...]) -> Method:
    if name in above:
        raise ValueError(f"losses.{name} is defined by itself: {' -> '.join([*above, name])}")
    known = METHODS.get(name)
    given = losses.get(name)
    if given is None:
        given = {} if known is not None else ready().get(name)
    if given is None:
        names = method_names(losses)
        raise ValueError(
            f"method is {name}: expected {', '.join(map(repr, names))}. {did_you_mean(name, names)}"
        )
    where = f"losses.{name}"
    if not _NAME.fullmatch(name):
        # It becomes the name of a folder.
        raise ValueError(f"losses.{name}: expected a name of letters, digits and . _ + -")
    if not isinstance(given, Mapping):
        raise ValueError(f"{where} is {given!r}: expected a mapping with class_path, method or sum")
    if known is None and not given.keys() - _OF_METHOD:
        # A ready one under its own name, with a rate of its own.
        given = {**ready().get(name, {}), **given}
    options = {key: given[key] for key in _OF_METHOD if key in given}
    content = {key: value for key, value in given.items() if key not in _OF_METHOD}
    if known is not None:
        changed = [*content, *(options.keys() & {"sampler"})]
        if changed:
            raise ValueError(
                f"{where} has the name of a method of the package: choose another name for another "
                f"method, or leave out {', '.join(map(str, changed))}"
            )
        found = known
    else:
        criterion = _criterion(content, where, losses, (*above, name))
        inherited = content.get("method") is not None
        sampler = inherited and _method(content["method"], losses, (*above, name)).sampler
        found = Method(name, name, criterion, sampler)
    return _with_options(found, options, where)


def _with_options(method: Method, options: Mapping[str, Any], where: str) -> Method:
    label, lr = options.get("label", method.label), options.get("lr", method.lr)
    sampler = options.get("sampler", method.sampler)
    if not isinstance(label, str) or not label:
        raise ValueError(f"{where}.label is {label!r}: expected a text")
    is_number = isinstance(lr, int | float) and not isinstance(lr, bool)
    if lr is not None and not (is_number and 0 < lr < math.inf):
        raise ValueError(f"{where}.lr is {lr!r}: expected a positive number")
    if not isinstance(sampler, bool):
        raise ValueError(f"{where}.sampler is {sampler!r}: expected true or false")
    text = method.text if sampler == method.sampler else ""
    if not text:
        text = described(method.criterion) + (f", {_BY_CLASS}" if sampler else "")
    return replace(method, label=label, lr=lr, sampler=sampler, text=text)


def _criterion(content: Any, where: str, losses: Definitions, above: tuple[str, ...]) -> Criterion:
    """Return the criterion of a definition, with what it refers to put in its place."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{where} is {content!r}: expected a mapping with class_path or method")
    kinds = [kind for kind in _KINDS if kind in content]
    if len(kinds) != 1:
        raise ValueError(
            f"{where} has {' and '.join(kinds) or 'neither class_path nor method nor sum'}: "
            "expected one of class_path, method and sum"
        )
    (kind,) = kinds
    known = _OF_KIND[kind]
    for key in content:
        if key not in known:
            hint = did_you_mean(str(key), known | _OF_METHOD)
            raise ValueError(
                f"there is no option {where}.{key}; beside {kind} there are: "
                f"{', '.join(sorted(known - {kind}) or ['none'])}. {hint}".rstrip()
            )
    if kind == "sum":
        return _sum(content, where, losses, above)
    weighting = content.get("class_weights")
    if weighting is not None and weighting not in get_args(Weighting):
        names = ", ".join(get_args(Weighting))
        raise ValueError(f"{where}.class_weights is {weighting!r}: expected one of {names}")
    value = content[kind]
    if not isinstance(value, str):
        raise ValueError(f"{where}.{kind} is {value!r}: expected a text")
    if kind == "method":
        found = _method(value, losses, above).criterion
        if weighting is None:
            return found
        if isinstance(found, Sum) or found.class_weights is not None:
            raise ValueError(
                f"{where}.class_weights is {weighting}: {value} is "
                f"{'a sum' if isinstance(found, Sum) else 'weighted already'}; weight its parts"
            )
        return replace(found, class_weights=weighting)
    arguments = content.get("init_args") or {}
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        raise ValueError(f"{where}.init_args is {arguments!r}: expected arguments by name")
    forms = {key: content.get(key, False) for key in _FORMS}
    for key, given in forms.items():
        if not isinstance(given, bool):
            raise ValueError(f"{where}.{key} is {given!r}: expected true or false")
    return Imported(value, dict(arguments), weighting, **forms)


def _sum(
    content: Mapping[str, Any], where: str, losses: Definitions, above: tuple[str, ...]
) -> Sum:
    parts = content["sum"]
    if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
        raise ValueError(f"{where}.sum is {parts!r}: expected a list of criteria")
    weights = content.get("weights", [1.0] * len(parts))
    if (
        not isinstance(weights, Sequence)
        or len(weights) != len(parts)
        or not all(isinstance(w, int | float) and math.isfinite(w) for w in weights)
    ):
        raise ValueError(
            f"{where}.weights is {weights!r}: expected {len(parts)} numbers, one for each part"
        )
    return Sum(
        tuple(_criterion(part, f"{where}.sum[{k}]", losses, above) for k, part in enumerate(parts)),
        tuple(map(float, weights)),
    )


def _content(criterion: Criterion) -> dict[str, Any]:
    if isinstance(criterion, Sum):
        parts = [_content(part) for part in criterion.parts]
        return {"sum": parts, "weights": list(criterion.weights)}
    content: dict[str, Any]
    if isinstance(criterion, Imported):
        content = {"class_path": criterion.class_path, "init_args": dict(criterion.init_args)}
        content |= {key: True for key in _FORMS if getattr(criterion, key)}
    else:
        # The method of the package with this criterion: the one that brings least with it.
        plain = next(m for m in METHODS.values() if _is_plain(m, criterion))
        content = {"method": plain.id}
        if plain.criterion == criterion:
            return content
    if criterion.class_weights is not None:
        content["class_weights"] = criterion.class_weights
    return content


def _is_plain(method: Method, criterion: Own) -> bool:
    exact = [m for m in METHODS.values() if m.criterion == criterion]
    wanted = criterion if exact else replace(criterion, class_weights=None)
    return method.criterion == wanted and not method.sampler
