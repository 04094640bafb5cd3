r"""Draws what a command prints on a terminal, in its own colours, as a PNG. Run by hand:

    uv run --no-project --with pillow --with rich docs/img/terminal.py FONT.ttf docs/img/local.png \
        .venv-demo/bin/otel-distro local --name demo -- .venv-demo/bin/python -m demo --quiet

FONT is a monospaced font such as DejaVuSansMono.ttf, with its bold face beside it. The picture
begins at the first line of the summary: what the program itself printed is left out, nothing else.
"""

import io
import os
import pty
import sys
import termios
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS = 100
SIZE = 14
PADDING = 16
FIRST_LINE = "── otel-distro"


def run(command: list[str]) -> tuple[str, int]:
    """Return what the command writes to a terminal of 100 columns, and its status as `os.wait` has it."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", LANG="C.UTF-8")
        termios.tcsetwinsize(0, (60, COLUMNS))
        os.execvp(command[0], command)  # noqa: S606 - the command is the caller's
    output = bytearray()
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        output += part
    return output.decode("utf-8", "replace").replace("\r\n", "\n"), os.waitpid(child, 0)[1]


def draw(ansi: str, font_file: str) -> Image.Image:
    """Return the picture of a text with escape sequences for colours."""
    regular = ImageFont.truetype(font_file, SIZE)
    bold = ImageFont.truetype(font_file.replace(".ttf", "-Bold.ttf"), SIZE)
    width = regular.getlength("M")
    height = SIZE + 4
    console = Console(file=io.StringIO(), width=COLUMNS, color_system="truecolor", force_terminal=True)
    lines = [Text.from_ansi(line) for line in ansi.splitlines()]
    image = Image.new("RGB", (int(width * COLUMNS) + 2 * PADDING, height * len(lines) + 2 * PADDING), "#0c0c0c")
    canvas = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        column = 0
        for segment in line.render(console):
            style = segment.style
            colour = (217, 217, 217)
            if style is not None and style.color is not None:
                colour = tuple(style.color.get_truecolor(MONOKAI))
            elif style is not None and style.dim:
                colour = (150, 150, 150)
            face = bold if style is not None and style.bold else regular
            for character in segment.text:
                canvas.text((PADDING + column * width, PADDING + row * height), character, fill=colour, font=face)
                column += 1
    return image.quantize(32)


def main() -> int:
    """Run the command of the arguments and write the picture of its output."""
    font_file, target, *command = sys.argv[1:]
    output, status = run(command)
    start = output.find(FIRST_LINE)
    if start < 0:
        print(output, file=sys.stderr)
        return 1
    # The colour of the line stands before its first character.
    start = output.rfind("\n", 0, start) + 1
    draw(output[start:].rstrip("\n"), font_file).save(target, optimize=True)
    print(f"{target}: {Path(target).stat().st_size:,} bytes; status {status}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
