"""What a run did without, in words, with commands that bring it."""

import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from lsm.run import pipeline
from lsm.run.artifacts import made_with
from lsm.run.paths import Paths, python
from lsm.run.settings import constants_class, counted, defaults

OPTIONAL = {  # what the map does without: what that is, and what of it stands in the report
    pipeline.COMPARE: "other methods", pipeline.EXPLAIN: "leading factors",
    pipeline.GIS: "applicability and uncertainty", pipeline.CHECK: "checks of the inputs"}
OTHERS = "methods and protocols that the last comparison left out"  # what COMPARE adds where there was a comparison
WRITES = {"report": "the report", "gis": "rasters and layers"}  # what a target of make writes
FOLLOWS = "LSM_REPORT_FOLLOWS"  # in the environment of figure.py: a report follows, which names all these commands
OTHER_RUN, AGAIN = "was made from another ", " makes it again"  # of a reason: a file is of an earlier run; its remedy
MANY = 3         # figures that are named; more are counted
RUN = "; run "  # begins the remedy of a message that names a script


def chosen_of(region: str, arguments: Sequence[str]) -> list[str]:
    """NAME=value of what somebody chose for the last comparison, in place of all methods, protocols and repeats."""
    given, known = {a.partition("=")[0] for a in arguments}, defaults(constants_class(pipeline.COMPARE))
    return [f"{name}={value}" for name, value in made_with(Paths(region).method_metrics).items()
            if name in ("PROTOCOLS", "METHODS", "SEEDS", "REPEATS") and name not in given and value != known[name]]


def _joined(reasons: dict[str, list[str]]) -> list[str]:
    """A line for each reason with what was left out for it; one for all that the same command makes again since it is
    of an earlier run, with figures counted where they are many."""
    lines, earlier = [], {}
    for reason, names in reasons.items():
        if OTHER_RUN in reason and reason.endswith(AGAIN):
            earlier.setdefault(reason.rpartition("; ")[2], []).append((names, reason))
        else:
            lines.append(f"{', '.join(dict.fromkeys(names))}: {reason}")
    for remedy, found in earlier.items():
        if len(found) == 1:
            (names, reason), = found
            lines.append(f"{', '.join(names)}: {reason}")
            continue
        names = list(dict.fromkeys(name for names, _ in found for name in names))
        figures = [name for name in names if name.startswith("figure ")]
        words = [name for name in names if name not in figures] + (
            figures if len(figures) <= MANY else [counted(len(figures), "figure")])
        lines.append(f"{', '.join(words)}: of an earlier run than the map; {remedy.removesuffix(AGAIN)} makes them "
                     "again")
    return lines


class LeftOut:
    """What a run did without. `lines` names it with its reasons, and the commands that add what nobody has asked for so
    far. What a stage writes that has no part in the region is not named."""

    def __init__(self, region: str, takes: str = "report"):
        """takes: the target of make that takes over what the commands add."""
        self.region, self.takes, self.reasons, self.optional = region, takes, {}, {}

    def note(self, what: str, path: Path, script: str, reason: str, asked: bool = True) -> None:
        """`what` was left out for a reason; of a figure it is "figure <name>". It needs the file `path`, which `script`
        makes; asked: whether the last run of `script` was to make this part of it. Where a comparison of all methods
        and protocols lacks a part, the area cannot have it, and nothing is said.

        A reason that says to run `script` is given the command that does so for this region and its map.
        """
        if not asked and self._compared_all:
            return
        always = pipeline.BY_SCRIPT[script].outputs(Paths(self.region)) if script in pipeline.BY_SCRIPT else []
        # one of several files that the last run wrote, and not what nobody has asked for so far
        lost = path in always and not path.is_file() and any(other.is_file() for other in always)
        if script in OPTIONAL and not (asked and path.is_file()) and not lost:
            self.optional.setdefault(script, []).append(what)
        elif lost or path.is_file() or script not in pipeline.BY_SCRIPT or (
                pipeline.BY_SCRIPT[script] in pipeline.of_region(self.region, raw=False)):
            self.reasons.setdefault(self.with_command(reason, script), []).append(what)

    def with_command(self, reason: str, script: str) -> str:
        """The reason, the remedy in it as a command: a script alone would run on another region, or with constants
        that make another map."""
        found, run, remedy = reason.partition(f"{RUN}{script}")
        if not run or not script:
            return reason
        again = "again" in remedy
        chosen = chosen_of(self.region, self._made_so) if script == pipeline.COMPARE else []
        return f"{found}; {' '.join([self.command(script), *chosen])} makes it{' again' * again}"

    def command(self, script: str, more: Sequence[str] = ()) -> str:
        """The command that runs a script, with the constants of the map. It is make's where a stage is not up to date,
        since others may have to run first; make does nothing where it is. more: NAME=value for figure.py."""
        if script in pipeline.MAKERS:
            return pipeline.command_of(script, self.region, self._made_so)
        if script == pipeline.DRAW:
            return pipeline.make_command("figures", self.region, [*self._made_so, *more])
        target = next((target for target, of in pipeline.TARGETS.items() if of == script), "map")
        if script in pipeline.BY_SCRIPT and self._states.get(script) != "fresh":
            return pipeline.make_command(target, self.region, self._made_so)
        return shlex.join([python(), script, *pipeline.arguments_of(script, self.region, self._made_so)])

    def lines(self, commands_too: bool = True) -> list[str]:
        """A line for each reason; then one for each command that no reason names, and for the command that takes over
        what these add."""
        out, commands = _joined(self.reasons), []
        if not commands_too:
            return out
        for script, what in OPTIONAL.items():
            names = self.optional.get(script)
            if names and not any(f"; {self.command(script)} makes it" in line for line in out):
                what = OTHERS if script == pipeline.COMPARE and self._compared else what
                figures = ", with their figures" * any(name.startswith("figure ") for name in names)
                commands.append(f"{self.command(script)} adds {what}{figures}")
        if commands or any(" makes it" in reason for reason in self.reasons):
            commands.append(f"{pipeline.make_command(self.takes, self.region, self._made_so)} then writes "
                            f"{WRITES[self.takes]} with them")
        return out + commands

    @cached_property
    def _compared(self) -> dict:
        """The constants of the last comparison; {} without one."""
        path = Paths(self.region).method_metrics
        return made_with(path) if path.is_file() else {}

    @property
    def _compared_all(self) -> bool:
        """Whether the last comparison was of all methods and protocols."""
        every = defaults(constants_class(pipeline.COMPARE))
        return all(self._compared.get(name) == every[name] for name in ("PROTOCOLS", "METHODS"))

    @cached_property
    def _made_so(self) -> list[str]:
        return pipeline.made_so(self.region)  # other constants would make another map first

    @cached_property
    def _states(self) -> dict[str, str]:
        return pipeline.states_of(self.region, self._made_so)
