"""What can be wrong with a path before its content is looked at, said in one sentence."""

from __future__ import annotations

import stat
from pathlib import Path

from sparsight.errors import SparsightError


def check_file(path: Path, kind: str) -> None:
    """Make sure that ``path`` is a regular file with something in it; ``kind`` is what it should hold.

    A pipe or a device is refused, because reading it could block for ever.

    Raises:
        SparsightError: it is missing, a folder, a device, empty, or must not be read.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SparsightError(f"{path} is a folder, not a {kind}: name a file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise SparsightError(f"{path} is not a regular file: copy the {kind} to a file first.")
        path.open("rb").close()
    except FileNotFoundError:
        raise SparsightError(f"there is no file {path}: check the path.") from None
    except PermissionError:
        raise SparsightError(f"{path} cannot be read: permission denied, check who owns it.") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise SparsightError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if status.st_size == 0:
        raise SparsightError(f"{path} is an empty file, not a {kind}.")
