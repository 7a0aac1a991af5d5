"""What a run did without, in words, with commands that bring it."""

import os
import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from lsm.run import pipeline
from lsm.run.settings import counted

OPTIONAL = {  # what the map does without: what that is, and what of it stands in the report
    pipeline.COMPARE: "other methods", pipeline.EXPLAIN: "leading factors",
    pipeline.GIS: "applicability and uncertainty", pipeline.CHECK: "checks of the inputs"}
RUN = "; run "  # begins the remedy of a message that names a script


class LeftOut:
    """What a run did without. `lines` names it with its reasons, and the commands that add what nobody has asked for so
    far. What a stage writes that has no part in the region is not named."""

    def __init__(self, region: str):
        self.region, self.reasons, self.optional = region, {}, {}

    def note(self, what: str, path: Path, script: str, reason: str, asked: bool = True) -> None:
        """`what` was left out for a reason; of a figure it is "figure <name>". It needs the file `path`, which `script`
        makes; asked: whether the last run of `script` was to make this part of it.

        A reason that says to run `script` is given the command that does so for this region and its map.
        """
        if script in OPTIONAL and not (asked and path.is_file()):
            self.optional.setdefault(script, []).append(what)
        elif path.is_file() or script not in pipeline.BY_SCRIPT or (
                pipeline.BY_SCRIPT[script] in pipeline.of_region(self.region, raw=False)):
            self.reasons.setdefault(self.with_command(reason, script), []).append(what)

    def with_command(self, reason: str, script: str) -> str:
        """The reason, the remedy in it as a command: a script alone would run on another region, or with constants
        that make another map."""
        found, run, remedy = reason.partition(f"{RUN}{script}")
        return f"{found}; {self.command(script)} makes it{' again' * ('again' in remedy)}" if run and script else reason

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
        return shlex.join([os.environ.get("PY", "python"), script,
                           *pipeline.arguments_of(script, self.region, self._made_so)])

    def lines(self) -> list[str]:
        """A line for each reason, then one for each command, and for the command that takes over what these add."""
        out = [f"{', '.join(names)}: {reason}" for reason, names in self.reasons.items()]
        for script, what in OPTIONAL.items():
            if names := self.optional.get(script):
                n = sum(name.startswith("figure ") for name in names)
                figures = f", {'up to ' * (n > 1)}{counted(n, 'figure')}" * bool(n)
                out.append(f"{self.command(script)} adds {what}{figures}")
        if self.optional or any(" makes it" in reason for reason in self.reasons):
            out.append(f"{pipeline.make_command('report', self.region, self._made_so)} then writes the report with "
                       "them")
        return out

    @cached_property
    def _made_so(self) -> list[str]:
        return pipeline.made_so(self.region)  # other constants would make another map first

    @cached_property
    def _states(self) -> dict[str, str]:
        return pipeline.states_of(self.region, self._made_so)
