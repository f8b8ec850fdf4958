"""Services, transforms and step kinds of packages that are installed beside Callboard.

A package names them as entry points; `workbench.py` loads them at start, `callboard plugins` lists them:

    [project.entry-points."callboard.services"]
    shop = "acme_callboard:make_shop"       # called with a PluginContext, returns an ExternalService
    [project.entry-points."callboard.steps"]
    dice = "acme_callboard:make_dice"       # called with a PluginContext, returns a StepKind
    [project.entry-points."callboard.transforms"]
    shout = "acme_callboard:Shout"          # a subclass of Transform

What they build on: this module; `port`, `errors` and `vendor_calls` of `callboard.integrations`; `steps.base`,
`references` and `transforms.base` of `callboard.workflows`; `errors`, `http_client`, `json_values` and `pricing`
of `callboard.core`. A package shown whole: `tests/fixtures/sample_plugin`.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, TypeAlias

from pydantic import BaseModel

from callboard.core.errors import CallboardError
from callboard.core.http_client import HttpClient
from callboard.core.pricing import UnitPrice
from callboard.integrations.port import ExternalService
from callboard.workflows.steps.base import StepKind
from callboard.workflows.transforms.base import Transform

SERVICES, TRANSFORMS, STEPS = GROUPS = ("callboard.services", "callboard.transforms", "callboard.steps")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")  # of a service, an operation, a type: what usage rows and files hold

_NOUNS = {SERVICES: "service", TRANSFORMS: "transform", STEPS: "step type"}


class PluginError(CallboardError):
    """A package that adds to Callboard cannot be used; fix it, or uninstall it, and start again."""

    code = "plugin_unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginContext:
    """What a plugin's factory may use.

    `http` is shared by the whole process and closed by it. `read_secret` gives the value of
    CALLBOARD_SECRET_NAME for a name, or None. `prices` are the operator's (EXTERNAL_SERVICE_PRICING), by name.
    """

    http: HttpClient
    read_secret: Callable[[str], str | None]
    prices: Mapping[str, UnitPrice] = field(default_factory=dict)


ServicePlugin: TypeAlias = Callable[[PluginContext], ExternalService]
StepPlugin: TypeAlias = Callable[[PluginContext], StepKind]
TransformPlugin: TypeAlias = type[Transform]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPlugin:
    """One entry point, what it made, or why it cannot be used. `name` is the service's, operation's or type's."""

    package: str
    version: str
    group: str
    entry_point: str
    target: str
    made: Any = None
    name: str = ""
    problem: str | None = None

    def describe_problem(self) -> str:
        """Return the sentence that tells whoever installed the package what is wrong with it."""
        return (
            f'{self.package} {self.version}, entry point "{self.entry_point}" of {self.group} '
            f"({self.target}): {self.problem}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins:
    """What the installed packages add."""

    services: tuple[ExternalService, ...] = ()
    transforms: tuple[Transform, ...] = ()
    steps: tuple[StepKind, ...] = ()


def load_plugins(
    context: PluginContext,
    *,
    taken: Mapping[str, Iterable[str]],
    installed: Iterable[Distribution] | None = None,
) -> Plugins:
    """Return what the installed packages add. `taken` are the names of Callboard's own, by group.

    Raises: PluginError, naming every package and entry point that cannot be used: a workflow that needs it
    would fail later, and nobody would know why.
    """
    found = find_plugins(context, taken=taken, installed=installed)
    broken = [plugin.describe_problem() for plugin in found if plugin.problem is not None]
    if broken:
        advice = "Fix the package or uninstall it; `callboard plugins` checks again."
        raise PluginError("\n".join([*broken, advice]))
    made = {group: tuple(plugin.made for plugin in found if plugin.group == group) for group in GROUPS}
    return Plugins(services=made[SERVICES], transforms=made[TRANSFORMS], steps=made[STEPS])


def find_plugins(
    context: PluginContext,
    *,
    taken: Mapping[str, Iterable[str]],
    installed: Iterable[Distribution] | None = None,
) -> list[FoundPlugin]:
    """Return every entry point of ours, by group, package and name, each with what it made or what is wrong."""
    owners = {group: dict.fromkeys(taken.get(group, ()), "Callboard itself") for group in GROUPS}
    found = []
    for distribution, entry_point in _entry_points(distributions() if installed is None else installed):
        plugin = _make(distribution, entry_point, context, owners[entry_point.group])
        if plugin.problem is None:
            owners[plugin.group][plugin.name] = plugin.package
        found.append(plugin)
    return found


def _entry_points(installed: Iterable[Distribution]) -> Iterator[tuple[Distribution, EntryPoint]]:
    """Yield our entry points in a stable order; of a package that is there twice, the first on the path counts."""
    seen: set[str] = set()
    found: list[tuple[Distribution, EntryPoint]] = []
    for distribution in installed:
        ours = [entry_point for entry_point in distribution.entry_points if entry_point.group in GROUPS]
        if ours and distribution.name not in seen:
            seen.add(distribution.name)
            found += [(distribution, entry_point) for entry_point in ours]
    yield from sorted(found, key=lambda each: (GROUPS.index(each[1].group), each[0].name, each[1].name))


def _make(
    distribution: Distribution, entry_point: EntryPoint, context: PluginContext, owners: Mapping[str, str]
) -> FoundPlugin:
    told = {
        "package": distribution.name,
        "version": distribution.version,
        "group": entry_point.group,
        "entry_point": entry_point.name,
        "target": entry_point.value,
    }
    try:
        made, name = _MAKERS[entry_point.group](entry_point.load(), context)
    except _UnfitError as error:
        return FoundPlugin(**told, problem=f"{error}.")
    except _FAULTS_OF_OTHERS as error:
        return FoundPlugin(**told, problem=f"it raised {type(error).__name__}: {error}.")
    if name in owners:
        noun = _NOUNS[entry_point.group]
        return FoundPlugin(**told, problem=f'the {noun} "{name}" is there already, from {owners[name]}; rename it.')
    return FoundPlugin(**told, made=made, name=name)


# What code of others raises while it is loaded and makes its part. Anything else is no mistake in a package.
_FAULTS_OF_OTHERS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    CallboardError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


class _UnfitError(Exception):
    """What an entry point leads to is not what its group takes."""


def _make_service(target: object, context: PluginContext) -> tuple[ExternalService, str]:
    service = _call_factory(target, context, SERVICES)
    name = _name_of(service, "name")
    _name_of(service, "provider")
    methods = getattr(service, "methods", None)
    if not isinstance(methods, Mapping) or not methods:
        raise _UnfitError('its "methods" is no mapping of method names to Pydantic models')
    for method, model in methods.items():
        if not _is_model(model):
            raise _UnfitError(f'the parameters of its method "{method}" are no Pydantic model, but {model!r}')
    for attribute in ("call", "close"):
        if not inspect.iscoroutinefunction(getattr(service, attribute, None)):
            raise _UnfitError(f'it has no method "async def {attribute}"')
    return service, name


def _make_step(target: object, context: PluginContext) -> tuple[StepKind, str]:
    kind = _call_factory(target, context, STEPS)
    name = _name_of(kind, "type")
    if not _is_model(getattr(kind, "config_model", None)):
        raise _UnfitError('its "config_model" is no Pydantic model')
    if not isinstance(getattr(kind, "is_container", None), bool):
        raise _UnfitError('its "is_container" is neither True nor False')
    if not callable(getattr(kind, "compile", None)):
        raise _UnfitError('it has no method "compile"')
    return kind, name


def _make_transform(target: object, _context: PluginContext) -> tuple[Transform, str]:
    if not (isinstance(target, type) and issubclass(target, Transform)):
        raise _UnfitError(f"it is no subclass of Transform, but {target!r}")
    transform = target()
    if not _is_model(getattr(transform, "config_model", None)):
        raise _UnfitError('its "config_model" is no Pydantic model')
    return transform, _name_of(transform, "operation")


_MAKERS: Mapping[str, Callable[[object, PluginContext], tuple[object, str]]] = {
    SERVICES: _make_service,
    TRANSFORMS: _make_transform,
    STEPS: _make_step,
}


def _call_factory(target: object, context: PluginContext, group: str) -> Any:
    if not callable(target):
        raise _UnfitError(f"it is no function of a PluginContext that returns a {_NOUNS[group]}, but {target!r}")
    return target(context)


def _name_of(made: object, attribute: str) -> str:
    name = getattr(made, attribute, None)
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise _UnfitError(
            f'its "{attribute}" is {name!r}; it takes a small letter, then at most 49 small letters, digits, _ or -'
        )
    return name


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)
