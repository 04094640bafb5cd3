"""The frame that caused an error and the groups of errors, from stack traces of Python."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from otel_distro.local.failures import culprit, fingerprint, frames

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json
def parse(text):
    return json.loads(text)
def load(text):
    try:
        return parse(text)
    except ValueError as error:
        raise RuntimeError("cannot load") from error
"""


def stack_of(tmp_path: Path, last_line: str, name: str = "app.py") -> str:
    """Return what Python prints for a program that ends with ``last_line``."""
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(PROGRAM + last_line)
    return subprocess.run([sys.executable, file], capture_output=True, text=True, check=False).stderr


def test_culprit_is_the_last_frame_of_the_application(tmp_path: Path) -> None:
    """Frames of the standard library below it do not count."""
    frame = culprit(stack_of(tmp_path, "parse('{')"))
    assert frame is not None
    assert (frame.path, frame.line, frame.function) == (str(tmp_path / "app.py"), 4, "parse")


def test_culprit_of_a_chain_is_in_the_error_itself(tmp_path: Path) -> None:
    """The error's own trace counts, not that of its cause, which Python prints first."""
    stack = stack_of(tmp_path, "load('{')")
    assert stack.count("Traceback") == 2
    assert [frame.function for frame in frames(stack)] == ["<module>", "load"]


# As Python 3.11 and later print it.
GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "/srv/app.py", line 19, in <module>
  |     gather()
  |   File "/srv/app.py", line 18, in gather
  |     raise ExceptionGroup('both', found)
  | ExceptionGroup: both (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/srv/app.py", line 15, in attempt
    |     parse(text)
    | ValueError: one
    +---------------- 2 ----------------
    | Traceback (most recent call last):
    |   File "/srv/app.py", line 15, in attempt
    |     parse(text)
    | ValueError: two
    +------------------------------------
"""


def test_culprit_of_a_group_is_where_it_was_raised() -> None:
    """The place of an exception group is where the group was raised."""
    frame = culprit(GROUP)
    assert frame is not None
    assert (frame.line, frame.function) == (18, "gather")


def test_culprit_among_libraries_is_the_last_frame() -> None:
    """A library's frame is used if no other is in the trace."""
    frame = culprit(
        'Traceback (most recent call last):\n  File "/x/lib/python3.12/json/decoder.py", line 3, in decode\n'
    )
    assert frame is not None
    assert frame.function == "decode"
    assert culprit("ValueError: no trace") is None


def test_fingerprint_survives_edits_and_moves_only(tmp_path: Path) -> None:
    """Line, message, checkout and module prefix do not matter; class and function do."""
    one = culprit(stack_of(tmp_path / "a", "parse('{')", "shop/app.py"))
    moved = culprit(stack_of(tmp_path / "b", "\n\nparse('[')", "shop/app.py"))
    other = culprit(stack_of(tmp_path, "load('{')", "shop/app.py"))
    assert one is not None
    assert one != moved
    assert fingerprint("ValueError", one) == fingerprint("x.ValueError", moved)
    assert fingerprint("ValueError", one) != fingerprint("ValueError", other)
    assert fingerprint("ValueError", one) != fingerprint("KeyError", one)


def test_fingerprint_ignores_digits_of_generated_names() -> None:
    """Numbers in the names of notebook cells and generated functions do not split a group."""
    stacks = [
        f'Traceback (most recent call last):\n  File "/tmp/ipykernel_{n}/{n}99.py", line {n}, in step_{n}\nE: {n}\n'
        for n in (1, 22)
    ]
    assert len({fingerprint("E", culprit(stack)) for stack in stacks}) == 1


def test_culprit_of_a_hostile_trace_takes_linear_time() -> None:
    """Megabytes that almost look like frames are read once."""
    stack = "Traceback (most recent call last):\n" + '  File "' * 200_000 + "\n" + " |" * 500_000
    assert culprit(stack) is None
