"""To the Hugging Face Hub, by its own client: only where a person asks for it. Nothing else here uses a network."""

from pathlib import Path

from slurm.base import UsageError, UserError


def check(repo: str) -> None:
    """Before anything is written: whether the name can be one, and whether there is a token. Asks no network."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise UsageError(f"--push {repo}: no name of a repository on the Hub; it is USER/NAME or NAME") from None
    if get_token() is None:
        raise UserError(
            "--push: the Hub asks who you are: type hf auth login, or set HF_TOKEN, then this command again"
        )


def push(folder: Path, repo: str, *, public: bool) -> str:
    """Send a folder, and return where it lies now. The repository is made where there is none, private unless `public`.

    UserError of one line for whatever goes wrong; the folder stays.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api = HfApi()  # the token is where its client looks for it, and nowhere else
    try:
        url = api.create_repo(repo, private=not public, exist_ok=True)
        api.upload_folder(repo_id=url.repo_id, folder_path=folder, commit_message="Publish with Stepstone")
    except Exception as error:  # its client, HTTP's and the system's: none of them is ours to trace
        raise UserError(
            f"{repo} was not sent ({_reason(error)}); {folder} is whole: send it later with"
            f" hf upload {repo} {folder} .{'' if public else ' --private'}"
        ) from None
    return str(url)


def _reason(error: Exception) -> str:
    """The first words; no header and no address that its client may print with them."""
    first_line = next(iter(str(error).strip().splitlines()), "")
    words = first_line.partition(" for url")[0].partition(" (Request ID")[0]
    return (words or type(error).__name__)[:160]
