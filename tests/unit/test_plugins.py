"""What installed packages may add, and how it is told when one of them cannot be used."""

import textwrap
from collections.abc import Callable, Mapping
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from callboard.core.http_client import HttpClient
from callboard.plugins import (
    GROUPS,
    SERVICES,
    STEPS,
    TRANSFORMS,
    FoundPlugin,
    PluginContext,
    PluginError,
    find_plugins,
    load_plugins,
)

GOOD = """
    from typing import ClassVar
    from pydantic import BaseModel
    from callboard.workflows.transforms.base import Transform

    class Nothing(BaseModel):
        pass

    class Service:
        name = provider = "shop"
        methods = {"price": Nothing}
        async def call(self, method, parameters): ...
        async def close(self): ...

    class Shout(Transform):
        operation = "shout"
        config_model = Nothing
        def apply(self, value, config, tools): ...

    class Step:
        type, config_model, is_container = "dice", Nothing, False
        def compile(self, step): ...

    given = []

    def make_service(context):
        given.append(context)
        return Service()

    def make_step(context):
        return Step()

    def changed(base, **attributes):
        return lambda context: type("Changed", (base,), attributes)()

    def fails(context):
        raise RuntimeError("no network")

    nameless = changed(Service, name="")
    without_provider = changed(Service, provider=None)
    without_methods = changed(Service, methods={})
    odd_method = changed(Service, methods={"price": dict})
    sync_call = changed(Service, call=lambda self, method, parameters: None)
    loud_name = changed(Service, name="Shop")
    odd_config = changed(Step, config_model=dict)
    unsure = changed(Step, is_container=None)
    not_compiling = changed(Step, compile=None)
    number = 7

    class Unfinished(Transform):
        operation, config_model = "unfinished", Nothing
"""

Install: TypeAlias = Callable[..., Distribution]


@pytest.fixture
def context() -> PluginContext:
    return PluginContext(http=HttpClient(), read_secret={"TOKEN": "t"}.get)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a package `name`, whose module is `GOOD`, with entry points: {group: {entry point: name in the module}}."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(entry_points: Mapping[str, Mapping[str, str]], *, name: str = "acme") -> Distribution:
        module = f"{name}_of_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(GOOD))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [
            line
            for group, names in entry_points.items()
            for line in (f"[{group}]", *(f"{entry} = {module}:{target}" for entry, target in names.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))
        return Distribution.at(info)

    return make


def find(context: PluginContext, *installed: Distribution, **taken: list[str]) -> list[FoundPlugin]:
    return find_plugins(
        context, taken={f"callboard.{noun}": names for noun, names in taken.items()}, installed=installed
    )


class TestLoadPlugins:
    def test_gives_what_packages_add(self, context: PluginContext, install: Install) -> None:
        names = {SERVICES: {"s": "make_service"}, TRANSFORMS: {"t": "Shout"}, STEPS: {"k": "make_step"}}

        plugins = load_plugins(context, taken={}, installed=[install(names)])

        assert [service.name for service in plugins.services] == ["shop"]
        assert [transform.operation for transform in plugins.transforms] == ["shout"]
        assert [kind.type for kind in plugins.steps] == ["dice"]

    def test_hands_the_context_to_factories(self, context: PluginContext, install: Install) -> None:
        (service,) = load_plugins(context, taken={}, installed=[install({SERVICES: {"s": "make_service"}})]).services

        module: Any = __import__(type(service).__module__)
        assert module.given == [context]

    def test_is_nothing_where_nothing_is_installed(self, context: PluginContext, install: Install) -> None:
        plugins = load_plugins(context, taken={}, installed=[install({"console_scripts": {"acme": "make_step"}})])

        assert (plugins.services, plugins.transforms, plugins.steps) == ((), (), ())

    def test_tells_all_that_is_wrong_at_once(self, context: PluginContext, install: Install) -> None:
        names = {SERVICES: {"one": "fails", "two": "gone", "three": "make_service"}}

        with pytest.raises(PluginError) as refused:
            load_plugins(context, taken={}, installed=[install(names)])

        first, second, advice = refused.value.message.split("\n")
        assert first.startswith('acme 1.0, entry point "one" of callboard.services (acme_of_')
        assert first.endswith("it raised RuntimeError: no network.")
        assert 'entry point "two"' in second
        assert "AttributeError" in second
        assert "callboard plugins" in advice


class TestFindPlugins:
    @pytest.mark.parametrize(
        ("group", "target", "problem"),
        [
            (SERVICES, "number", "no function of a PluginContext"),
            (SERVICES, "nameless", "its \"name\" is ''"),
            (SERVICES, "loud_name", "small letter"),
            (SERVICES, "without_provider", 'its "provider" is None'),
            (SERVICES, "without_methods", '"methods" is no mapping'),
            (SERVICES, "odd_method", 'its method "price" are no Pydantic model'),
            (SERVICES, "sync_call", 'no method "async def call"'),
            (TRANSFORMS, "make_step", "no subclass of Transform"),
            (TRANSFORMS, "Unfinished", "TypeError"),
            (STEPS, "odd_config", '"config_model" is no Pydantic model'),
            (STEPS, "unsure", '"is_container" is neither'),
            (STEPS, "not_compiling", 'no method "compile"'),
            (STEPS, "fails", "RuntimeError: no network"),
        ],
    )
    def test_says_what_is_wrong(
        self, context: PluginContext, install: Install, group: str, target: str, problem: str
    ) -> None:
        (found,) = find(context, install({group: {"it": target}}))

        assert found.problem is not None
        assert problem in found.problem

    @pytest.mark.parametrize(
        ("group", "target", "name"),
        [(SERVICES, "make_service", "shop"), (TRANSFORMS, "Shout", "shout"), (STEPS, "make_step", "dice")],
        ids=GROUPS,
    )
    def test_lets_nobody_take_a_name_of_callboards_own(
        self, context: PluginContext, install: Install, group: str, target: str, name: str
    ) -> None:
        (found,) = find(context, install({group: {"it": target}}), **{group.removeprefix("callboard."): [name]})

        assert found.problem is not None
        assert f'"{name}" is there already, from Callboard itself' in found.problem

    def test_lets_the_first_package_have_a_name_that_two_want(self, context: PluginContext, install: Install) -> None:
        names = {SERVICES: {"s": "make_service"}}

        first, second = find(context, install(names, name="zeta"), install(names, name="alpha"))

        assert (first.package, first.problem) == ("alpha", None)
        assert second.problem is not None
        assert "from alpha" in second.problem

    def test_takes_a_package_that_is_there_twice_once(self, context: PluginContext, install: Install) -> None:
        installed = install({SERVICES: {"s": "make_service"}})

        assert len(find(context, installed, installed)) == 1
