"""Tokens, cost and duration of calls: from the prompt alone, and from earlier runs."""

from decimal import Decimal

from callboard.workflows.dry_runs.history import Seen
from callboard.workflows.dry_runs.plans import Span
from tests.unit.workflows.dry_runs.conftest import (
    Rehearsals,
    ask,
    choose,
    look_up,
    past_runs,
    past_step,
    repeat,
    say,
    steps_of,
)

SCHEMA = {"type": "object"}
SENT = "x" * 1_000


class TestModelCalls:
    async def test_count_tokens_by_the_characters_sent(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT), input_data={})

        assert found.load.input_tokens == Span.of(204, 254, 404)  # 1000 / 5, / 4, / 2.5, and 4 of the message

    async def test_answer_with_half_of_max_tokens_and_at_most_all(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT), input_data={})

        assert found.load.output_tokens == Span.of(50, 200, 400)

    async def test_cost_by_the_price_of_the_model(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT), input_data={})

        usd = found.load.cost_usd
        assert usd is not None
        assert usd.likely == Decimal("0.002254")  # 254 x 1 + 200 x 10 USD/M
        assert usd.high == Decimal("0.004404")  # 404 x 1 + 400 x 10

    async def test_may_be_tried_again(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT, retry={"max_attempts": 3}), input_data={})

        assert found.load.output_tokens == Span.of(50, 200, 1_200)
        assert found.load.input_tokens.high == 3 * 404

    async def test_may_be_tried_again_by_the_container_too(self, rehearse: Rehearsals) -> None:
        loop = repeat("each", [1], ask("a", SENT, retry={"max_attempts": 3}))

        found = await rehearse({**loop, "retry": {"max_attempts": 2}}, input_data={})

        assert found.load.output_tokens.high == 2 * 3 * 400

    async def test_may_be_asked_once_more_for_a_schema(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT, config={"output_schema": SCHEMA}), input_data={})

        first = 404 + 7  # and {"type":"object"}: 17 / 2.5
        assert found.load.output_tokens.high == 2 * 400
        assert found.load.input_tokens.high == first + (first + 400 + 800)  # the second sends the answer and its errors

    async def test_without_max_tokens_are_bounded_by_the_model_and_doubted(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT, config={"max_tokens": None}), input_data={})

        assert found.load.output_tokens == Span.of(125, 500, 16_384)
        assert [warning.code for warning in found.warnings] == ["no_max_tokens"]

    async def test_without_a_price_cost_nobody_knows_what(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT, config={"model": "gpt-none"}), ask("b", "x"), input_data={})

        assert (found.load.cost_usd, found.plan[0].load.cost_usd) == (None, None)
        assert found.plan[1].load.cost_usd is not None
        (warning,) = found.warnings
        assert warning.code == "unknown_price"
        assert 'the model "gpt-none" at main' in warning.message
        assert 'EXTERNAL_SERVICE_PRICING=\'{"main/gpt-none"' in warning.message

    async def test_that_never_happen_need_no_price(self, rehearse: Rehearsals) -> None:
        unpriced = ask("a", SENT, config={"model": "gpt-none"})

        found = await rehearse(choose("c", "input.n > 5", [unpriced], [ask("b", "x")]), input_data={"n": 1})

        assert found.load.cost_usd is not None
        assert found.warnings == ()

    async def test_with_fallbacks_may_cost_what_the_dearest_does(self, rehearse: Rehearsals) -> None:
        config = {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "fallbacks": [{"provider": "openai", "model": "gpt-4o"}],
        }

        cheap = await rehearse(ask("a", SENT, config={**config, "fallbacks": None}), input_data={})
        found = await rehearse(ask("a", SENT, config=config), input_data={})

        assert found.load.cost_usd is not None
        assert cheap.load.cost_usd is not None
        assert found.load.cost_usd.likely == cheap.load.cost_usd.likely
        assert found.load.cost_usd.high > cheap.load.cost_usd.high
        assert found.plan[0].calls[0].fallbacks == (("openai", "gpt-4o"),)

    async def test_whose_answers_are_kept_may_cost_nothing(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT, config={"cache_ttl": 60}), input_data={})

        assert found.load.cost_usd is not None
        assert found.load.cost_usd.low == 0
        assert found.load.cost_usd.likely > 0

    async def test_in_the_sandbox_cost_nothing_and_that_is_said(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT, config={"provider": "sandbox", "model": "x"}), input_data={})

        assert found.load.cost_usd == Span.exactly(0)
        assert any("sandbox answers for nothing" in text for text in found.assumptions)

    async def test_take_as_long_as_their_answers_and_at_most_until_the_time_out(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", SENT, timeout_seconds=20), input_data={})

        assert found.load.seconds == Span.of(2, 5, 20)  # 1 s + 50 / 50, 1 s + 200 / 50

    async def test_a_limit_that_comes_from_a_step_is_not_known(self, rehearse: Rehearsals) -> None:
        steps = [look_up("n"), ask("a", SENT, config={"max_tokens": "${steps.n.data}"})]

        found = await rehearse(*steps, input_data={})

        assert found.load.output_tokens.high == 16_384


class TestServiceCalls:
    async def test_cost_by_the_operators_price_for_every_attempt(self, rehearse: Rehearsals) -> None:
        found = await rehearse(look_up("a", retry={"max_attempts": 3}), input_data={})

        assert found.load.cost_usd == Span.of(Decimal("0.02"), Decimal("0.02"), Decimal("0.06"))

    async def test_names_who_is_asked(self, rehearse: Rehearsals) -> None:
        (call,) = (await rehearse(look_up("a"), input_data={})).plan[0].calls

        assert (call.service, call.provider, call.method) == ("maps", "maps", "ask")


class TestHistory:
    async def test_tells_how_long_answers_are(self, rehearse: Rehearsals) -> None:
        past = past_runs(a=past_step(output_tokens=Seen(100, 150, 300), calls=Seen(1, 1, 1)))

        found = await rehearse(ask("a", SENT), input_data={}, past=past)

        assert found.load.output_tokens == Span.of(100, 150, 400)  # the high end stays a bound
        assert (found.basis, found.plan[0].basis, found.runs_seen) == ("history", "history", 10)

    async def test_counts_re_asks_as_often_as_they_came(self, rehearse: Rehearsals) -> None:
        past = past_runs(a=past_step(output_tokens=Seen(100, 150, 300), calls=Seen(1, 1.5, 2)))

        found = await rehearse(ask("a", SENT, config={"output_schema": SCHEMA}), input_data={}, past=past)

        assert found.load.output_tokens.likely == 150  # 100 a call, one and a half calls

    async def test_tells_how_long_unknown_values_are(self, rehearse: Rehearsals) -> None:
        sample = {"data": {"name": "n" * 50}, "status_code": 200}
        past = past_runs(a=past_step(output_chars=Seen(60, 80, 120), sample=sample))

        found = await rehearse(look_up("a"), ask("b", "${steps.a.data.name}"), input_data={}, past=past)

        (call,) = found.plan[1].calls
        assert call.messages[0].text == "«steps.a.data.name: unknown, about 50 characters»"

    async def test_tells_how_often_branches_are_taken(self, rehearse: Rehearsals) -> None:
        step = choose("c", "steps.a.content == 'x'", [ask("b", "x")])

        found = await rehearse(
            ask("a", "x"), step, input_data={}, past=past_runs(c=past_step(choices={"if_true": 1, "if_false": 3}))
        )

        assert [branch.share for branch in found.plan[1].branches] == [Decimal("0.25"), Decimal("0.75")]
        assert steps_of(found.plan)["b"].times == Span.of(0, Decimal("0.25"), 1)

    async def test_tells_how_often_a_step_is_skipped(self, rehearse: Rehearsals) -> None:
        steps = [ask("a", "x"), ask("b", "x", when="steps.a.content == 'x'")]

        found = await rehearse(*steps, input_data={}, past=past_runs(b=past_step(ran_share=0.2)))

        assert found.plan[1].times == Span.of(0, Decimal("0.2"), 1)

    async def test_tells_how_many_items_loops_have(self, rehearse: Rehearsals) -> None:
        past = past_runs(each=past_step(), b=past_step(instances=Seen(4, 8, 12)))

        found = await rehearse(look_up("a"), repeat("each", "${steps.a.data}", say("b", "x")), input_data={}, past=past)

        loop = found.plan[1].loop
        assert loop is not None
        assert (loop.count, loop.is_count_known) == (Span.of(4, 8, 12), False)

    async def test_tells_how_long_steps_take(self, rehearse: Rehearsals) -> None:
        past = past_runs(a=past_step(duration_ms=Seen(1_000, 2_500, 9_000)))

        found = await rehearse(ask("a", SENT), input_data={}, past=past)

        assert found.load.seconds == Span.of(1, Decimal("2.5"), 9)
