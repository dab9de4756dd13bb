# SPDX-License-Identifier: GPL-2.0-or-later
"""The distribution kernels that the lab boots: fetched, unpacked, never installed.

As a program: kernels.py VERSION... prints one line of JSON for each, and fetches
what is missing.
"""
import argparse
import dataclasses
import json
import lzma
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from debian import Suite, cache_dir, locked

# The lab's name of a kernel -> the suite that has it. The suite's current kernel
# is taken, and must not be older than the name says.
SUITES = {"7.3": "trixie-backports", "6.12": "bookworm-backports", "6.1": "bookworm"}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One unpacked kernel. All paths are absolute."""
    name: str      # "7.3"
    release: str   # `uname -r`
    image: str     # bzImage, for the firmware's way in
    vmlinux: str   # its payload, for PVH: no decompression in an emulated guest
    modules: str   # .../lib/modules/RELEASE, with modules.dep
    headers: str   # what a module's build takes as KDIR
    config: str    # the kernel's .config

    @property
    def compiler(self) -> str:
        """The Debian release whose compiler builds modules for it."""
        return "trixie" if SUITES[self.name].startswith("trixie") else "bookworm"


def fetch(name: str) -> Kernel:
    """The kernel of this name; downloads it (about 150 MB) unless it is cached."""
    if name not in SUITES:
        raise LookupError(f"kernel {name}: there are {', '.join(SUITES)}")
    folder = cache_dir() / "kernels" / name
    record = folder / "kernel.json"
    with locked(folder):
        if not record.exists():
            print(f"lab: fetching kernel {name} from {SUITES[name]}", file=sys.stderr, flush=True)
            kernel = _unpack(name, folder)
            record.write_text(json.dumps(dataclasses.asdict(kernel)), encoding="ascii")
    return Kernel(**json.loads(record.read_text(encoding="ascii")))


def _unpack(name: str, folder: Path) -> Kernel:
    shutil.rmtree(folder, ignore_errors=True)  # what an earlier, broken off run left
    suite = Suite(SUITES[name])
    suite.update()
    image = suite.depends("linux-image-amd64", r"linux-image-[0-9].*")
    release = image.removeprefix("linux-image-")
    if _numbers(release) < _numbers(name):
        raise LookupError(f"{suite.name} has Linux {release}, older than {name}")
    base = release.removesuffix("-amd64")
    # 7.x splits image and modules; common and kbuild are shared between flavours.
    optional = [f"linux-binary-{release}", f"linux-modules-{release}", f"linux-base-{release}",
                f"linux-kbuild-{base}", f"linux-kbuild-{'.'.join(base.split('.')[:2])}"]
    packages = [image, f"linux-headers-{release}", f"linux-headers-{base}-common"]
    suite.unpack(packages + [p for p in optional if suite.has(p)], folder)
    # Debian 13 has /lib inside /usr; depmod and the kernel's loader look in lib/modules.
    modules = next(d for d in (folder / "lib/modules" / release, folder / "usr/lib/modules" / release)
                   if (d / "kernel").is_dir())
    subprocess.run(["depmod", "-b", modules.parents[2], release], check=True)
    headers = folder / "usr/src" / f"linux-headers-{release}"
    _relocate(headers, folder)
    def boot(what: str) -> str:
        return str(next(p for p in (folder / f"boot/{what}-{release}", modules / what) if p.exists()))

    vmlinux = folder / "vmlinux"
    vmlinux.write_bytes(_payload(Path(boot("vmlinuz")).read_bytes()))
    return Kernel(name=name, release=release, image=boot("vmlinuz"), vmlinux=str(vmlinux), modules=str(modules),
                  headers=str(headers), config=boot("config"))


def _payload(image: bytes) -> bytes:
    """The ELF kernel inside a bzImage (Documentation/arch/x86/boot.rst, protocol 2.08)."""
    setup_sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    begin = (setup_sectors + 1) * 512 + offset
    packed = image[begin:begin + length]
    if packed.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(packed)
    if packed.startswith(b"\x28\xb5\x2f\xfd"):
        # What follows the frame is the kernel's own note of the size: zstd complains of it.
        done = subprocess.run(["zstd", "-dcq"], input=packed, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False)
        if done.stdout.startswith(b"\x7fELF"):
            return done.stdout
    raise RuntimeError(f"a kernel image with an unknown payload: {packed[:4].hex()}")


def _relocate(headers: Path, folder: Path) -> None:
    """The headers' Makefile and links name /usr/src and /usr/lib: make them the cache's."""
    makefile = headers / "Makefile"
    text = makefile.read_text(encoding="ascii")
    makefile.write_text(text.replace("/usr/src/", f"{folder}/usr/src/"), encoding="ascii")
    for source in (headers, *folder.glob("usr/src/linux-headers-*-common")):
        for link in (p for p in source.iterdir() if p.is_symlink()):
            target = str(link.readlink())
            if target.startswith("/usr/"):
                link.unlink()
                link.symlink_to(f"{folder}{target}")


def _numbers(text: str) -> list[int]:
    return [int(n) for n in text.split("-")[0].split("+")[0].split(".")[:2]]


def main() -> None:
    """Prints the kernels that were named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="*", default=list(SUITES), help=", ".join(SUITES))
    for name in parser.parse_args().version:
        print(json.dumps(dataclasses.asdict(fetch(name))))


if __name__ == "__main__":
    main()
