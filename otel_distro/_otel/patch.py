"""One dependency on what OpenTelemetry may change in any release, and the probe that checks it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_distro._otel.needs import Need, Samples, find
from otel_distro._runtime.diagnostics import say, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

samples = Samples()
"""Shared by all probes; :func:`probe` drops what it holds."""

_problems: dict[str, str] = {}
"""Name of a patch -> what is missing, empty for one that is on."""


@dataclass(frozen=True)
class Patch:
    """One dependency on what OpenTelemetry may change in any release.

    Attributes:
        name: Appears in messages and in docs/patches.md.
        where: Module of the package that holds the code.
        reason: Why it is worth it.
        needs: What the probe checks.
        without: What the process does where the probe fails, as a sentence.
        public: The public way, if there is one, and why it does not do.
        since: First release of the SDK that has what it needs; on older ones it is off silently.
        lazy: Whether it is probed at first use, not at the start.
        part_of: A patch without which this one is off silently.
        verify: ``module:function`` that checks behaviour after ``needs`` and raises if it differs.
    """

    name: str
    where: str
    reason: str
    needs: tuple[Need, ...]
    without: str
    public: str
    since: tuple[int, int] = (0, 0)
    lazy: bool = False
    part_of: Patch | None = None
    verify: str = ""

    @property
    def on(self) -> bool:
        """Whether the probe passes. The first call runs it and prints one line if it fails."""
        problem = _problems.get(self.name)
        if problem is None:
            if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
                # No telemetry: the SDK gives only objects without fields, which prove nothing.
                return False
            if self.part_of is not None and not self.part_of.on:
                problem = f"needs {self.part_of.name}"
            elif sdk_release() < self.since:
                problem = f"needs OpenTelemetry {self.since[0]}.{self.since[1]}"
            else:
                problem = self.problem(samples)
                if problem:
                    self._report(problem)
            _problems[self.name] = problem
        return not problem

    def problem(self, found: Samples) -> str:
        """Return what is missing, empty where nothing is."""
        for need in self.needs:
            if missing := need.missing(found):
                return f"has no {missing}"
        if self.verify:
            try:
                find(self.verify)(found)
            except Exception as error:
                return f"behaves differently ({type(error).__name__}: {text_of(error)[:200]})"
        return ""

    def install(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call ``function`` if the patch is on; one that raises switches it off, with one line."""
        if not self.on:
            return
        try:
            function(*arguments)
        except Exception as error:
            _problems[self.name] = f"cannot be patched ({type(error).__name__}: {text_of(error)[:200]})"
            self._report(_problems[self.name])

    def _report(self, problem: str) -> None:
        say(
            f"{self.name} is off: OpenTelemetry {_sdk_version()} {problem}. {self.without}",
            cause=f"patch {self.name}",
            code="OD151",
        )


def probe(patches: Iterable[Patch]) -> None:
    """Run the probes that have not run yet, except lazy ones, and drop the sample objects."""
    for patch in patches:
        if not patch.lazy:
            assert patch.on in (True, False)
    samples.__dict__.clear()


def sdk_release() -> tuple[int, int]:
    """Return major and minor version of the SDK."""
    major, minor, *_ = (*_sdk_version().split("."), "0")
    return int(major), int("".join(filter(str.isdigit, minor)) or 0)


def _sdk_version() -> str:
    from opentelemetry.sdk.version import __version__

    return str(__version__)
