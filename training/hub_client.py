"""The Hugging Face Hub's own client: what it fetches is verified here, and what it says in many ways becomes one line.

How often it tries again, how long it waits (as the Hub asks, after a 429) and that it goes on within a file whose
connection broke is the client's own; so are `HF_HUB_DOWNLOAD_TIMEOUT`, `HF_HUB_ETAG_TIMEOUT`, `HF_ENDPOINT` and the
proxy's variables. It compares lengths but no content, so that is done here: by the hash that the Hub names a file with.

Not covered: files of a cache without links (`HF_HUB_DISABLE_SYMLINKS`), which forget that name.
"""

import errno
import hashlib
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slurm.base import UserError
from slurm.base.files import sha256_file

_AGAIN = "type the command again; files that came whole stay"
_LOGIN = "type hf auth login, or set HF_TOKEN"
_QUERY = re.compile(r"\?\S+")  # of addresses in storage: they are signed


@dataclass(frozen=True)
class Repository:
    """One on the Hub, at a commit."""

    kind: Literal["model", "dataset"]
    name: str
    commit: str

    @property
    def page(self) -> str:
        """Where people look at it: there they also ask for access, whichever mirror they fetch from."""
        return f"https://huggingface.co/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    @property
    def other_commit(self) -> str:
        """How an experiment file names another commit of it."""
        if self.kind == "model":
            return f"model: {self.name}@<40 hex digits>"
        return f"data: {{revisions: {{{self.name}: <40 hex digits>}}}}"

    @property
    def instead(self) -> str:
        """What an experiment file can name in its place."""
        return "give a folder as `model:`" if self.kind == "model" else "give data.root"


def fetch_file(repository: Repository, path: str) -> None:
    """See that a file of the repository is in the client's cache, and what the Hub calls it.

    UserError where it is damaged, or of another commit; the client's own errors else.
    """
    from huggingface_hub import constants, hf_hub_download

    link = Path(hf_hub_download(repository.name, path, repo_type=repository.kind, revision=repository.commit))
    commit = link.parents[path.count("/")].name
    if commit != repository.commit:
        raise UserError(f"{constants.ENDPOINT} answers with commit {commit} instead: {repository.instead}")
    verify([link])


def set_up_client() -> None:
    """Have it draw its bars by bytes on terminals alone, and print no signed address when it tries again."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_without_query)


def _without_query(record: logging.LogRecord) -> bool:
    """Every record, the addresses in it cut short: who has a signed one may read the file for an hour, gated or not."""
    record.msg, record.args = _QUERY.sub("", record.getMessage()), ()
    return True


def verify(links: Iterable[Path]) -> None:
    """UserError for the first file of the cache that is not what the Hub called it: deleted, to be fetched anew."""
    for link in links:
        if not link.is_symlink():
            continue
        blob = link.parent / link.readlink()
        if _is_damaged(blob):
            for path in (link, blob, blob.resolve()):  # which may lie in the store that repositories share
                path.unlink(missing_ok=True)
            raise UserError(
                f"{link.name} arrived damaged (another hash than the Hub names) and was deleted: {_AGAIN}. If it stays"
                " so, a proxy or a mirror changes files"
            )


def _is_damaged(blob: Path) -> bool:
    """By its name: the SHA-256 of a large file, what Git calls a small one; some mirrors give plain SHA-1s."""
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        return sha256_file(blob) != blob.name
    if re.fullmatch("[0-9a-f]{40}", blob.name):
        content = blob.read_bytes()
        forms = (b"blob %d\0" % len(content) + content, content)
        return blob.name not in {hashlib.sha1(form).hexdigest() for form in forms}
    return False


@contextmanager
def errors_in_one_line(repository: Repository, subject: str) -> Iterator[None]:
    """What goes wrong inside as a UserError of one line that begins with the subject and says what to do."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{subject}: {error}") from error
    except Exception as error:  # the libraries raise what their dozen layers raise; none of it is ours to trace
        raise UserError(f"{subject}: cannot be fetched: {_reason(error, repository)}") from error


def _reason(error: Exception, repository: Repository) -> str:
    """Why, and what to do: by the first cause that is known, from without to within."""
    for cause in _causes(error):
        if words := _known_reason(cause, repository):
            return words
    first_line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return f"{_QUERY.sub('', first_line)[:200]} ({_AGAIN}, or {repository.instead})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _known_reason(error: BaseException, repository: Repository) -> str | None:
    from huggingface_hub import constants
    from huggingface_hub.errors import FileMetadataError, HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        return _refusal(error, repository)
    if isinstance(error, OfflineModeIsEnabled):
        return (
            f"it is not in {constants.HF_HOME}, and HF_HUB_OFFLINE is set. Run `stepstone prepare FILE` where there is"
            f" a network (same HF_HOME), or {repository.instead}"
        )
    if isinstance(error, FileMetadataError):
        return f"{constants.ENDPOINT} does not answer as a Hub does: see HF_ENDPOINT, and the settings of your proxy"
    # By name: the two libraries speak HTTP by different ones, and neither is a requirement of ours.
    if "TransportError" in {kind.__name__ for kind in type(error).__mro__}:
        words = _QUERY.sub("", str(error))[:100] or type(error).__name__
        return (
            f"{constants.ENDPOINT} cannot be reached, or the connection broke ({words}): {_AGAIN}. Without a network:"
            f" fetch it where there is one (same HF_HOME), or {repository.instead}"
        )
    if _is_full_disk(error):
        return f"no room left in {constants.HF_HOME}: make some, or set HF_HOME to another folder (jobs need the same)"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename}: {error.strerror}: set HF_HOME to a folder that you may write (jobs need the same)"
    return _reason_by_words(str(error), repository)


def _is_full_disk(error: BaseException) -> bool:
    """Xet's library has only words for it."""
    codes = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError) and error.errno in codes:
        return True
    return any(f"(os error {code})" in str(error) for code in codes)


def _refusal(error: BaseException, repository: Repository) -> str:
    """What a status of the Hub means."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    assert isinstance(error, HfHubHTTPError), error
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        ask = f"ask for access on {repository.page}"
        return f"it is gated: {ask}, then {_LOGIN}" if status == 401 else f"it is gated, and not for your token: {ask}"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"the Hub has no such repository for you: it was removed or renamed ({repository.instead}), or is private"
            f" ({_LOGIN})"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"it has no such commit: take one of {repository.page}/commits/main, as {repository.other_commit}"
    if status == 401:
        return "the Hub does not take your token: type hf auth login, or unset HF_TOKEN (what is public needs none)"
    if status == 429:
        return f"the Hub had too many requests: in some minutes {_AGAIN}. With a token it takes more: {_LOGIN}"
    if status >= 500:
        return f"the Hub has trouble ({status}): {_AGAIN}"
    return f"the Hub answers {status}: see {repository.page}"


def _reason_by_words(words: str, repository: Repository) -> str | None:
    """What the libraries have no error of its own for."""
    if "Consistency check failed" in words:
        return f"a file came with another length than the Hub names: {_AGAIN}"
    if "Dataset scripts are no longer supported" in words:
        return (
            "it has a loading script at this commit, and no code from the Hub is run: take a commit without, as"
            f" {repository.other_commit}, or {repository.instead}"
        )
    return None
