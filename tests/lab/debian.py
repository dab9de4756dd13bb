# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages of other suites, downloaded and unpacked into a cache; the
system's own package lists, caches and installed packages stay as they are.

Everything lies under cache_dir(): safe to delete, fetched anew when needed.
"""
import fcntl
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

MIRROR = os.environ.get("PVSCHED_MIRROR", "http://deb.debian.org/debian")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def cache_dir() -> Path:
    """The folder of everything fetched: $XDG_CACHE_HOME or /var/cache, pvsched/lab."""
    return Path(os.environ.get("XDG_CACHE_HOME", "/var/cache")) / "pvsched" / "lab"


@contextmanager
def locked(folder: Path):
    """One process at a time fills a folder; the others wait and then find it filled."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Suite:
    """The packages of one suite, for example "trixie-backports"."""

    def __init__(self, name: str):
        self.name = name
        self.folder = cache_dir() / "apt" / name
        self._updated = False

    def update(self) -> None:
        """Reads the suite's package list from the mirror, once in a process."""
        if self._updated:
            return
        for part in ("lists/partial", "archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        (self.folder / "sources.list").write_text(
            f"deb {signed}{MIRROR} {self.name} main\n", encoding="ascii")
        (self.folder / "apt.conf").write_text(
            'Dir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\n'
            f'Dir::Etc::sourcelist "{self.folder}/sources.list";\n'
            'Dir::Etc::sourceparts "/dev/null";\n'
            f'Dir::State "{self.folder}";\nDir::State::status "/dev/null";\n'
            f'Dir::Cache "{self.folder}";\nAPT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\nAcquire::Retries "3";\n', encoding="ascii")
        self._run("apt-get", "-q", "update")
        self._updated = True

    def depends(self, package: str, pattern: str) -> str:
        """The first dependency of a package whose name matches the pattern."""
        shown = self._run("apt-cache", "show", "--no-all-versions", package)
        for name in re.findall(r"[a-z0-9][a-z0-9+.-]+", field(shown, "Depends")):
            if re.fullmatch(pattern, name):
                return name
        raise LookupError(f"{self.name}: package {package} depends on nothing like {pattern}")

    def version(self, package: str) -> str:
        """The version that the suite has of a package."""
        return field(self._run("apt-cache", "show", "--no-all-versions", package), "Version")

    def has(self, package: str) -> bool:
        """Whether the suite has a package of exactly this name."""
        return package in self._run("apt-cache", "pkgnames", package).split()

    def unpack(self, packages: list[str], folder: Path) -> None:
        """Downloads packages (not what they depend on) and unpacks them into a folder."""
        download = self.folder / "download"
        shutil.rmtree(download, ignore_errors=True)
        download.mkdir()
        self._run("apt-get", "-q", "download", *packages, cwd=download)
        for deb in sorted(download.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
        shutil.rmtree(download)

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        env = dict(os.environ, APT_CONFIG=str(self.folder / "apt.conf"), LC_ALL="C")
        done = subprocess.run(command, env=env, cwd=cwd, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: {done.stderr.strip()[-600:]}")
        return done.stdout


def field(record: str, name: str) -> str:
    """One field of a package record, "" when it is not there."""
    found = re.search(rf"^{name}: (.*)$", record, re.MULTILINE)
    return found.group(1) if found else ""
