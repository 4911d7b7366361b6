"""Debian packages as a source of files: downloaded by apt-get, which checks their signatures."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sparsight.errors import SparsightError

TIMEOUT_SECONDS = 1800


def download(package: str, folder: Path) -> Path:
    """Bring a package into ``folder`` (no need to be root) and say where it is.

    Raises:
        SparsightError: there is no apt-get, it does not know the package, or it cannot fetch it.
    """
    if shutil.which("apt-get") is None:
        raise SparsightError("this system has no apt-get")
    # As root, apt would first try to write as its own user, who may not enter our folder, and warn.
    command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", package]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SparsightError(f"apt-get was not done within {TIMEOUT_SECONDS // 60} minutes") from error
    found = next(iter(sorted(folder.glob("*.deb"))), None)
    if done.returncode == 0 and found is not None:
        return found
    complaint = next(
        (line for line in done.stderr.splitlines() if line.startswith("E:")), "E: no reason given"
    )
    if "Unable to locate" in complaint or "select candidate version" in complaint:
        raise SparsightError("apt-get does not know the package, run 'apt-get update' as root and try again")
    raise SparsightError(f"apt-get failed ({complaint.removeprefix('E:').strip()})")
