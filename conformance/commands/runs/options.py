"""Arguments and options that several commands have, each with its spelling and its help in one place."""

from pathlib import Path
from typing import Annotated

import typer

NAMED = "Registered names, package.module:Class, path/to/file.py:Class or 'command:PROGRAM ARGUMENTS'."
"""How adapters are named."""

Adapters = Annotated[list[str] | None, typer.Argument(help=NAMED, show_default=False)]
OneAdapter = Annotated[str, typer.Argument(help=NAMED.replace("names", "name"), show_default=False)]
CaseId = Annotated[str, typer.Argument(help="A case id, as reports print it.")]
Profile = Annotated[str, typer.Option(help="smoke, quick, standard or thorough.")]
Seed = Annotated[int, typer.Option(help="Seed of structures and draws.")]
Workers = Annotated[str, typer.Option("-n", "--workers", help="Worker processes: a number, or auto for one a core.")]
Dtypes = Annotated[list[str] | None, typer.Option("--dtype", help="Keep to this dtype; repeatable.")]
Activations = Annotated[list[str] | None, typer.Option("--activation", help="Keep to this activation; repeatable.")]
Regimes = Annotated[list[str] | None, typer.Option("--regime", help="Keep to this regime of numbers; repeatable.")]
LevelName = Annotated[str, typer.Option("--level", help="What a tensor must reach: componentwise or normwise.")]
Expectations = Annotated[Path | None, typer.Option(help="Known divergences (TOML), in place of the shipped.")]
Device = Annotated[str | None, typer.Option(help="Device the adapters run on.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds after which an adapter counts as hung.")]
PlantedMutant = Annotated[str | None, typer.Option("--mutant", help="Have the adapters make this known mistake.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Use no compilation cache for JAX.")]
Python = Annotated[str | None, typer.Option(help="Python interpreter that adapters in Python run under.")]
Summary = Annotated[Path | None, typer.Option(help="Write the run here as Markdown, for GitHub and GitLab.")]
JUnit = Annotated[Path | None, typer.Option(help="Write the run here as JUnit XML, a test for each case.")]
GitHub = Annotated[bool, typer.Option("--github", help="Annotate the run and its summary on GitHub Actions.")]
