# SPDX-License-Identifier: GPL-2.0-or-later
"""Small SVG charts without a library. The same data give the same bytes. Colours are legible on white and on black,
and lines differ by dashes as well."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 34, 62, 52
TEXT, GRID = "#768390", "#76839055"


def fixed(value):
    """A coordinate: two digits at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


class Canvas:
    """Collects elements; text() of it is the file."""

    def __init__(self, title, height=HEIGHT):
        self.height = height
        self.parts = []
        self.title = title
        self.write(LEFT, 22, title, size=15, weight="600")

    def line(self, x1, y1, x2, y2, colour=GRID, width=1.0):
        self.parts.append(f'<line x1="{fixed(x1)}" y1="{fixed(y1)}" x2="{fixed(x2)}" y2="{fixed(y2)}" '
                          f'stroke="{colour}" stroke-width="{fixed(width)}"/>')

    def path(self, points, colour, dash=""):
        body = "L".join(f"{fixed(x)} {fixed(y)}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<path d="M{body}" fill="none" stroke="{colour}" stroke-width="2" '
                          f'stroke-linejoin="round"{dashed}/>')

    def box(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{fixed(x)}" y="{fixed(y)}" width="{fixed(width)}" height="{fixed(height)}" '
                          f'fill="{colour}"/>')

    def write(self, x, y, text, anchor="start", size=12, weight="400", turn=False, colour=TEXT):
        turned = f' transform="rotate(-90 {fixed(x)} {fixed(y)})"' if turn else ""
        self.parts.append(f'<text x="{fixed(x)}" y="{fixed(y)}" text-anchor="{anchor}" font-size="{size}" '
                          f'font-weight="{weight}" fill="{colour}"{turned}>{escape(text)}</text>')

    def legend(self, entries):
        """(label, colour, dash) in a row under the title; dash None is a box."""
        x = LEFT
        for label, colour, dash in entries:
            if dash is None:
                self.box(x, 36, 12, 12, colour)
            else:
                self.path([(x, 42), (x + 22, 42)], colour, dash)
            start = x + (18 if dash is None else 28)
            self.write(start, 46, label)
            x = start + 7 * len(label) + 16

    def text(self):
        body = "\n".join(self.parts)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {fixed(self.height)}" '
                f'width="{WIDTH}" height="{fixed(self.height)}" role="img" '
                f'font-family="system-ui, -apple-system, \'DejaVu Sans\', sans-serif">\n'
                f"<title>{escape(self.title)}</title>\n{body}\n</svg>\n")


class Log:
    """Maps low..high to pixels on a logarithmic axis of whole decades."""

    def __init__(self, low, high, from_px, to_px):
        self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high))
        if self.low == self.high:
            self.high += 1
        self.from_px, self.to_px = from_px, to_px

    def __call__(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.from_px + share * (self.to_px - self.from_px)

    def decades(self):
        return [10.0 ** n for n in range(self.low, self.high + 1)]


class Linear:
    """Maps 0..high to pixels; ticks at round values."""

    def __init__(self, high, from_px, to_px):
        self.high, self.from_px, self.to_px = high, from_px, to_px

    def __call__(self, value):
        return self.from_px + value / self.high * (self.to_px - self.from_px)

    def ticks(self, about=6):
        raw = self.high / about
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * n for n in (1, 2, 5, 10) if power * n >= raw * 0.999)
        return [round(step * n, 9) for n in range(int(self.high / step + 1e-9) + 1)]


def frame(canvas, x_title, y_title, bottom):
    """The titles of the axes."""
    canvas.write((LEFT + WIDTH - RIGHT) / 2, bottom + 40, x_title, "middle")
    canvas.write(14, (TOP + bottom) / 2, y_title, "middle", turn=True)


def microseconds(value):
    """1000 -> "1 ms"."""
    for unit, size in (("s", 1e6), ("ms", 1e3), ("µs", 1)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} µs"
