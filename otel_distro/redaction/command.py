"""Secrets in the arguments of commands.

They are found after long options, in variables before a command, and after the short options of
some programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_distro.redaction import table
from otel_distro.redaction.literals import any_of, lazy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_distro.redaction.keys import Keys

Place = tuple[int, int]

_PROGRAM: Final = lazy(f"(?:{any_of(table.PASSWORD_FLAGS)})[a-z0-9-]*(?=\\s|[\"'], )")
_ARGUMENT: Final = lazy(r"[^\s\"']+|\"[^\"\n]*\"?|'[^'\n]*'?")
_QUOTED: Final = lazy(r"(?:\"[^\"\n]*\"|'[^'\n]*')(?=, |\])")
_FLAG: Final = lazy(r"--?(?P<name>[A-Za-z][\w.-]{0,63})[ \t]{1,4}(?=[^\s-])")
_SOURCE: Final = lazy(r"pass:(?=.)")
_HIDING: Final = ("password", "header", "secret")


def in_arguments(arguments: Sequence[str], keys: Keys) -> Iterator[tuple[int, Place]]:
    """Yield the index of each argument that holds a secret, and the secret's position in it.

    Covers ``--password x``, ``--password=x``, ``PASSWORD=x``, ``-pSECRET`` and ``-p SECRET`` of the
    programs in the table, ``curl -u user:password`` and ``openssl -passin pass:x``. Secrets that
    are recognised by their text alone are left to :mod:`otel_distro.redaction.text`.
    """
    program, secret_next = "", False
    for index, argument in enumerate(arguments):
        follows, secret_next = secret_next, False
        if follows and not argument.startswith("-"):
            if argument and _may_be_secret(program, argument):
                yield index, (0, len(argument))
            continue
        name, equals, value = argument.partition("=")
        if equals and value and keys.classify(name) in _HIDING:
            yield index, (len(name) + 1, len(argument))
        elif argument.startswith("-"):
            if argument[1:2] and argument[1:2] in table.PASSWORD_FLAGS.get(program, ""):
                if len(argument) == 2:
                    secret_next = not program.startswith(table.ATTACHED_ONLY)
                elif _may_be_secret(program, argument):
                    yield index, (2, len(argument))
            else:
                secret_next = not equals and keys.classify(argument) in _HIDING
                program = "" if secret_next else program
        elif found := _SOURCE.match(argument):
            yield index, (found.end(), len(argument))
        else:
            base = argument.rpartition("/")[2]
            program = base if base in table.PASSWORD_FLAGS else program


def in_text(text: str, keys: Keys) -> Iterator[Place]:
    """Yield the positions of secret arguments in a command line, or in a text that contains one."""
    yield from _after_flags(text, keys)
    yield from _after_programs(text, keys)


def _after_flags(text: str, keys: Keys) -> Iterator[Place]:
    at = 0
    while flag := _FLAG.search(text, at):
        at = flag.end()
        if text[max(flag.start() - 1, 0) : flag.start()].isalnum() or keys.classify(flag["name"]) not in _HIDING:
            continue
        found = _ARGUMENT.match(text, at)
        if found and not text.startswith(table.MASK, at):
            start, end = unquoted(text, *found.span())
            if start < end:
                yield start, end
            at = found.end()


def _after_programs(text: str, keys: Keys) -> Iterator[Place]:
    at = 0
    while program := _PROGRAM.search(text, at):
        at = program.end()
        if program.group() not in table.PASSWORD_FLAGS or text[max(program.start() - 1, 0) : program.start()].isalnum():
            continue
        line = text.find("\n", at)
        end = len(text) if line < 0 else line
        shape = _ARGUMENT
        if text[at] in "\"'":
            # A list of arguments, as the message of a subprocess error shows it.
            shape, close = _QUOTED, text.find("]", at, end)
            at, end = at + 1, close + 1 if close >= 0 else end
        places = [found.span() for found in shape.finditer(text, at, end)]
        inner = [unquoted(text, *place) for place in places]
        arguments = [program.group(), *(text[slice(*place)] for place in inner)]
        for index, (start, stop) in in_arguments(arguments, keys):
            begin = inner[index - 1][0]
            if arguments[index][start:stop] != table.MASK:
                yield begin + start, begin + stop
        at = end


def _may_be_secret(program: str, argument: str) -> bool:
    return program not in table.USER_AND_PASSWORD or ":" in argument or "%" in argument


def unquoted(text: str, start: int, end: int) -> Place:
    """Return the position without the quotes around it."""
    if text[start] not in "\"'":
        return start, end
    closed = end - start > 1 and text[end - 1] == text[start]
    return start + 1, end - 1 if closed else end
