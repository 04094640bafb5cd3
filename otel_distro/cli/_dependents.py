"""Which installed packages only otel-distro needs, from the metadata of the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from typing import TYPE_CHECKING, Final

from packaging.requirements import InvalidRequirement, Requirement

from otel_distro.cli.bootstrap import normalized

if TYPE_CHECKING:
    from collections.abc import Mapping

_SELF: Final = "otel-distro"
_INSTRUMENTATION: Final = "opentelemetry-instrumentation-"
_OTEL_LIBRARIES: Final = ("opentelemetry-instrumentation", "opentelemetry-util-")
"""``bootstrap`` installs packages of these names, so pip's marker REQUESTED says nothing here."""


@dataclass
class Plan:
    """Plan of the removal: one entry for each dependency of otel-distro and the instrumentations.

    ``removable`` and ``instrumentations`` map a name to its version. ``requested`` are packages
    that were installed by name. ``required`` maps a name to a package outside of the plan that
    needs it.
    """

    removable: dict[str, str] = field(default_factory=dict)
    instrumentations: dict[str, str] = field(default_factory=dict)
    requested: set[str] = field(default_factory=set)
    required: dict[str, str] = field(default_factory=dict)


def plan() -> Plan:
    """Return the plan for this environment."""
    found = {normalized(dist.name): dist for dist in distributions() if dist.name}
    hard = {name: _requirements(dist, found, extras=name == _SELF) for name, dist in found.items()}
    needs = {name: _requirements(dist, found, extras=True) for name, dist in found.items()}
    roots = {name for name in found if name == _SELF or name.startswith(_INSTRUMENTATION)}
    candidates = _reachable(roots, hard)
    requested = {name for name in candidates - {_SELF} if _was_requested(name, found[name])}
    candidates -= requested
    required: dict[str, str] = {}
    while True:
        kept = _needed_from_outside(candidates - {_SELF}, needs)
        if not kept:
            break
        required |= kept
        candidates -= set(kept)
    versions = {name: found[name].version for name in candidates}
    own = _reachable({_SELF} & set(found), hard)
    return Plan(
        {name: version for name, version in versions.items() if name in own or not name.startswith(_INSTRUMENTATION)},
        {name: version for name, version in versions.items() if name not in own and name.startswith(_INSTRUMENTATION)},
        requested,
        required,
    )


def _requirements(dist: Distribution, installed: Mapping[str, Distribution], *, extras: bool) -> set[str]:
    """Return the installed packages that ``dist`` needs, with ``extras`` also those of its extras.

    Metadata does not record which extras were asked for: one counts when all its packages are
    installed.
    """
    requirements = []
    for text in dist.requires or ():
        try:
            requirements.append(Requirement(text))
        except InvalidRequirement:
            continue
    needs: set[str] = set()
    for extra in ("", *((dist.metadata.get_all("Provides-Extra") or ()) if extras else ())):
        names = {
            normalized(wanted.name)
            for wanted in requirements
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra})
        }
        if not extra or names <= set(installed):
            needs |= names & set(installed)
    return needs


def _reachable(roots: set[str], needs: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += needs[name]
    return seen


def _was_requested(name: str, dist: Distribution) -> bool:
    # https://peps.python.org/pep-0376/#requested: pip marks what was asked for, uv marks everything.
    by_pip = (dist.read_text("INSTALLER") or "").strip() == "pip"
    return by_pip and not name.startswith(_OTEL_LIBRARIES) and dist.read_text("REQUESTED") is not None


def _needed_from_outside(candidates: set[str], needs: Mapping[str, set[str]]) -> dict[str, str]:
    outside = sorted(set(needs) - candidates - {_SELF})
    return {name: user for user in outside for name in needs[user] & candidates}
