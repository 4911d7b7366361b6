"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(target: Path, *, mode: int | None = None) -> Iterator[Path]:
    """A temporary path beside ``target`` that takes its place when the block ends well.

    If the block raises, the temporary file is removed and ``target`` is left as it was.

    Args:
        target: the file to write; its folder is made if it does not exist.
        mode: permission bits of the finished file; by default what the umask gives a new file.

    Raises:
        OSError: the folder cannot be made or written (a full disk, say).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if mode is None:
            # mkstemp made it 0600; a finished file gets what open() would have given it.
            umask = os.umask(0)
            os.umask(umask)
            mode = 0o666 & ~umask
        temporary.chmod(mode)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write ``data`` to ``target`` at once or not at all."""
    with replacing(target, mode=mode) as temporary:
        temporary.write_bytes(data)


def write_text(target: Path, text: str, *, mode: int | None = None) -> None:
    """Write ``text`` (UTF-8) to ``target`` at once or not at all.

    What no text can hold (bytes of a file name that are not UTF-8, say) becomes a question mark.
    """
    write_bytes(target, text.encode("utf-8", "replace"), mode=mode)
