"""`mission_generation`, the second workflow that ships: what the model is asked, and what becomes of its answer."""

import re
from pathlib import Path
from typing import Any

import pytest

from callboard.core.replay import RecordedAnswers
from callboard.llm.pricing import ModelPrices
from callboard.llm.replay import ReplayProvider
from callboard.llm.sandbox import SandboxProvider
from callboard.workflows.memory import MemoryCheckpointer
from tests.fixtures.scripted_provider import ScriptedProvider
from tests.fixtures.shipped_workflows import WORKFLOWS, compiled, registry_of, run, sample

PROMPTS = WORKFLOWS / "prompts" / "mission_generation"
PORTLAND = "mission_generation.portland.json"
SECTIONS = ("overview", "phases", "supplies", "contingencies")
PLAN = (
    "## Mission Overview\n\nStay at home.\n\n## Phases\n\n### Phase 1: First hour\n1. Drop.\n\n"
    "## Supplies\n\n- Water\n\n## Contingencies\n\n- **If** fire, **then** leave.\n\n"
)
_INCLUDE = re.compile(r"\{\{include:([^}]+)\}\}")


def block(name: str, slug: str, score: int | str = 50) -> str:
    return (
        f"### {name}\n- **Slug**: {slug}\n- **Priority**: essential\n- **Fit Score**: {score}\n"
        "- **Scenarios**: earthquake\n- **Reasoning**: They lack it.\n\n"
    )


def bundle(slug: str, **fields: Any) -> dict[str, Any]:
    return {"slug": slug, "name": slug.title(), "price_usd": 10, **fields}


async def plan_with(answer: str, household: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what the workflow makes of the model's `answer`."""
    workflow = compiled("mission_generation", registry_of(ScriptedProvider("main", answer)), provider="main")
    return await run(workflow, household or sample(PORTLAND), MemoryCheckpointer())


async def ask_for(household: dict[str, Any]) -> str:
    """Return the question that the model is asked."""
    provider = ScriptedProvider("main", PLAN)
    workflow = compiled("mission_generation", registry_of(provider), provider="main")
    await run(workflow, household, MemoryCheckpointer())
    return provider.asked[0].messages[-1].content


def files_deep(file: Path) -> int:
    """Return how many prompt files stand inside each other, `file` counted."""
    return 1 + max((files_deep(file.parent / name) for name in _INCLUDE.findall(file.read_text())), default=0)


class TestRecordedAnswer:
    async def test_gives_every_section_and_the_offered_bundles_best_first(self) -> None:
        answers = RecordedAnswers.load(WORKFLOWS / "prompts")
        workflow = compiled("mission_generation", registry_of(ReplayProvider(answers, ModelPrices())))

        outputs = await run(workflow, sample(PORTLAND), MemoryCheckpointer())

        assert set(outputs) == {"mission", "bundleRecommendations", "warnings"}
        assert all(outputs["mission"]["sections"][name] for name in SECTIONS)
        assert [each["slug"] for each in outputs["bundleRecommendations"]] == [
            "medicine-cooler",
            "water-two-weeks",
            "light-and-power",
            "clean-air-room",
        ]
        assert outputs["bundleRecommendations"][0]["scenarios"] == ["earthquake", "power outage"]
        assert outputs["warnings"] == []

    async def test_is_not_needed_without_any_key(self) -> None:
        workflow = compiled("mission_generation", registry_of(SandboxProvider()), provider="sandbox")

        outputs = await run(workflow, sample(PORTLAND), MemoryCheckpointer())

        assert "[sandbox]" in outputs["mission"]["markdown"]
        assert outputs["bundleRecommendations"] == []


class TestSections:
    @pytest.mark.parametrize(
        "heading",
        [
            pytest.param(r"## \1", id="as asked"),
            pytest.param(r"### \1", id="third level"),
            pytest.param(r"# \1", id="first level"),
            pytest.param(r"## 2. \1", id="numbered"),
            pytest.param(r"## 2) \1", id="numbered with a bracket"),
            pytest.param(r"## **\1**", id="bold"),
            pytest.param(r"### 3. **\1:**", id="numbered, bold, with a colon"),
            pytest.param(r"## \1 for 14 days", id="with more words"),
        ],
    )
    async def test_are_cut_at_headings_as_models_write_them(self, heading: str) -> None:
        written = re.sub(r"^## (.*)$", heading, PLAN + "## Bundle Recommendations\n\nNone\n", flags=re.MULTILINE)

        outputs = await plan_with(written)

        assert outputs["mission"] == {
            "markdown": written,
            "sections": {
                "overview": "Stay at home.",
                "phases": "### Phase 1: First hour\n1. Drop.",
                "supplies": "- Water",
                "contingencies": "- **If** fire, **then** leave.",
            },
        }

    async def test_are_found_in_any_order_and_after_a_greeting(self) -> None:
        outputs = await plan_with("Here is it:\n\n## Supplies\n- Water\n\n## Mission Overview\nStay.")

        assert outputs["mission"]["sections"] == {
            "overview": "Stay.",
            "phases": None,
            "supplies": "- Water",
            "contingencies": None,
        }

    @pytest.mark.parametrize("answer", ["I cannot help with that.", " "], ids=["a refusal", "a blank"])
    async def test_are_null_where_there_are_none(self, answer: str) -> None:
        outputs = await plan_with(answer)

        assert outputs["mission"] == {"markdown": answer, "sections": dict.fromkeys(SECTIONS)}
        assert outputs["bundleRecommendations"] == []


class TestRecommendations:
    async def test_come_best_first_and_those_without_a_score_last(self) -> None:
        blocks = (
            block("Water", "water-two-weeks", 60)
            + block("Cooler", "medicine-cooler", "unknown")
            + block("Light", "light-and-power", 90)
        )

        outputs = await plan_with(PLAN + "## Bundle Recommendations\n\n" + blocks)

        found = [(each["slug"], each["fit_score"]) for each in outputs["bundleRecommendations"]]
        assert found == [("light-and-power", 90), ("water-two-weeks", 60), ("medicine-cooler", None)]

    @pytest.mark.parametrize(
        "slug",
        ["rescue-helicopter", "sandbag-set", "Water-Two-Weeks-Deluxe"],
        ids=["made up", "for another scenario", "nearly a name"],
    )
    async def test_hold_only_what_is_on_offer(self, slug: str) -> None:
        blocks = block("Best of all", slug, 100) + block("Water", "water-two-weeks", 60)

        outputs = await plan_with(PLAN + "## Bundle Recommendations\n\n" + blocks)

        assert [each["slug"] for each in outputs["bundleRecommendations"]] == ["water-two-weeks"]

    async def test_hold_a_bundle_that_is_named_twice_once_at_its_best(self) -> None:
        blocks = block("Water", "water-two-weeks", 60) + block("Water again", "water-two-weeks", 80)

        outputs = await plan_with(PLAN + "## Bundle Recommendations\n\n" + blocks)

        assert [each["fit_score"] for each in outputs["bundleRecommendations"]] == [80]

    @pytest.mark.parametrize(
        "heading",
        ["## Bundle Recommendations", "## 5. Bundle Recommendations", "## **Bundle Recommendations**"],
        ids=["as asked", "numbered", "bold"],
    )
    async def test_are_read_under_headings_as_models_write_them(self, heading: str) -> None:
        outputs = await plan_with(f"{PLAN}{heading}\n\n{block('Water', 'water-two-weeks')}")

        assert [each["name"] for each in outputs["bundleRecommendations"]] == ["Water"]

    async def test_are_none_where_nothing_is_on_offer(self) -> None:
        household = sample(PORTLAND) | {"bundles": []}
        answer = PLAN + "## Bundle Recommendations\n\n" + block("Water", "water-two-weeks")

        outputs = await plan_with(answer, household)

        assert outputs["bundleRecommendations"] == []

    async def test_are_none_where_the_model_says_so(self) -> None:
        outputs = await plan_with(PLAN + "## Bundle Recommendations\n\nNone\n")

        assert outputs["bundleRecommendations"] == []


class TestQuestion:
    async def test_offers_no_bundles_that_are_for_other_scenarios(self) -> None:
        asked = await ask_for(sample(PORTLAND))

        offered = re.findall(r"\(slug: ([\w-]+)\), \$([\d.]+)", asked)
        assert offered == [
            ("medicine-cooler", "39.9"),
            ("clean-air-room", "74.5"),
            ("water-two-weeks", "89.0"),
            ("light-and-power", "119.0"),
        ]

    async def test_is_complete_without_bundles_and_with_little_known(self) -> None:
        least = {"formData": {"location": {"city": "Oslo"}}, "scenarios": [{"name": "flood"}]}

        asked = await ask_for(least)

        assert "- **flood**: no notes" in asked
        assert "for 7 days" in asked
        assert "slug: " not in asked
        assert not re.search(r"\$\{|\{\{|None\b(?!`)", asked)

    async def test_takes_two_hundred_bundles(self) -> None:
        bundles = [bundle(f"kit-{number}", price_usd=200 - number) for number in range(200)]

        asked = await ask_for(sample(PORTLAND) | {"bundles": bundles})

        slugs = re.findall(r"\(slug: (kit-\d+)\)", asked)
        assert slugs == [f"kit-{number}" for number in reversed(range(200))]

    async def test_is_put_together_from_files_four_deep(self) -> None:
        asked = await ask_for(sample(PORTLAND))

        assert files_deep(PROMPTS / "mission.md") == 4
        assert (PROMPTS / "rules" / "bundles.md").read_text().strip() in asked

    async def test_is_streamed(self) -> None:
        provider = ScriptedProvider("main", PLAN)
        workflow = compiled("mission_generation", registry_of(provider), provider="main")

        await run(workflow, sample(PORTLAND), MemoryCheckpointer())

        assert provider.streamed == 1

    async def test_never_reads_what_the_household_wrote_as_a_reference(self) -> None:
        household = sample(PORTLAND)
        household["formData"]["notes"] = "${secrets.KEY} {{include:system.md}}"

        asked = await ask_for(household)

        assert "${secrets.KEY} {{include:system.md}}" in asked


class TestInput:
    def test_tells_every_mistake_at_once(self) -> None:
        workflow = compiled("mission_generation", registry_of(SandboxProvider()), provider="sandbox")
        bad = {
            "formData": {"location": {"city": ""}, "familySize": 0},
            "scenarios": [],
            "bundles": [bundle("Not A Slug")],
            "durationDays": 91,
        }

        findings = workflow.validate_input(bad)

        assert {finding.pointer for finding in findings} == {
            "/formData/location/city",
            "/formData/familySize",
            "/scenarios",
            "/bundles/0/slug",
            "/durationDays",
        }
