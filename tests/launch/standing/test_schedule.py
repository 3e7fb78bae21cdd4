"""When the last job ends: pure, and never earlier for more work, longer work, later starts or less room."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from launch.standing.schedule import Job, seconds_to_the_end

SECONDS = st.integers(0, 50).map(float)


@st.composite
def jobs(draw: st.DrawFn) -> list[Job]:
    made: list[Job] = []
    for number in range(draw(st.integers(1, 12))):
        runs = draw(st.booleans())
        after = None if runs or not number else draw(st.none() | st.integers(0, number - 1))
        made.append(Job(draw(SECONDS), after, 0.0 if runs else draw(SECONDS), runs))
    return made


ROOM = st.none() | st.integers(1, 4)


def test_nothing_left() -> None:
    assert seconds_to_the_end([], None) == seconds_to_the_end([], 3) == 0


def test_children_after_their_parent_and_no_more_at_once_than_may() -> None:
    parent, child = Job(10, runs=True), Job(5, after=0)
    assert seconds_to_the_end([parent, child, child], None) == 15
    assert seconds_to_the_end([parent, child, child], 1) == 20
    assert seconds_to_the_end([Job(10), Job(10), Job(10)], 2) == 20
    assert seconds_to_the_end([Job(10, runs=True), Job(30, runs=True), Job(1)], 1) == 31, "the throttle was lowered"
    assert seconds_to_the_end([Job(10, not_before=60)], 1) == 70


@given(jobs(), ROOM, st.data())
def test_more_is_never_earlier(before: list[Job], at_once: int | None, data: st.DataObject) -> None:
    end = seconds_to_the_end(before, at_once)
    number = data.draw(st.integers(0, len(before) - 1))
    longer = replace(before[number], seconds=before[number].seconds + data.draw(SECONDS))
    assert seconds_to_the_end([*before[:number], longer, *before[number + 1 :]], at_once) >= end
    later = replace(before[number], not_before=before[number].not_before + data.draw(SECONDS))
    assert seconds_to_the_end([*before[:number], later, *before[number + 1 :]], at_once) >= end
    another = Job(data.draw(SECONDS), data.draw(st.none() | st.integers(0, len(before) - 1)))
    assert seconds_to_the_end([*before, another], at_once) >= end
    if at_once is not None:
        assert seconds_to_the_end(before, at_once + 1) <= end
        assert seconds_to_the_end(before, None) <= end


@given(jobs(), ROOM)
def test_it_lies_between_what_no_schedule_can_beat_and_one_after_the_other(
    every: list[Job], at_once: int | None
) -> None:
    end = seconds_to_the_end(every, at_once)
    assert end >= max(job.seconds + job.not_before for job in every)
    assert end <= sum(job.seconds + job.not_before for job in every)
    if at_once is not None:
        assert end * max(at_once, sum(job.runs for job in every)) >= sum(job.seconds for job in every) - 1e-6
