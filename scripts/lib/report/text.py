# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers, tables and the texts of parts/ as Markdown."""
import os
import string

PARTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "parts")
NONE = "–"


def number(value, digits=3):
    """About so many significant digits, never in exponents; a dash for None."""
    if value is None:
        return NONE
    if isinstance(value, int):
        return str(value)
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(digits - whole, 0) if whole else digits - 1}f}"


def ratio(found):
    """A median with the worst round beside it."""
    return NONE if found is None else f"{number(found['median'])} ({number(found['worst'])})"


def over(above, below):
    """A ratio of two plain figures."""
    return number(above / below) if below and above is not None else NONE


def table(head, rows):
    lines = [" | ".join(head), "|".join("---" for _ in head)]
    lines += [" | ".join(str(cell) for cell in row) for row in rows]
    return "\n".join(f"| {lines[i]} |" if i != 1 else f"|{lines[i]}|" for i in range(len(lines)))


def part(name, **values):
    """parts/NAME.md.in with its $placeholders filled; each must be given, and used."""
    with open(os.path.join(PARTS, f"{name}.md.in"), encoding="utf-8") as file:
        template = string.Template(file.read())
    unused = set(values) - set(template.get_identifiers())
    if unused:
        raise KeyError(f"parts/{name}.md.in does not use {', '.join(sorted(unused))}")
    return template.substitute(values).rstrip("\n")
