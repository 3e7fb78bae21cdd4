"""How one throttle is shared out over an experiment's arrays, and which of them takes its turn after which.

Slurm knows a throttle per array only (`%`). Arithmetic alone: `launch.submit.throttle` gives arrays their shares.
"""

from collections.abc import Sequence


def shares(counts: Sequence[int], cap: int | None) -> list[int | None]:
    """A share of the cap for each array: by its number of elements, at least 1, in sum the cap wherever it suffices.

    None for all: there is no cap.
    """
    if cap is None:
        return [None] * len(counts)
    total = sum(counts)
    if total <= cap:
        return [max(1, count) for count in counts]
    exact = [cap * count / total for count in counts]
    whole_shares = [max(1, int(share)) for share in exact]
    # The largest remainders get what is left; where the least of 1 took too much, the largest shares give.
    by_remainder = sorted(range(len(counts)), key=lambda n: whole_shares[n] - exact[n])
    for n in by_remainder[: max(0, cap - sum(whole_shares))]:
        whole_shares[n] += 1
    while sum(whole_shares) > cap and max(whole_shares) > 1:
        whole_shares[whole_shares.index(max(whole_shares))] -= 1
    return list(whole_shares)


def turn(number: int, jobs: Sequence[str | None], cap: int | None) -> str | None:
    """The job that an array must wait for to its end, so that no more than `cap` arrays are open; None: no job.

    number: its place among all arrays of the experiment, the oldest first. jobs: of those before it; None: not sent.
    """
    if cap is None:
        return None
    before = (jobs[place] for place in range(number - cap, -1, -cap))
    return next((job for job in before if job is not None), None)
