"""Models that a file names and nobody knows a price of: most often a name that is misspelt.

Called by the check that `workbench.py` builds, which hands in what it knows of prices.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from callboard.core.json_values import JsonValue
from callboard.workflows.findings import Severity, WorkflowFinding, nearest_name, pointer_of

MAX_DOUBTS = 100  # each looks for the nearest of a thousand names
FREE_PROVIDERS = frozenset({"sandbox", "replay"})  # their answers cost nothing, whatever the model is called


@dataclass(frozen=True, slots=True)
class KnownModels:
    """What is known of models: whether one has a price (`provider` None: any), and the names that do, by demand."""

    has_price: Callable[[str | None, str], bool]
    names: Callable[[], Sequence[str]]


def find_model_doubts(definition: Mapping[str, JsonValue], known: KnownModels) -> Iterator[WorkflowFinding]:
    """Yield a warning for each model of an llm step, fallbacks too, that has no price.

    Under a budget it is an error, where the file names the provider: else the settings may name one that has a price.
    """
    has_budget = definition.get("budget_usd") is not None
    judged: dict[tuple[str | None, str], str | None] = {}
    for pointer, choice in _choices_in(definition):
        provider, model = choice.get("provider"), choice.get("model")
        provider = provider if isinstance(provider, str) and "${" not in provider else None
        if not isinstance(model, str) or not model or "${" in model or provider in FREE_PROVIDERS:
            continue
        if (provider, model) not in judged:
            if len(judged) > MAX_DOUBTS:
                return
            judged[provider, model] = (
                None if known.has_price(provider, model) else _word(provider, model, known, has_budget=has_budget)
            )
        message = judged[provider, model]
        if message is not None:
            yield WorkflowFinding(
                pointer=pointer_of("model", base=pointer),
                message=message,
                code="model_without_price",
                severity=Severity.ERROR if has_budget and provider is not None else Severity.WARNING,
            )


def _word(provider: str | None, model: str, known: KnownModels, *, has_budget: bool) -> str:
    nearest = nearest_name(model, known.names())
    at = f' at "{provider}"' if provider else ""
    hint = f' Did you mean "{nearest}"?' if nearest else ""
    if nearest == model and provider:
        hint = " Others have it under that name: is the provider right?"
    outcome = "so its calls count as free"
    if has_budget:
        outcome = "and budget_usd forbids calls whose price nobody knows"
    return (
        f'No price is known for the model "{model[:100]}"{at}, {outcome}.{hint} '
        "`callboard models` lists the names; EXTERNAL_SERVICE_PRICING gives a model a price."
    )


def _choices_in(definition: Mapping[str, JsonValue]) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
    """Yield each object that names a model, with its pointer: the config of llm steps, and their fallbacks."""
    stack: list[tuple[str, JsonValue]] = [("/steps", definition.get("steps"))]
    while stack:
        pointer, item = stack.pop()
        if isinstance(item, list):
            stack.extend((f"{pointer}/{index}", child) for index, child in reversed(list(enumerate(item))))
        elif isinstance(item, dict):
            config = item.get("config")
            if item.get("type") == "llm" and isinstance(config, dict):
                yield pointer_of("config", base=pointer), config
                fallbacks = config.get("fallbacks")
                for index, fallback in enumerate(fallbacks if isinstance(fallbacks, list) else ()):
                    if isinstance(fallback, dict):
                        yield pointer_of("config", "fallbacks", index, base=pointer), fallback
            else:
                stack.extend((pointer_of(key, base=pointer), child) for key, child in reversed(item.items()))
