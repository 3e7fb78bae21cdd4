"""The catalogue's entries, one file per kind of data. Data only; to add a task of an existing format, add an entry.

Hub: every id is namespaced, every revision a commit that several public repositories pin by themselves; where none
could be established the revision is None and only local data will do. Local paths are those of the data sets' own
downloads (XTREME's `download` folder for its tasks). Labels have names, never bare numbers where they mean something,
and sets that mean the same use the same.
"""

from training.tasks import choice, image_text, retrieval, sequence, span, tagging, text
from training.tasks.task import Task

ENTRIES: tuple[Task, ...] = (
    *sequence.ENTRIES,
    *span.ENTRIES,
    *tagging.ENTRIES,
    *choice.ENTRIES,
    *retrieval.ENTRIES,
    *image_text.ENTRIES,
    *text.ENTRIES,
)
