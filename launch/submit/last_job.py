"""The last job of an experiment: it waits for all that was sent, then makes the table, and its end is what Slurm writes
a mail of. There is one, and nobody waits for it.

It is sent as arrays are, in a submission of its own with one array of one element and no stage: with an intent before
and a receipt after, so that one whose sender died is found again. Which there is to be follows from what is on the
disk: one that is newer than the last array, for the file as it is. So a command that was killed in between leaves it to
the next, and an older one that still waits goes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launch.draft import request
from launch.plan import Plan
from launch.store import Submission, collects, owner, provenance, sharing, submissions
from launch.store.submissions import IntendedArray, Intent, Receipt
from launch.submit import sender
from slurm import arrays, control, snapshot
from slurm.arrays import LimitReached, Refused, SendUnclear
from slurm.base import UserError
from slurm.base.errors import one_line
from slurm.base.files import make_folder
from slurm.queue import QueueEntry

_MOST_ELEMENTS = 50  # that are named one by one: a dependency is a line in slurmctld's memory
Report = Callable[[str], None]


def settle(plan: Plan, report: Report, *, has_sent: bool, held_elements: int = 0) -> None:
    """Have one last job wait for all that is in the queue, and no other. Under the lock, after arrays were sent.

    has_sent: whether this command has. held_elements: those that there was no room for; they go first. What goes wrong
    is reported, and is no error of what was sent.
    """
    try:
        if held_elements and request.has_last_job(plan):
            report(f"{_what(plan)}: no job for it while elements are held back, which need the room{_instead(plan)}")
        else:
            _settle(plan, report, has_sent=has_sent)
    except OSError as error:
        report(f"{_what(plan)}: {one_line(error) or error}; the next submit sees to it")
    except UserError as error:
        report(f"{_what(plan)}: {error}; the next submit sees to it")


def make_room(plan: Plan, report: Report) -> bool:
    """End a last job that waits, where stages need its place in the queue: `settle` sends another after them. Whether
    there was one."""
    return _cancel(plan, _history(plan).last_jobs, report)


def cancel(plan: Plan, report: Report = lambda line: None) -> bool:
    """End the last job with the experiment: who ended it needs no mail of that, and types `collect` for a table.
    Whether there was one."""
    return _cancel(plan, _history(plan).last_jobs, report)


def _what(plan: Plan) -> str:
    """What the job is for, as it begins the lines about it."""
    return "collect" if plan.experiment.collect.job else "mail"


def _settle(plan: Plan, report: Report, *, has_sent: bool) -> None:
    history = _history(plan)
    if not request.has_last_job(plan):
        _cancel(plan, history.last_jobs, report)
        return
    if not history.sent or history.has_newest_for(plan):
        _cancel(plan, history.last_jobs[:-1], report)
        return
    entries = snapshot.look(0).entries
    if entries is None:
        report(f"{_what(plan)}: Slurm does not answer, so its job was not sent; `stepstone submit` again sends it")
        return
    jobs = _waited_for(plan, history, entries)
    if not jobs and not has_sent and not history.owes_one:
        return  # all was over before anybody asked for it
    if plan.experiment.collect.job:
        _warn_of_anothers_table(plan, report)
    if _send(plan, jobs, report):
        _cancel(plan, history.last_jobs, report)


def _warn_of_anothers_table(plan: Plan, report: Report) -> None:
    try:
        owner.check(plan)
    except UserError as error:
        report(f"{_what(plan)}: its job will make no table: {error}")


@dataclass(frozen=True)
class _History:
    """What of an experiment Slurm has got, the oldest first: `sent` has what another one sent of its stages, too.
    `owes_one`: a last job was to follow the last of it, and was not sent for a reason that passes."""

    sent: list[Submission]
    last_jobs: list[Submission]
    owes_one: bool

    def has_newest_for(self, plan: Plan) -> bool:
        """Whether a last job follows all that was sent, and is for what the file says now."""
        if not self.last_jobs or self.last_jobs[-1].folder.name < self.sent[-1].folder.name:
            return False
        newest = self.last_jobs[-1]
        asked_for = collects.request_of(plan) if plan.experiment.collect.job else None
        return (0, 0) not in newest.cancelled and collects.request_in(newest) == asked_for


def _history(plan: Plan) -> _History:
    all_submissions = [s for s in submissions.read_all(plan.experiment.store) if s.executor == "slurm"]
    at_slurm = [s for s in all_submissions if any(_job(s, number) for number in range(len(s.arrays)))]
    with_stages = [s for s in at_slurm if s.keys and (_is_of(plan, s) or not plan.stages.keys().isdisjoint(s.keys))]
    last = next((s for s in reversed(all_submissions) if _is_of(plan, s)), None)
    owes_one = last is not None and last.is_last_job and last not in at_slurm and not _is_refused(last)
    return _History(with_stages, [s for s in at_slurm if s.is_last_job and _is_of(plan, s)], owes_one)


def _is_of(plan: Plan, submission: Submission) -> bool:
    name: str = plan.experiment.name
    return submission.intent.experiment == name


def _waited_for(plan: Plan, history: _History, entries: Sequence[QueueEntry]) -> list[str]:
    """What is in the queue, as `afterany` takes it: this experiment's arrays, and of others' the elements that have
    stages of it (their whole arrays where those are many)."""
    ours = {array.name for submission in history.sent if _is_of(plan, submission) for array in submission.arrays}
    shared_elements = {
        (array.name, index)
        for submission in history.sent
        if not _is_of(plan, submission)
        for array in submission.arrays
        for index, keys in array.elements.items()
        if not plan.stages.keys().isdisjoint(keys)
    }
    arrays_to_wait_for = {entry.job for entry in entries if entry.name in ours}
    elements = [entry for entry in entries if entry.index is not None and (entry.name, entry.index) in shared_elements]
    if len(elements) > _MOST_ELEMENTS:
        arrays_to_wait_for |= {entry.job for entry in elements}
        elements = []
    return [*sorted(arrays_to_wait_for, key=int), *(f"{entry.job}_{entry.index}" for entry in elements)]


def _job(submission: Submission, array: int = 0) -> str | None:
    receipt = submission.receipt(array)
    return receipt.job if receipt is not None and receipt.was_sent else None


def _is_refused(last_job: Submission) -> bool:
    receipt = last_job.receipt(0)
    return receipt is not None and receipt.refused is not None


def _send(plan: Plan, jobs: Sequence[str], report: Report) -> bool:
    """Send the last job after these; whether Slurm has it, or may have it."""
    code = provenance.freeze(plan.experiment.store)  # not that of the last array, which may not know how to collect
    submission, identifier = submissions.new_folder(plan.experiment.store)
    make_folder(submission.logs(0))
    if plan.experiment.collect.job:
        collects.write_request(submission, collects.request_of(plan))
    name = request.array_name(plan, identifier, 0)
    intent = Intent(
        id=identifier,
        experiment=plan.experiment.name,
        executor="slurm",
        since=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 60)),
        code=code.name,
        arrays=(IntendedArray(name=name, elements={0: []}),),
    )
    submissions.write_intent(submission, intent)
    sharing.let_in(sender.share_group(plan), plan.experiment.store, [code, submission.folder])
    job_request = request.last_job(plan, name, submission.folder, code, jobs)
    submission.write_sending(0)
    try:
        job = arrays.send(job_request)
    except SendUnclear as error:
        submission.write_sending(0, left=True)
        report(f"{_what(plan)}: {error}; the next submit finds out")
        return True
    except LimitReached as error:
        submission.write_receipt(0, Receipt(held=str(error)))
        report(f"{_what(plan)}: there is no room for its job beside the stages: {error}{_instead(plan)}")
        return False
    except UserError as error:
        submission.write_receipt(0, Receipt(refused=str(error)))
        report(f"{_what(plan)}: its job was not sent: {error}{_mend(plan) if isinstance(error, Refused) else ''}")
        return False
    finally:
        sharing.let_in_again(submission.folder)
    submission.write_receipt(0, Receipt(job=job))
    sharing.let_in_again(submission.folder)
    report(f"{_what(plan)}: job {job}, when the last of these has ended{_whither(plan)}")
    return True


def _mend(plan: Plan) -> str:
    section = "collect" if plan.experiment.collect.job else "notify"
    return f"; see `{section}: {{partition: …}}` in {plan.experiment.path.name}"


def _instead(plan: Plan) -> str:
    return "; `submit --wait` collects without one, or type `stepstone collect`" if plan.experiment.collect.job else ""


def _whither(plan: Plan) -> str:
    if not plan.experiment.collect.job:
        return ""
    return f"; the table: {collects.results_folder(plan.experiment.store, plan.experiment.name)}"


def _cancel(plan: Plan, last_jobs: Sequence[Submission], report: Report) -> bool:
    """End what of earlier last jobs still waits; whether there was one."""
    if not last_jobs:
        return False
    queued_names = {entry.name for entry in snapshot.look().entries or []}
    waiting = [last_job for last_job in last_jobs if last_job.arrays[0].name in queued_names]
    jobs = [job for last_job in waiting if (job := _job(last_job)) is not None]
    if not jobs:
        return False
    for last_job in waiting:
        if (0, 0) not in last_job.cancelled:
            last_job.record_cancelled([(0, 0)])
    loud_jobs = [job for job in jobs if not control.silence_mail(job)]  # an end by cancelling is one, too
    if loud_jobs and plan.experiment.notify.mail:
        report(f"mail: Slurm may write one more, of job {', '.join(loud_jobs)}, which is cancelled")
    try:
        control.cancel(jobs)
    except UserError as error:
        report(f"{_what(plan)}: an earlier one's job is still there: {error}")
    return True
