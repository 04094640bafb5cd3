"""Which frame is to blame and which errors are the same, on stack traces that Python printed."""

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


def test_the_last_frame_of_the_application_is_to_blame(tmp_path: Path) -> None:
    """Frames of the standard library below it are not."""
    frame = culprit(stack_of(tmp_path, "parse('{')"))
    assert frame is not None
    assert (frame.path, frame.line, frame.function) == (str(tmp_path / "app.py"), 4, "parse")


def test_a_cause_does_not_take_the_blame(tmp_path: Path) -> None:
    """Of a chain the trace of the error itself counts, not that of its cause, which Python prints first."""
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


def test_members_of_a_group_do_not_take_the_blame() -> None:
    """The place of an exception group is where the group was raised."""
    frame = culprit(GROUP)
    assert frame is not None
    assert (frame.line, frame.function) == (18, "gather")


def test_only_libraries_in_the_trace_give_their_last_frame() -> None:
    """Better a library's frame than none."""
    frame = culprit(
        'Traceback (most recent call last):\n  File "/x/lib/python3.12/json/decoder.py", line 3, in decode\n'
    )
    assert frame is not None
    assert frame.function == "decode"
    assert culprit("ValueError: no trace") is None


def test_a_group_survives_edits_and_moves_but_not_another_place(tmp_path: Path) -> None:
    """Line, message, checkout and module prefix do not matter; class and function do."""
    one = culprit(stack_of(tmp_path / "a", "parse('{')", "shop/app.py"))
    moved = culprit(stack_of(tmp_path / "b", "\n\nparse('[')", "shop/app.py"))
    other = culprit(stack_of(tmp_path, "load('{')", "shop/app.py"))
    assert one is not None
    assert one != moved
    assert fingerprint("ValueError", one) == fingerprint("x.ValueError", moved)
    assert fingerprint("ValueError", one) != fingerprint("ValueError", other)
    assert fingerprint("ValueError", one) != fingerprint("KeyError", one)


def test_generated_names_are_one_group() -> None:
    """Numbers in the names of notebook cells and generated functions do not split a group."""
    stacks = [
        f'Traceback (most recent call last):\n  File "/tmp/ipykernel_{n}/{n}99.py", line {n}, in step_{n}\nE: {n}\n'
        for n in (1, 22)
    ]
    assert len({fingerprint("E", culprit(stack)) for stack in stacks}) == 1


def test_a_hostile_trace_costs_linear_time() -> None:
    """Megabytes that look almost like frames are gone through once."""
    stack = "Traceback (most recent call last):\n" + '  File "' * 200_000 + "\n" + " |" * 500_000
    assert culprit(stack) is None
