"""One mail when an experiment is over, by Slurm itself: a last job of seconds that waits for all that was sent.

It is sent as arrays are, in a submission of its own with one array of one element and no stage: with an intent before
and a receipt after, so that one whose sender died is found again. Which there is to be follows from what is on the
disk: one that is newer than the last array. So a command that was killed in between leaves it to the next, and an older
one that still waits goes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launch.draft import request
from launch.plan import Plan
from launch.store import Submission, sharing, submissions
from launch.store.submissions import IntendedArray, Intent, Receipt
from launch.submit import sender
from slurm import arrays, control, snapshot
from slurm.arrays import LimitReached, Refused, SendUnclear
from slurm.base import UserError
from slurm.base.errors import one_line
from slurm.base.files import make_folder

Report = Callable[[str], None]


def settle(plan: Plan, report: Report, *, has_sent: bool) -> None:
    """Have the one mail's job wait for all that is in the queue, and no other. Under the lock, after arrays were sent.

    has_sent: whether this command has. What goes wrong is reported, and is no error of what was sent.
    """
    if not plan.experiment.notify.mail:
        return
    try:
        _settle(plan, report, has_sent=has_sent)
    except OSError as error:
        report(f"mail: {one_line(error) or error}; the next submit sees to it")
    except UserError as error:
        report(f"mail: {error}; the next submit sees to it")


def _settle(plan: Plan, report: Report, *, has_sent: bool) -> None:
    history = _history(plan)
    if not history.sent or (history.mails and history.mails[-1].folder.name > history.sent[-1].folder.name):
        _cancel(history.mails[:-1], report)
        return
    entries = snapshot.look(0).entries
    if entries is None:
        report("mail: Slurm does not answer, so its job was not sent; `stepstone submit` again sends it")
        return
    names = {array.name for submission in history.sent for array in submission.arrays}
    jobs = sorted({entry.job for entry in entries if entry.name in names}, key=int)
    if not jobs and not has_sent and not history.owes_one:
        return  # all was over before anybody asked for a mail
    if _send(plan, history.sent[-1], jobs, report):
        _cancel(history.mails, report)


def cancel(plan: Plan, report: Report = lambda line: None) -> None:
    """End the mail's job with the experiment: a person who ended it needs no mail of that."""
    _cancel(_history(plan).mails, report)


@dataclass(frozen=True)
class _History:
    """What of an experiment Slurm has got, the oldest first. `owes_one`: a mail was to follow the last of it, and was
    not sent for a reason that passes."""

    sent: list[Submission]
    mails: list[Submission]
    owes_one: bool


def _history(plan: Plan) -> _History:
    of_experiment = [
        submission
        for submission in submissions.read_all(plan.experiment.store)
        if submission.intent.experiment == plan.experiment.name and submission.executor == "slurm"
    ]
    at_slurm = [s for s in of_experiment if any(_job(s, number) for number in range(len(s.arrays)))]
    last = of_experiment[-1] if of_experiment else None
    owes_one = last is not None and last.is_mail and last not in at_slurm and not _is_refused(last)
    return _History([s for s in at_slurm if not s.is_mail], [s for s in at_slurm if s.is_mail], owes_one)


def _job(submission: Submission, array: int = 0) -> str | None:
    receipt = submission.receipt(array)
    return receipt.job if receipt is not None and receipt.was_sent else None


def _is_refused(mail: Submission) -> bool:
    receipt = mail.receipt(0)
    return receipt is not None and receipt.refused is not None


def _send(plan: Plan, last: Submission, jobs: Sequence[str], report: Report) -> bool:
    """Send the mail's job after these; whether Slurm has it, or may have it."""
    submission, identifier = submissions.new_folder(plan.experiment.store)
    make_folder(submission.logs(0))
    name = request.array_name(plan, identifier, 0)
    intent = Intent(
        id=identifier,
        experiment=plan.experiment.name,
        executor="slurm",
        since=time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 60)),
        code=last.intent.code,  # so that it stays as long as the newest submission does
        arrays=(IntendedArray(name=name, elements={0: []}),),
    )
    submissions.write_intent(submission, intent)
    sharing.let_in(sender.share_group(plan), plan.experiment.store, [submission.folder])
    mail_request = request.mail(plan, name, submission.logs(0), jobs)
    submission.write_sending(0)
    try:
        job = arrays.send(mail_request)
    except SendUnclear as error:
        submission.write_sending(0, left=True)
        report(f"mail: {error}; the next submit finds out")
        return True
    except UserError as error:
        is_limit = isinstance(error, LimitReached)
        submission.write_receipt(0, Receipt(held=str(error)) if is_limit else Receipt(refused=str(error)))
        mend = ""
        if isinstance(error, Refused):
            mend = f"; see `notify: {{partition: …}}` in {plan.experiment.path.name}"
        report(f"mail: its job was not sent: {error}{mend}")
        return False
    finally:
        sharing.let_in_again(submission.folder)
    submission.write_receipt(0, Receipt(job=job))
    sharing.let_in_again(submission.folder)
    report(f"mail: job {job}, when the last of these has ended")
    return True


def _cancel(mails: Sequence[Submission], report: Report) -> None:
    """End what of earlier mails still waits."""
    if not mails:
        return
    queued_names = {entry.name for entry in snapshot.look().entries or []}
    waiting = [mail for mail in mails if mail.arrays[0].name in queued_names]
    jobs = [job for mail in waiting if (job := _job(mail)) is not None]
    if not jobs:
        return
    for mail in waiting:
        if (0, 0) not in mail.cancelled:
            mail.record_cancelled([(0, 0)])
    loud_jobs = [job for job in jobs if not control.silence_mail(job)]  # an end by cancelling is one, too
    if loud_jobs:
        report(f"mail: Slurm may write one more, of job {', '.join(loud_jobs)}, which is cancelled")
    try:
        control.cancel(jobs)
    except UserError as error:
        report(f"mail: an earlier one's job is still there: {error}")
