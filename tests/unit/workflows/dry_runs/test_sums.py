"""Sums over a plan: side by side, one of several, once per item."""

from decimal import Decimal

from callboard.workflows.dry_runs.plans import Certainty, Load, PlanBranch, PlanStep, Span, add_up
from callboard.workflows.dry_runs.sums import beside, merged, one_of, scaled


def load(tokens: int, seconds: int, *, usd: str | None = "1") -> Load:
    return Load(
        input_tokens=Span.exactly(tokens),
        cost_usd=None if usd is None else Span.exactly(Decimal(usd)),
        seconds=Span.exactly(seconds),
    )


def step(tokens: int, *branches: PlanBranch, certainty: Certainty = Certainty.CERTAIN) -> PlanStep:
    return PlanStep(
        id="a",
        type="llm",
        display_name=None,
        certainty=certainty,
        when=None,
        times=Span.exactly(1),
        load=load(tokens, 1),
        basis="prompt",
        branches=branches,
    )


def branch(*steps: PlanStep) -> PlanBranch:
    return PlanBranch(name="", condition=None, certainty=Certainty.CERTAIN, share=Decimal(1), steps=steps)


class TestBeside:
    def test_takes_as_long_as_the_longest(self) -> None:
        together = beside([load(10, 1), load(20, 5), load(30, 2)], max_concurrency=10)

        assert (together.input_tokens, together.seconds) == (Span.exactly(60), Span.exactly(5))

    def test_takes_turns_where_few_run_at_a_time(self) -> None:
        together = beside([load(0, 2)] * 6, max_concurrency=2)

        assert together.seconds.likely == 6  # 6 x 2 s / 2

    def test_of_nothing_takes_nothing(self) -> None:
        assert beside([], max_concurrency=10) == Load()


class TestOneOf:
    def test_takes_the_least_the_mean_and_the_most(self) -> None:
        either = one_of([(Decimal("0.75"), load(100, 1, usd="4")), (Decimal("0.25"), load(0, 9, usd="0"))])

        assert either.input_tokens == Span.of(0, 75, 100)
        assert either.cost_usd == Span.of(0, 3, 4)
        assert either.seconds == Span.of(1, 3, 9)

    def test_costs_what_nobody_knows_where_one_does(self) -> None:
        assert one_of([(Decimal(1), load(1, 1)), (Decimal(0), load(1, 1, usd=None))]).cost_usd is None


class TestScaled:
    def test_multiplies_everything_inside(self) -> None:
        scaled_step = scaled(step(10, branch(step(4))), Span.of(0, 2, 3))

        assert scaled_step.load.input_tokens == Span.of(0, 20, 30)
        assert scaled_step.branches[0].steps[0].load.input_tokens == Span.of(0, 8, 12)
        assert scaled_step.branches[0].steps[0].times == Span.of(0, 2, 3)


class TestMerged:
    def test_adds_up_instances(self) -> None:
        together = merged([step(10, branch(step(4))), step(20, branch(step(6)))])

        assert together.times == Span.exactly(2)
        assert together.load.input_tokens == Span.exactly(30)
        assert together.branches[0].steps[0].load.input_tokens == Span.exactly(10)

    def test_is_possible_where_some_instances_do_not_run(self) -> None:
        together = merged([step(10, branch(step(4))), step(0, certainty=Certainty.NEVER)])

        assert together.certainty is Certainty.POSSIBLE
        assert together.branches[0].steps[0].load.input_tokens == Span.exactly(4)


class TestAddUp:
    def test_costs_what_nobody_knows_where_one_does(self) -> None:
        assert add_up([load(1, 1), load(1, 1, usd=None)]).cost_usd is None
