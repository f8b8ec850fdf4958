"""The workflows that ship, through the real engine: with their recorded answers, and when things go wrong (B21)."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from callboard.core.replay import RecordedAnswers
from callboard.integrations.errors import ServiceUnavailableError
from callboard.integrations.google_places_parameters import METHODS
from callboard.integrations.google_places_replay import ReplayPlaces
from callboard.integrations.port import ServiceResult
from callboard.llm.pricing import ModelPrices
from callboard.llm.replay import ReplayProvider
from callboard.llm.sandbox import SandboxProvider
from callboard.workflows.errors import RunFailedError
from callboard.workflows.memory import MemoryCheckpointer
from callboard.workflows.steps.registry import StepRegistry
from tests.fixtures.shipped_workflows import WORKFLOWS, catalogue_of, compiled, registry_of, run, sample

SAMPLES = {
    "announcement": "announcement.json",
    "emergency_contacts": "emergency_contacts.seattle.json",
    "hello": "hello.json",
    "mission_generation": "mission_generation.portland.json",
}


class Unreachable:
    """Google Places on a bad day."""

    name = provider = "google_places"
    methods = METHODS

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        raise ServiceUnavailableError("Google is away.")

    async def close(self) -> None:
        """Nothing is held here."""


@pytest.fixture(scope="module")
def answers() -> RecordedAnswers:
    return RecordedAnswers.load(WORKFLOWS / "prompts")


@pytest.fixture
def replaying(answers: RecordedAnswers) -> StepRegistry:
    return registry_of(ReplayProvider(answers, ModelPrices()), ReplayPlaces(answers))


async def no_sleep(_: float) -> None:
    """Retries need not be waited for."""


class TestFiles:
    def test_load_without_a_finding(self, replaying: StepRegistry) -> None:
        catalogue = catalogue_of(replaying)

        assert catalogue.broken() == []
        assert catalogue.names() == list(SAMPLES)
        assert [loaded.warnings for loaded in catalogue.list()] == [()] * len(SAMPLES)

    @pytest.mark.parametrize(("name", "file"), SAMPLES.items(), ids=SAMPLES)
    def test_have_a_sample_input_that_fits(self, replaying: StepRegistry, name: str, file: str) -> None:
        assert list(compiled(name, replaying).validate_input(sample(file))) == []

    @pytest.mark.parametrize("name", SAMPLES)
    def test_have_answers_that_say_where_they_come_from(self, answers: RecordedAnswers, name: str) -> None:
        assert answers.broken() == ()
        assert answers.has_answers_for(name)
        assert all(origin.startswith("Written by hand") for origin in answers.origins(name))


class TestHello:
    async def test_greets(self, replaying: StepRegistry) -> None:
        outputs = await run(compiled("hello", replaying), sample("hello.json"), MemoryCheckpointer())

        assert set(outputs) == {"greeting"}
        assert "Ada" in outputs["greeting"]

    async def test_knows_the_default_language(self, replaying: StepRegistry) -> None:
        outputs = await run(compiled("hello", replaying), {"name": "Ada"}, MemoryCheckpointer())

        assert outputs["greeting"]

    def test_refuses_a_submission_without_a_name(self, replaying: StepRegistry) -> None:
        findings = list(compiled("hello", replaying).validate_input({"nme": "Ada"}))

        assert len(findings) == 2  # the name is missing, and nme is not known


class TestEmergencyContacts:
    async def test_gives_contacts_and_meeting_locations(self, replaying: StepRegistry) -> None:
        outputs = await run(
            compiled("emergency_contacts", replaying), sample("emergency_contacts.seattle.json"), MemoryCheckpointer()
        )

        assert set(outputs) == {"contacts", "meetingLocations"}
        assert len(outputs["contacts"]) >= 8
        assert [place["priority"] for place in outputs["meetingLocations"]] == ["primary", "secondary", "tertiary"]

    async def test_reads_the_whole_answer(self, replaying: StepRegistry) -> None:
        checkpointer = MemoryCheckpointer()

        await run(compiled("emergency_contacts", replaying), sample("emergency_contacts.seattle.json"), checkpointer)

        plan = json.loads(checkpointer.records["plan"].output_json or "")
        assert plan["warnings"] == []
        assert all(0 <= contact["fit_score"] <= 100 for contact in plan["contacts"])

    async def test_keeps_to_what_the_search_and_the_household_said(self, replaying: StepRegistry) -> None:
        checkpointer, household = MemoryCheckpointer(), sample("emergency_contacts.seattle.json")

        outputs = await run(compiled("emergency_contacts", replaying), household, checkpointer)

        found = json.loads(checkpointer.records["fields"].output_json or "")
        by_name = {place["name"]: place for places in found.values() for place in places}
        listed = [contact for contact in outputs["contacts"] if contact["name"] in by_name]
        assert len(listed) >= 5
        for contact in listed:
            place = by_name[contact["name"]]
            assert (contact["phone"], contact["address"]) == (place["phone"], place["formatted_address"])
        for contact in outputs["contacts"]:
            assert set(contact["relevant_scenarios"]) <= set(household["scenarios"])

    async def test_counts_what_every_call_cost(self, replaying: StepRegistry) -> None:
        checkpointer = MemoryCheckpointer()

        await run(compiled("emergency_contacts", replaying), sample("emergency_contacts.seattle.json"), checkpointer)

        used = [usage for _, usage in checkpointer.usage]
        assert sorted(usage.service for usage in used) == ["google_places"] * 3 + ["llm"]
        assert all(usage.cost_usd > 0 for usage in used)

    async def test_does_without_the_searches(self) -> None:
        registry = registry_of(SandboxProvider(), Unreachable())
        checkpointer = MemoryCheckpointer(sleep=no_sleep)

        await run(
            compiled("emergency_contacts", registry, provider="sandbox"),
            sample("emergency_contacts.seattle.json"),
            checkpointer,
        )

        assert json.loads(checkpointer.records["places"].output_json or "null") is None  # assembled from its branches
        assert json.loads(checkpointer.records["fields"].output_json or "") == dict.fromkeys(
            ("hospitals", "police", "fire_stations")
        )
        assert checkpointer.records["analysis"].outcome == "succeeded"

    async def test_runs_without_any_key(self) -> None:
        registry = registry_of(SandboxProvider())
        checkpointer = MemoryCheckpointer()

        outputs = await run(
            compiled("emergency_contacts", registry, provider="sandbox"),
            sample("emergency_contacts.seattle.json"),
            checkpointer,
        )

        assert outputs == {"contacts": [], "meetingLocations": []}
        assert "[sandbox]" in json.loads(checkpointer.records["analysis"].output_json or "")["content"]

    async def test_names_the_ways_out_when_the_input_was_changed(self, replaying: StepRegistry) -> None:
        household = sample("emergency_contacts.seattle.json")
        household["formData"]["pets"] = "two cats"

        with pytest.raises(RunFailedError) as caught:
            await run(compiled("emergency_contacts", replaying), household, MemoryCheckpointer(sleep=no_sleep))

        assert (caught.value.error["type"], caught.value.error["step_id"]) == ("replay_miss", "analysis")
        for way_out in ("Restore the input", "OPENROUTER_API_KEY", "DEFAULT_LLM_PROVIDER=sandbox"):
            assert way_out in caught.value.error["message"]

    async def test_needs_no_more_than_a_place_and_a_scenario(self) -> None:
        registry = registry_of(SandboxProvider())
        workflow = compiled("emergency_contacts", registry, provider="sandbox")
        least = {"formData": {"location": {"city": "Oslo", "lat": 59.91, "lng": 10.75}}, "scenarios": ["flood"]}

        await run(workflow, least, MemoryCheckpointer())

        assert list(workflow.validate_input(least)) == []

    def test_tells_every_mistake_in_an_input_at_once(self, replaying: StepRegistry) -> None:
        bad = {"formData": {"location": {"city": "", "lat": 91, "lng": "west"}}, "radius_m": 0}

        findings = compiled("emergency_contacts", replaying).validate_input(bad)

        assert {finding.pointer for finding in findings} >= {
            "/formData/location/city",
            "/formData/location/lat",
            "/formData/location/lng",
            "/radius_m",
        }
        assert any("scenarios" in finding.message for finding in findings)
