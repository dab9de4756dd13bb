# SPDX-License-Identifier: GPL-2.0-or-later
"""Initial RAM file systems, of the lab's host and of its Linux guests."""
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from debian import cache_dir, locked
from kernels import Kernel

BUSYBOX = "/bin/busybox"


class Image:
    """What goes into an image: programs with their libraries, modules, files, an init."""

    def __init__(self, kernel: Kernel, init: Path):
        self.kernel = kernel
        self.files: dict[str, tuple[Path | bytes, int]] = {}  # path in the image -> content, mode
        self.modules: list[str] = []
        self.file("init", init, 0o755)
        self.program(BUSYBOX, "bin/busybox")

    def file(self, name: str, content: Path | bytes, mode: int = 0o644) -> None:
        """A file: the path of its content, or the content."""
        self.files[name] = (content, mode)

    def program(self, path: str, name: str | None = None) -> None:
        """A program with the shared libraries that it loads."""
        found = shutil.which(path)
        if not found:
            raise LookupError(f"{path} is not installed: run scripts/install-deps lab")
        self.file(name or f"bin/{Path(path).name}", Path(found), 0o755)
        listed = subprocess.run(["ldd", found], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, check=False).stdout
        for line in listed.splitlines():
            for word in line.split():
                if word.startswith("/"):
                    self.file(word.lstrip("/"), Path(word), 0o755)

    def module(self, name: str) -> None:
        """A module of the kernel, after those it depends on; init loads them in this order."""
        base = Path(self.kernel.modules).parents[2]
        listed = subprocess.run(["modprobe", "-d", base, "-S", self.kernel.release, "--show-depends", name],
                                text=True, stdout=subprocess.PIPE, check=True).stdout
        for line in listed.splitlines():
            if line.startswith("insmod "):
                self._module_file(Path(line.split()[1]))

    def _module_file(self, path: Path) -> None:
        name = path.name.removesuffix(".xz")
        if name in self.modules:
            return
        data = path.read_bytes()
        self.modules.append(name)
        # The kernel loads a compressed module only if it was built to.
        self.file(f"modules/{name}", lzma.decompress(data) if path.suffix == ".xz" else data)

    def build(self) -> Path:
        """The image's file; made anew only when something in it has changed."""
        self.file("modules/order", "".join(f"{m}\n" for m in self.modules).encode())
        digest = hashlib.sha256()
        for name, (content, mode) in sorted(self.files.items()):
            data = content if isinstance(content, bytes) else content.read_bytes()
            digest.update(f"{name} {mode:o} {len(data)}\n".encode() + data)
        target = cache_dir() / "images" / f"{self.kernel.name}-{digest.hexdigest()[:16]}.cpio"
        with locked(target):
            if not target.exists():
                self._write(target)
        return target

    def _write(self, target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="pvsched-image-") as top:
            for folder in ("bin", "dev", "proc", "sys", "tmp", "run", "root", "etc"):
                os.mkdir(os.path.join(top, folder))
            os.symlink("bin", os.path.join(top, "sbin"))
            for name, (content, mode) in self.files.items():
                path = Path(top, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
                path.chmod(mode)
            part = target.with_suffix(".part")
            subprocess.run("find . | cpio -o -H newc --quiet >" + f"'{part}'", shell=True,
                           cwd=top, check=True)
            part.rename(target)
