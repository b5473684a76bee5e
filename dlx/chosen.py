"""A study as it was asked for on the command line: its name, preset, other values and home."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlx.errors import DeclarationError

if TYPE_CHECKING:
    from dlx.declaration import Declaration
    from dlx.results import Results
    from dlx.study import Study


@dataclass(frozen=True)
class Chosen:
    """A study as it was asked for on the command line."""

    name: str
    preset: str | None = None
    sets: tuple[str, ...] = ()
    home: str | None = None

    def study(self) -> "Study":
        """The study with its preset, then the other values."""
        from dlx.loading import load
        from dlx.overrides import parse

        study = load(self.name)
        if self.preset is not None:
            study = study.preset(self.preset)
        return study.with_(dict(parse(text) for text in self.sets)) if self.sets else study

    def results(self) -> "Results":
        """What is stored of it; of a study whose file is not here, by what the home says that it declared."""
        from dlx.results import Results

        try:
            return self.study().results(self.home)
        except DeclarationError:
            declared = self._declared()
            if declared is None:
                raise
            return Results.of(declared, self.home)

    def study_name(self) -> str:
        """What the study is called; of one whose file is not here, as the home knows it."""
        try:
            return self.study().name
        except DeclarationError:
            if not self._is_in_home():
                raise
            return self.name

    def _declared(self) -> "Declaration | None":
        from dlx.declaration import Declaration
        from dlx.store import Store
        from dlx.study import FULL

        if self.sets or not self._is_in_home():
            return None
        return Declaration.stored(Store(self.name, self.home), self.preset or FULL)

    def _is_in_home(self) -> bool:
        from dlx.home import studies

        return self.name in studies(self.home)

    def command(self, verb: str, options: Mapping[str, Any] | None = None) -> str:
        """The command line that does something else with the same."""
        given: dict[str, Any] = {"preset": self.preset, "home": self.home, **(options or {})}
        words = ["dlx", verb, self.name]
        for option, value in given.items():
            flag = f"--{option.replace('_', '-')}"
            words += [flag] if value is True else [] if value in (None, False) else [flag, str(value)]
        for text in self.sets:
            words += ["--set", text]
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in shlex.join(words))
