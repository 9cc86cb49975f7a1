"""The command `flatirons`: see `parser`. A mistake is a sentence and exit code 2."""

from __future__ import annotations

import argparse
import grp
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from flatirons.environments.arguments import add_commands
from flatirons.errors import FlatironsError, SiteError
from flatirons.notebook.arguments import INTERRUPTED, add_arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that `argv` names and gives its exit code."""
    arguments = parser().parse_args(argv)
    try:
        code: int | None = arguments.run(arguments)
    except SiteError as error:
        for key, sentence in error.problems:
            print(f"flatirons: {key}: {sentence}" if key else f"flatirons: {error.user}", file=sys.stderr)
        return 2
    except FlatironsError as error:
        print(f"flatirons: {error.user}", file=sys.stderr)
        return 2
    return code or 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="flatirons", description="JupyterHub for Slurm clusters.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "check", "say what is wrong in a site file", _check)
    hub = _command(commands, "hub", "run the hub; arguments after -- are JupyterHub's own", _hub)
    hub.add_argument("jupyterhub", nargs="*", metavar="ARG", help="for JupyterHub, such as --debug")
    _command(commands, "proxy", "run the proxy that stands before the hub", _proxy)
    render = _command(commands, "render", "print a file that the site needs elsewhere", _render)
    render.add_argument("what", choices=["sudoers", "hub.service", "proxy.service"])
    text = "start a notebook server from a log-in node, without the hub"
    notebook = commands.add_parser("notebook", help=text, allow_abbrev=False)
    add_arguments(notebook)
    notebook.set_defaults(run=_notebook)
    images = commands.add_parser("images", help="show and try what people can choose to work in")
    add_commands(images.add_subparsers(required=True, metavar="COMMAND"))
    images.set_defaults(run=_images)
    commands.add_parser("schema", help="print the JSON Schema of site.toml").set_defaults(run=_schema)
    return top


def _command(commands: object, name: str, text: str, run: object) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text)  # type: ignore[attr-defined]
    command.add_argument("--site", required=True, metavar="FILE", help="the site file, site.toml")
    command.set_defaults(run=run)
    return command


def _check(arguments: argparse.Namespace) -> int:
    from flatirons.hub.configure import extra_code
    from flatirons.hub.machine_check import findings
    from flatirons.site.load import load

    site = load(arguments.site)
    extra_code(site)
    for key, sentence in findings(site):
        print(f"flatirons: warning: {key}: {sentence}", file=sys.stderr)
    counts = f"{len(site.clusters)} cluster(s), {len(site.environments)} environment(s)"
    print(f"{arguments.site}: no mistake found; {counts}")
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
    except KeyboardInterrupt:  # before there was a job: from then on `run` sees to it
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
