#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Policies that must be refused or contained, through `pvschedctl policy load`: a table of what is said of each."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TESTS)

from testbed.checks import check, main, say  # noqa: E402
from testbed.policies import PolicyGuest, hostile, refused  # noqa: E402
from testbed.util import Failure, read, run, wait_for, write  # noqa: E402

NAME = "pvsched-test-hostile"
GUIDE = os.path.join(os.path.dirname(TESTS), "docs", "writing-a-policy.md")
STRANGER = 1234  # a user other than root


class Table:
    """Rows of what an object tries and what is said of it; a sentence without the words expected fails at the end."""

    def __init__(self, bench):
        self.bench, self.wrong = bench, []
        say("| object | outcome | message |")
        say("|---|---|---|")

    def row(self, what, outcome, sentence, words):
        say(f"| {what} | {outcome} | {sentence.replace('|', '/')} |")
        if words not in sentence:
            self.wrong.append(f"{what}: no '{words}' in '{sentence}'")

    def refuse(self, what, path, words):
        """pvschedctl policy load refuses it in one sentence."""
        sentence = refused(self.bench, "policy", "load", path)
        check("\n" not in sentence, f"{what}: more than one line: {sentence}")
        self.row(what, "refused", sentence.removeprefix("pvschedctl: "), words)

    def end(self):
        check(not self.wrong, "; ".join(self.wrong))


class Folder(tempfile.TemporaryDirectory):
    """Context: a folder of root's for objects; `put` makes a file from one, with its bytes changed."""

    def __init__(self):
        super().__init__(prefix="pvsched-policy.")

    def __enter__(self):
        self.path = super().__enter__()
        return self

    def put(self, name, source, change=lambda content: content):
        with open(source, "rb") as file:
            content = change(file.read())
        path = os.path.join(self.path, name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o644)
        return path


def other_version(content):
    """The object as if it were built for another version of the interface: the word after the description's magic."""
    at = content.index(b"vpol") + 4
    return content[:at] + (99).to_bytes(4, "little") + content[at + 4:]


def guide_commands():
    """The commands of docs/writing-a-policy.md that make keys and a signature."""
    with open(GUIDE, encoding="utf-8") as file:
        found = re.findall(r"^[$#] (openssl .*|install -D .*)$", file.read(), re.M)
    check(len(found) == 4, f"{GUIDE}: {found}")
    return found


def sign(folder, author, path, keys):
    """Signs an object as docs/writing-a-policy.md says; its key is put into the folder `keys`."""
    for command in guide_commands():
        if "genpkey" in command and os.path.exists(os.path.join(folder, author + ".key")):
            continue
        command = (command.replace("evening.bpf.o", path).replace("/etc/pvsched/keys", keys)
                   .replace("evening", author))
        done = subprocess.run(["sh", "-ec", command], cwd=folder, text=True, capture_output=True, check=False)
        if done.returncode:
            raise Failure(f"{command}: {done.stderr}")


def refusals(bench):
    """Each hostile object has its sentence; none is loaded, and VMs stay served."""
    table, greedy = Table(bench), hostile(bench, "greedy")
    with Folder() as folder, PolicyGuest(bench, NAME, "latency") as rogue:
        for name, what, words in (
                ("helper", "calls a helper", "calls helper 5"),
                ("data", "has a variable", "section .bss"),
                ("program", "brings a program", "section tp_btf/sched_switch"),
                ("stranger", "reaches for a map of the framework", "needs mailboxes"),
                ("endless", "loops for ever", "the kernel refused it: infinite loop"),
                ("beyond", "writes out of range", "unbounded memory access")):
            table.refuse(f"{name}: {what}", hostile(bench, name), words)
        table.refuse("built for another version", folder.put("version.bpf.o", greedy, other_version),
                     "version 99 of the policy interface: allowed is 1")
        table.refuse("cut off", folder.put("cut.bpf.o", greedy, lambda content: content[:len(content) // 2]),
                     "it is cut off")
        table.refuse("no object at all", folder.put("text.bpf.o", __file__), "no BPF object file")
        table.refuse("a program of this machine", folder.put("native.bpf.o", "/bin/true"), "no BPF object file")
        table.refuse("larger than 1 MiB", folder.put("large.bpf.o", greedy, lambda c: c + bytes(1 << 20)),
                     "larger than 1024 KiB")
        table.refuse("its name is loaded", os.path.join(bench.host.build.policies, "batch.bpf.o"), "swap replaces it")
        owners(table, folder, greedy)
        listed = bench.daemon.ctl("policy", "list").stdout
        check("greedy" not in listed and "hostile" not in listed, f"one of them is loaded: {listed}")
        rogue.wait_boosted()
    table.end()


def owners(table, folder, source):
    """Files that others than root can change, and what only looks like a file of root's."""
    path = folder.put("open.bpf.o", source)
    os.chmod(path, 0o666)
    table.refuse("world-writable", path, "can be written to by others than root, and there is no signature")
    path = folder.put("foreign.bpf.o", source)
    os.chown(path, STRANGER, STRANGER)
    table.refuse("another user's, unsigned", path, f"belongs to user {STRANGER}: allowed is root, and there is no sig")
    inner = os.path.join(folder.path, "inner")
    os.mkdir(inner)
    path = shutil.copy(source, inner)
    os.chmod(inner, 0o777)
    table.refuse("in a folder open to all", path, "the folder of")
    link = os.path.join(folder.path, "link.bpf.o")
    os.symlink(source, link)
    table.refuse("a symbolic link to root's", link, "is a symbolic link")
    fifo = os.path.join(folder.path, "fifo.bpf.o")
    os.mkfifo(fifo)
    table.refuse("a pipe", fifo, "is no regular file")
    table.refuse("a folder", inner, "is no regular file")
    table.refuse("nothing there", os.path.join(folder.path, "none.bpf.o"), "No such file")


def signed(bench):
    """Another user's object is loaded with a good signature, made as the guide says; with a bad one nobody's is."""
    keys, table, batch = bench.daemon.keys, Table(bench), os.path.join(bench.host.build.policies, "batch.bpf.o")
    with Folder() as folder:
        path = folder.put("batch.bpf.o", batch)
        os.chown(path, STRANGER, STRANGER)
        sign(folder.path, "alice", path, keys)
        said = bench.daemon.ctl("policy", "swap", path).stdout
        shown = bench.daemon.ctl("policy", "show", "batch").stdout
        check("trusted:  by key alice" in shown, shown)
        table.row("another user's, signed", "loaded", said.strip(), "in force")
        signature = read_bytes(path + ".sig")

        def swap(what, words):
            sentence = refused(bench, "policy", "swap", path)
            table.row(what, "refused", sentence.removeprefix("pvschedctl: "), words)

        bad = "is not what any key"
        write_bytes(path + ".sig", signature[:40])
        swap("signature cut off", "has 40 bytes: an Ed25519 signature has 64")
        write_bytes(path + ".sig", signature[:-1] + bytes([signature[-1] ^ 1]))
        swap("signature changed", bad)
        write_bytes(path + ".sig", signature)
        folder.put("batch.bpf.o", batch, lambda content: content + b"\0")
        swap("object changed after it was signed", bad)
        os.chown(path, 0, 0)
        swap("root's, but its signature is bad", bad)
        os.chown(path, STRANGER, STRANGER)
        folder.put("batch.bpf.o", batch)
        key = os.path.join(keys, "alice.pem")
        os.chmod(key, 0o666)
        swap("key open to all", "alice.pem can be written to by others than root")
        os.unlink(key)
        swap("key not known, or taken out", "there is no key in")
        sign(folder.path, "mallory", path, os.path.join(folder.path, "keys"))
        sign(folder.path, "alice", folder.put("other.bpf.o", batch), keys)
        swap("signed with a key that is not known", bad)
        os.unlink(path + ".sig")
        os.chown(path, 0, 0)
        bench.daemon.ctl("policy", "swap", path)
        check("trusted:  by owner" in bench.daemon.ctl("policy", "show", "batch").stdout, "root is not the owner")
        shutil.rmtree(keys)
    table.end()


def signatures_required(bench):
    """With signed=required the library's own objects need a signature, or pvschedd does not start."""
    daemon, library, keys = bench.daemon, bench.host.build.policies, bench.daemon.keys
    before = read(daemon.config)
    daemon.stop()
    try:
        with Folder() as folder:
            write(daemon.config, before + "\n[policy]\nsigned=required\n")
            done = run(bench.host.build.daemon, "--config", daemon.config, check=False)
            check(done.returncode == 1 and "latency.bpf.o has no signature" in done.stderr + done.stdout,
                  f"exit status {done.returncode}: {done.stderr}{done.stdout}")
            others = [name for name in os.listdir(library) if name.endswith(".bpf.o") and name != "audio.bpf.o"]
            for name in others:
                sign(folder.path, "host", folder.put(name, os.path.join(library, name)), keys)
            folder.put("audio.bpf.o", os.path.join(library, "audio.bpf.o"))
            write(daemon.config, f"{before}\n[policy]\nsigned=required\npolicies={folder.path}\n")
            daemon.start()
            listed = daemon.ctl("policy", "list").stdout
            say(listed.strip().split("\n")[-1])
            check(listed.count("key host") == len(others), listed)
            check("audio.bpf.o has no signature: the configuration says signed=required" in listed, listed)
    finally:
        shutil.rmtree(keys, ignore_errors=True)
        write(daemon.config, before)
        daemon.stop()
        daemon.start()


def contained(bench):
    """One that is always urgent is throttled; one that wishes nonsense, or is slow, is stopped: the default serves."""
    table = Table(bench)
    with PolicyGuest(bench, NAME, "latency") as rogue:
        bench.daemon.ctl("policy", "load", hostile(bench, "greedy"))
        rogue.choose("greedy")

        def throttles():
            return rogue.status()["vcpus"][0]["stats"]["throttles"]["critical"]

        before = throttles()
        wait_for("throttles", lambda: throttles() > before + 2, 20)
        table.row("greedy: never the baseline", "contained", f"throttles: {throttles() - before}", "throttles")
        for name, what, words in (("nonsense", "wishes what no class has", "wishes were of no class"),
                                  ("slow", "takes its time", "its calls take")):
            bench.daemon.stop()  # a policy keeps its slot, of which the library leaves two, until pvschedd ends
            bench.daemon.start()
            bench.daemon.wait_active(rogue.name, device=True)
            bench.daemon.ctl("policy", "load", hostile(bench, name))
            rogue.choose(name)
            wait_for("it is stopped", lambda: rogue.status()["policy"] == "latency", 20)
            lines = bench.daemon.ctl("policy", "list").stdout.split("\n")
            sentence = next((line for line in lines if f"policy '{name}' was stopped: " in line), "")
            table.row(f"{name}: {what}", "stopped", sentence, words)
            rogue.wait_boosted()
    table.end()


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def write_bytes(path, content):
    with open(path, "wb") as file:
        file.write(content)


main([refusals, signed, signatures_required, contained])
