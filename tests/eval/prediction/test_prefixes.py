"""Common beginnings of rows of tokens, as trees."""

from hypothesis import given
from hypothesis import strategies as st

from eval.prediction.prefixes import Segment, trees

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12).map(tuple), max_size=12, unique=True)


def flat(segments: list[Segment]) -> list[Segment]:
    return [part for segment in segments for part in (segment, *flat(list(segment.branches)))]


def test_demonstrations_a_question_and_its_labels_are_three_levels() -> None:
    demonstrations, first, second = (9,) * 5, (1,) * 4, (2,) * 4
    rows = [(*demonstrations, *question, label, label) for question in (first, second) for label in (3, 4)]
    (root,) = trees(rows, [9] * 4, least_shared=3)
    assert (root.tokens, root.rows, root.leaves, root.longest, root.outputs) == (demonstrations, (0, 1, 2, 3), 4, 11, 8)
    assert [branch.tokens for branch in root.branches] == [first, second]
    assert [leaf.tokens for branch in root.branches for leaf in branch.branches] == [(3, 3), (4, 4), (3, 3), (4, 4)]


def test_less_than_the_least_is_not_shared_and_a_row_may_end_where_another_goes_on() -> None:
    assert [tree.tokens for tree in trees([(1, 2, 3), (1, 2, 4)], [0, 0], least_shared=3)] == [(1, 2, 3), (1, 2, 4)]
    (root,) = trees([(1, 2), (1, 2, 3)], [1, 2], least_shared=2)
    assert (root.tokens, root.first_output, root.leaves) == ((1, 2), 1, 1)
    assert [(branch.tokens, branch.rows) for branch in root.branches] == [((3,), (1,))]


@given(ROWS, st.integers(1, 4), st.data())
def test_every_row_is_the_segments_on_its_way(rows: list[tuple[int, ...]], least: int, data: st.DataObject) -> None:
    first_outputs = [data.draw(st.integers(0, len(row) - 1)) for row in rows]
    segments = flat(trees(rows, first_outputs, least))
    for number, row in enumerate(rows):
        way = [segment for segment in segments if number in segment.rows]
        assert sum((segment.tokens for segment in way), ()) == row
        assert all(
            segment.start == sum(len(above.tokens) for above in way[:place]) for place, segment in enumerate(way)
        )
        outputs = [
            place
            for segment in way
            for place in range(segment.start + segment.first_output, segment.end)
            if place >= first_outputs[number]
        ]
        assert outputs == list(range(first_outputs[number], len(row)))
    for segment in segments:
        assert len(segment.rows) == 1 or len(segment.tokens) >= least
        assert segment.longest == max(len(rows[row]) for row in segment.rows)
