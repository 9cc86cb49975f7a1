"""The command `flatirons`: see `parser`. A mistake is printed as a sentence, and the exit code is 2."""

from __future__ import annotations

import argparse
import grp
import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from flatirons.connect import command as connect_command
from flatirons.environments.arguments import add_commands
from flatirons.errors import FlatironsError, SiteError
from flatirons.notebook.arguments import INTERRUPTED, add_arguments
from flatirons.site.path import add_site_option

HUB = """\
Run the hub until it gets SIGTERM or SIGINT. Notebooks and the proxy keep running.
Arguments after -- are JupyterHub's own: flatirons hub -- --debug, flatirons hub -- token NAME."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that `argv` names and returns its exit code."""
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except SiteError as error:
        _print_problems(error.problems, error.user)
        return 2
    except FlatironsError as error:
        print(f"flatirons: {error.user}", file=sys.stderr)
        return 2
    return code


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="flatirons", description="JupyterHub for Slurm clusters.")
    top.add_argument("--version", action="version", version=f"flatirons {version()}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_hub_commands(commands)
    text = "start a notebook server from a log-in node, without the hub"
    notebook = commands.add_parser("notebook", help=text, allow_abbrev=False)
    add_arguments(notebook)
    notebook.set_defaults(run=_notebook)
    text = "open a port of your own machine that leads to a running server of a hub"
    connect = commands.add_parser("connect", help=text, allow_abbrev=False)
    connect_command.add_arguments(connect)
    connect.set_defaults(run=connect_command.run)
    images = commands.add_parser("images", help="show and check the environments that users can choose")
    add_commands(images.add_subparsers(required=True, metavar="COMMAND"))
    images.set_defaults(run=_images)
    commands.add_parser("schema", help="print the JSON Schema of site.toml").set_defaults(run=_schema)
    return top


def version() -> str:
    """The installed version of Flatirons."""
    try:
        return importlib.metadata.version("flatirons")
    except importlib.metadata.PackageNotFoundError:
        return "(a checkout that isn't installed)"


def _add_hub_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_command(commands, "check", "name every mistake in the site file", _check)
    text = "run the hub; arguments after -- are JupyterHub's own"
    hub = _add_command(commands, "hub", text, _hub)
    hub.usage = "flatirons hub [-h] [--site FILE] [-- ARG ...]"
    hub.description, hub.formatter_class = HUB, argparse.RawDescriptionHelpFormatter
    hub.add_argument("jupyterhub", nargs="*", metavar="ARG", help="an argument for JupyterHub")
    _add_command(commands, "proxy", "run the proxy in front of the hub", _proxy)
    render = _add_command(commands, "render", "print sudo rules or a systemd unit for the site", _render)
    render.add_argument("what", choices=["sudoers", "hub.service", "proxy.service"])


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text)
    add_site_option(command)
    command.set_defaults(run=run)
    return command


def _print_problems(problems: Iterable[tuple[str, str]], whole: str = "", kind: str = "") -> None:
    """Prints one line for each problem; `whole` is the sentence for a problem of the whole file."""
    for key, sentence in problems:
        print(
            f"flatirons: {kind}{key}: {sentence}" if key else f"flatirons: {whole or sentence}",
            file=sys.stderr,
        )


def _check(arguments: argparse.Namespace) -> int:
    from flatirons.hub.site_check import check

    found = check(arguments.site)
    _print_problems(found.mistakes)
    _print_problems(found.warnings, kind="warning: ")
    if found.mistakes or found.site is None:
        return 2
    clusters, environments = len(found.site.clusters), len(found.site.environments)
    print(
        f"{arguments.site}: no mistakes found: {clusters} cluster{'s' * (clusters != 1)}, "
        f"{environments} environment{'s' * (environments != 1)}"
    )
    return 0


def _hub(arguments: argparse.Namespace) -> int:
    from flatirons.hub.launch import run_hub
    from flatirons.site.load import load

    run_hub(load(arguments.site), arguments.site, arguments.jupyterhub)
    return 0


def _proxy(arguments: argparse.Namespace) -> int:
    from flatirons.hub.launch import run_proxy
    from flatirons.site.load import load

    run_proxy(load(arguments.site), arguments.site)
    return 0


def _notebook(arguments: argparse.Namespace) -> int:
    try:
        from flatirons.notebook.command import run

        return run(arguments)
    except KeyboardInterrupt:  # before there is a job; from then on `run` handles it
        return INTERRUPTED


def _images(arguments: argparse.Namespace) -> int:
    from flatirons.environments.command import run

    try:
        return run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _render(arguments: argparse.Namespace) -> int:
    from flatirons.hub.render import render
    from flatirons.site.load import load

    text = render(
        arguments.what,
        load(arguments.site),
        site_file=str(Path(arguments.site).absolute()),
        flatirons=str(Path(sys.executable).with_name("flatirons")),
        has_shadow_group=_has_group("shadow"),
    )
    sys.stdout.write(text)
    return 0


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _schema(arguments: argparse.Namespace) -> int:
    from flatirons.site.schema import Site

    print(json.dumps(Site.model_json_schema(by_alias=True), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
