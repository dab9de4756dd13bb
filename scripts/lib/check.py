#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of scripts/check. A rule is a generator of (file, line, text);
a text that begins with "warning: " does not fail the check."""
import ast
import collections
import concurrent.futures
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPEC = "docs/specs/pvsched.rst"
ABI = "include/pvsched/abi.h"

# Files that may be longer than LONG lines, each with its reason.
LONG, SOON = 500, 400
LONG_ALLOWED = {}

# Folders that must say what they hold, as soon as they hold anything.
README_FOLDERS = """
. qemu-device bpf-policy guest/linux guest/mini xml-schemas docs docs/design packaging scripts
libvirt-hook libvirt-hook/common libvirt-hook/metadata libvirt-hook/qmp libvirt-hook/libvirt libvirt-hook/bpf
libvirt-hook/sched libvirt-hook/daemon libvirt-hook/hook libvirt-hook/ctl
tests tests/unit tests/schema tests/bpf tests/device tests/e2e tests/lab tests/fuzz
""".split()

C_SUFFIXES = (".c", ".h", ".cpp")
SOURCE_SUFFIXES = C_SUFFIXES + (".S", ".ld", ".py", ".sh", ".build", ".rng", ".service")
SOURCE_NAMES = {"Kbuild", "Makefile", ".clang-format", ".clang-tidy"}

RULES = collections.OrderedDict()


def rule(function):
    RULES[function.__name__.replace("_", "-")] = function
    return function


def run(*command):
    result = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            errors="replace", stdin=subprocess.DEVNULL)
    return result.returncode, result.stdout.splitlines()


def tracked():
    """What is in git, and what would be if it were added now."""
    code, names = run("git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard")
    if code:
        sys.exit(f"check: git ls-files failed: {' '.join(names)}")
    paths = {n: os.path.join(TOP, n) for n in names}
    return sorted(n for n, path in paths.items() if os.path.isfile(path) and not os.path.islink(path))


class Tree:
    """The tracked files, each read once. Binary files have no lines."""

    def __init__(self):
        self.files = tracked()
        self.lines = {}
        for name in self.files:
            with open(os.path.join(TOP, name), "rb") as f:
                data = f.read()
            self.lines[name] = [] if b"\0" in data else data.decode(errors="replace").split("\n")

    def first(self, name):
        return self.lines[name][0] if self.lines[name] else ""

    def shell(self):
        return [n for n in self.files if re.match(r"#!.*\b(ba|da)?sh\b", self.first(n)) or n.endswith(".sh")]

    def python(self):
        return [n for n in self.files if re.match(r"#!.*\bpython3?\b", self.first(n)) or n.endswith(".py")]

    def sources(self):
        scripts = set(self.shell()) | set(self.python())
        return [n for n in self.files
                if n in scripts or n.endswith(SOURCE_SUFFIXES) or os.path.basename(n) in SOURCE_NAMES]

    def text(self, name):
        return "\n".join(self.lines[name])


def split_report(lines, pattern):
    """Turns a tool's FILE:LINE: TEXT into faults, each line of a file once."""
    seen = set()
    for line in lines:
        found = re.match(pattern, line)
        if found and found.group(1, 2) not in seen:
            seen.add(found.group(1, 2))
            yield found.group(1), int(found.group(2)), found.group(3)


@rule
def format(tree):
    def one(name):
        return run("clang-format", "--dry-run", "-Werror", "--ferror-limit=3", name)[1]

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for lines in pool.map(one, [n for n in tree.files if n.endswith(C_SUFFIXES)]):
            yield from split_report(lines, r"(.+?):(\d+):\d+: error: (.*)")


@rule
def shell(tree):
    scripts = tree.shell()
    if scripts:
        lines = run("shellcheck", "-x", "-P", "SCRIPTDIR", "-S", "warning", "-f", "gcc", *scripts)[1]
        yield from split_report(lines, r"(.+?):(\d+):\d+: (.*)")
    for name in tree.files:
        executable = os.access(os.path.join(TOP, name), os.X_OK)
        if tree.first(name).startswith("#!") and not name.endswith(".in") and not executable:
            yield name, 1, "begins with #! but is not executable"


@rule
def python(tree):
    for name in tree.python():
        try:
            module = ast.parse(tree.text(name), name)
        except SyntaxError as error:
            yield name, error.lineno or 1, f"does not compile: {error.msg}"
            continue
        imports = {}
        used = set()
        for node in ast.walk(module):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    imports[(alias.asname or alias.name).split(".")[0]] = node.lineno
            elif isinstance(node, ast.Name):
                used.add(node.id)
            elif isinstance(node, ast.ExceptHandler) and node.type is None:
                yield name, node.lineno, "bare except: name the exceptions"
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if any(isinstance(d, (ast.List, ast.Dict, ast.Set)) for d in node.args.defaults):
                    yield name, node.lineno, "a default argument that can be changed"
        exported = re.search(r"__all__ = ", tree.text(name))
        for word, line in imports.items():
            if word not in used and not exported and not name.endswith("__init__.py"):
                yield name, line, f"{word} is imported and not used"
        for number, line in enumerate(tree.lines[name], 1):
            if len(line) > 120:
                yield name, number, f"line of {len(line)} characters, 120 are allowed"


@rule
def spdx(tree):
    for name in tree.sources():
        if not any("SPDX-License-Identifier:" in line for line in tree.lines[name][:6]) and tree.text(name).strip():
            yield name, 1, "no SPDX-License-Identifier in the first lines"


@rule
def whitespace(tree):
    for name in tree.files:
        if name.endswith((".xml", ".patch", ".diff")):
            continue
        lines = tree.lines[name]
        for number, line in enumerate(lines, 1):
            if line.endswith("\r"):
                yield name, number, "carriage return at the end of the line"
            elif line != line.rstrip():
                yield name, number, "white space at the end of the line"
        if lines and lines[-1] != "":
            yield name, len(lines), "no newline at the end of the file"


@rule
def length(tree):
    for name in tree.sources():
        count = len(tree.lines[name]) - 1
        if count > LONG and name not in LONG_ALLOWED:
            yield name, count, f"{count} lines, {LONG} are allowed: split it"
        elif count > SOON and name not in LONG_ALLOWED:
            yield name, count, f"warning: {count} lines, soon over {LONG}"


@rule
def machine_paths(tree):
    pattern = re.compile(r"(?<![\w.$}*])/(?:" + "|".join(("work", "root", "home")) + r")/\w")
    for name in tree.files:
        for number, line in enumerate(tree.lines[name], 1):
            if found := pattern.search(line):
                yield name, number, f"path of one machine: {line[found.start():found.start() + 40]}"


@rule
def readme(tree):
    for folder in README_FOLDERS:
        prefix = "" if folder == "." else folder + "/"
        inside = [n for n in tree.files if n.startswith(prefix) and os.path.basename(n) != "meson.build"]
        if inside and prefix + "README.md" not in tree.lines:
            yield prefix + "README.md", 1, "is missing: say what the folder holds"


@rule
def spec_identifiers(tree):
    """The spec names each register with its offset, each feature with its bit, each flag and value; by the whole
    identifier or by what follows PVSCHED_GROUP_. It names no identifier that the header does not have."""
    if SPEC not in tree.lines:
        yield SPEC, 1, "is missing"
        return
    text = tree.text(SPEC)
    kinds = re.compile(r"#define PVSCHED_(REG|F|DRIVER|HOST|TRANSPORT|RESULT|CRITICAL|INTENT|CLASS|STATE|PLACEMENT)"
                       r"_(\w+) (?:\(1ull << )?(\w+)")
    for number, line in enumerate(tree.lines[ABI], 1):
        found = kinds.match(line)
        if not found or found[2].endswith(("SHIFT", "ALL")):
            continue
        group, name, value = found.groups()
        word = rf"\b(?:PVSCHED_{group}_)?{name}\b"
        if not re.search(word, text):
            yield ABI, number, f"PVSCHED_{group}_{name} is not in {SPEC}"
        elif group in ("REG", "F") and not re.search(rf"^ *{value} .*{word}", text, re.M):
            yield ABI, number, f"PVSCHED_{group}_{name} does not stand beside {value} in {SPEC}"
    pattern = re.compile(r"\bPVSCHED_[A-Z0-9_]+\b")
    abi = set(pattern.findall(tree.text(ABI)))
    for number, line in enumerate(tree.lines[SPEC], 1):
        for word in pattern.findall(line):
            if word not in abi:
                yield SPEC, number, f"{word} is not in {ABI}"


@rule
def requirements(tree):
    """The spec defines R1, R1.2 ... at the start of a line, in bold, or as a target; tests cite them."""
    if SPEC not in tree.lines:
        return
    number_of = re.compile(r"\bR\d+(?:\.\d+)*[a-z]?\b")
    defined = {}
    for number, line in enumerate(tree.lines[SPEC], 1):
        found = re.match(r"\s*(?:[-*|] +)?(?:\.\. _|:|\*\*)?(R\d+(?:\.\d+)*[a-z]?)\b(?::|\.|\*\*|\s|$)", line)
        if found:
            defined.setdefault(found[1], number)
    cited = {}
    for name in tree.files:
        base = os.path.basename(name)
        if not (name.startswith("tests/") or re.search(r"(_test|Test|^test_)", base)) or name.endswith(".md"):
            continue
        for number, line in enumerate(tree.lines[name], 1):
            for word in number_of.findall(line):
                cited.setdefault(word, (name, number))
    for word, (name, number) in sorted(cited.items()):
        if word not in defined:
            yield name, number, f"cites {word}, which {SPEC} does not define"
    for word, number in defined.items():
        if word not in cited and not any(c.startswith(word + ".") for c in cited):
            yield SPEC, number, f"warning: {word} is cited by no test"


@rule
def man(tree):
    pages = [n for n in tree.files if re.match(r"docs/man/.+\.[1-8]$", n)]
    for page in pages:
        lines = run("mandoc", "-T", "lint", "-W", "warning", page)[1]
        # A date in a page says when somebody last thought of it: none is better.
        lines = [line for line in lines if "missing date" not in line]
        yield from split_report(lines, r"mandoc: (.+?):(\d+):\d+: (.*)")


@rule
def config_file(tree):
    """The default configuration names every key that the daemon knows, and no other."""
    reader, default = "libvirt-hook/daemon/config.cpp", "packaging/pvschedd.conf"
    if reader not in tree.lines or default not in tree.lines:
        return
    known = {}
    for number, line in enumerate(tree.lines[reader], 1):
        if found := re.match(r'\s*\{"(\w+)", "(\w+)",', line):
            known[found.groups()] = number
    group, named = "", set()
    for number, line in enumerate(tree.lines[default], 1):
        if found := re.match(r"\[(\w+)\]", line):
            group = found[1]
        elif found := re.match(r"#?(\w+)=", line):
            named.add((group, found[1]))
            if (group, found[1]) not in known:
                yield default, number, f"[{group}] {found[1]} is no key of pvschedd"
    for (group, key), number in known.items():
        if (group, key) not in named:
            yield reader, number, f"[{group}] {key} is not in {default}"


@rule
def links(tree):
    """Relative links of the documents lead to something."""
    for name in tree.files:
        if not name.endswith(".md"):
            continue
        for number, line in enumerate(tree.lines[name], 1):
            for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", line):
                path = os.path.join(TOP, os.path.dirname(name), target)
                if "://" not in target and not target.startswith("mailto:") and not os.path.exists(path):
                    yield name, number, f"link to {target}, which does not exist"


@rule
def packages(tree):
    """What headers.sh needs is in the one list of packages."""
    script = "qemu-device/headers.sh"
    if script not in tree.lines:
        return
    code, needed = run("bash", script, "--packages")
    _, have = run("bash", "-c", ". scripts/lib/packages.sh; packages_of build")
    for package in needed if code == 0 else []:
        if package not in have:
            yield script, 1, f"needs {package}, which scripts/lib/packages.sh does not list"


def main():
    if sys.argv[1:] == ["--list"]:
        print(*RULES)
        return 0
    unknown = [name for name in sys.argv[1:] if name not in RULES]
    if unknown:
        sys.exit(f"check: no such rule: {' '.join(unknown)}; there are {' '.join(RULES)}")
    tree = Tree()
    faults = warnings = 0
    for name in sys.argv[1:] or RULES:
        for file, line, text in RULES[name](tree):
            if text.startswith("warning: "):
                warnings += 1
            else:
                faults += 1
            print(f"{file}:{line}: {text} [{name}]")
    print(f"check: {len(tree.files)} files, {faults} faults, {warnings} warnings")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
