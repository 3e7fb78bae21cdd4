"""How a race stands (`seeds: {min, max, until}`), and what it costs: for `status`, `plan` and programs."""

from typing import Any

from eval.tables.baseline import baseline_words
from launch.estimate import race as race_cost
from launch.estimate.cost import Estimates
from launch.plan import Plan
from launch.show.lines import hanging
from launch.status import Observation
from launch.status.racing import PairRace

_LISTED = 40  # pairs


def lines(observation: Observation, width: int) -> list[str]:
    """How many pairs are decided, then each, those that race first."""
    race, pairs = observation.plan.experiment.race, list(observation.racing.pairs.values())
    assert race is not None
    counts = {"decided": 0, "left open": 0, "racing": 0} | {_state(pair): 0 for pair in pairs}
    for pair in pairs:
        counts[_state(pair)] += 1
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    text = hanging(
        f"race: {states} of {len(pairs)} pairs; difference to {baseline_words(observation.plan.recipe_names)}"
        f" [{100 * (1 - race.alpha):g} % interval over all looks]",
        width,
    )
    in_order = sorted(pairs, key=lambda pair: pair.is_over)
    for pair in in_order[:_LISTED]:
        text += hanging(f"  {pair.recipe} / {pair.target}: {pair.words(race)}", width)
    if len(pairs) > _LISTED:
        text.append(f"  … {len(pairs) - _LISTED} more pairs (--json lists all)")
    return text


def _state(pair: PairRace) -> str:
    if not pair.is_over:
        return "racing"
    return "left open" if pair.look is None or pair.look.conclusion in (None, "open") else "decided"


def record(observation: Observation) -> dict[str, Any]:
    """The same for programs. An interval that is not known is null."""
    race = observation.plan.experiment.race
    assert race is not None
    return {
        "min": race.min,
        "max": race.max,
        "until": race.until,
        "alpha": race.alpha,
        "pairs": [
            {
                "recipe": pair.recipe,
                "target": pair.target,
                "state": _state(pair),
                "conclusion": pair.look.conclusion if pair.look else None,
                "seeds": list(pair.wanted),
                "compared": pair.compared,
                "void": pair.void,
                "difference": pair.look.value if pair.look else None,
                "interval": _interval(pair),
                "at_most": pair.look.at_most if pair.look and pair.look.at_most < float("inf") else None,
            }
            for pair in observation.racing.pairs.values()
        ],
    }


def _interval(pair: PairRace) -> list[float] | None:
    look = pair.look
    return None if look is None or look.high - look.low == float("inf") else [look.low, look.high]


def plan_lines(plan: Plan, observation: Observation) -> list[tuple[str, str]]:
    """What `plan` prints: label and text."""
    race = plan.experiment.race
    if race is None:
        return []
    hours = race_cost.hours(plan, Estimates(plan, observation.store))
    rule = f"until a difference is shown, or one within ±{race.until:g} points; error rate {race.alpha:g} a pair"
    return [
        ("race", f"{race.min} to {race.max} seeds a pair, {rule}"),
        (
            "",
            f"all of it: {hours.least:.3g} {hours.device}-hours at least, {hours.most:.3g} at most, about"
            f" {hours.expected:.3g} expected ({race_cost.ASSUMPTION})",
        ),
    ]


def cost_record(plan: Plan, observation: Observation) -> dict[str, Any]:
    """For programs: in hours."""
    hours = race_cost.hours(plan, Estimates(plan, observation.store))
    return {"least": hours.least, "most": hours.most, "expected": hours.expected, "assuming": race_cost.ASSUMPTION}
