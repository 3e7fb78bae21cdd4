"""Being somebody for whom a closed file is closed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def anybody(folder: Path) -> Iterator[None]:
    """Root may read all that is closed: as the user nobody, then."""
    if os.geteuid() != 0:
        yield
        return
    for part in (folder, *folder.parents[:-2]):
        os.chmod(part, 0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
