"""Only the modules `compat` use names of JupyterHub that it doesn't document: read from the source itself."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

from tests.repository import REPO

SOURCE = REPO / "src"
COMPAT = sorted((SOURCE / "flatirons/spawners/jupyterhub").glob("compat*.py"))
FILES = sorted(
    file
    for folder in ("flatirons/spawners", "flatirons/hub", "optionsspawner")
    for file in (SOURCE / folder).rglob("*.py")
    if file not in COMPAT and file.name != "jupyterhub_config.py"
)
DOCUMENTED = {
    "jupyterhub.apihandlers.base.APIHandler",
    "jupyterhub.app.JupyterHub",
    "jupyterhub.handlers.base.BaseHandler",
    "jupyterhub.proxy.ConfigurableHTTPProxy",
    "jupyterhub.scopes.needs_scope",
    "jupyterhub.spawner.LocalProcessSpawner",
    "jupyterhub.spawner.SpawnException",
    "jupyterhub.spawner.Spawner",
    "jupyterhub.traitlets.ByteSpecification",
    "jupyterhub.traitlets.Callable",
    "jupyterhub.traitlets.EntryPointType",
    "jupyterhub.utils.url_path_join",
}
UNDOCUMENTED = {
    *("db", "orm_spawner", "orm_spawners", "orm_user", "orm_server", "users", "proto"),
    *(
        "get_or_create_spawner",
        "find_user",
        "new_api_token",
        "api_tokens",
        "add_client",
        "wait_up",
        "add_user",
        "delete_user",
    ),
    *(
        "internal_proxy_certs",
        "internal_trust_bundles",
        "init_internal_ssl",
        "init_handlers",
        "trusted_downstream_ips",
    ),
}
"""Names without an underscore that `compat` wraps. `settings` is one of them only on a user."""


def in_file(test: object) -> object:
    return pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))(test)


@cache
def nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text())))


def attributes(file: Path) -> Iterator[ast.Attribute]:
    return (node for node in nodes(file) if isinstance(node, ast.Attribute))


def own_private_names(file: Path) -> set[str]:
    """What the file itself defines: methods, fields of classes, attributes that it sets on `self`."""
    found: set[str] = set()
    for node in nodes(file):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.add(name)
    return found


@in_file
def test_a_private_name_of_another_object_is_one_that_the_same_file_defines(file: Path) -> None:
    own = own_private_names(file)
    foreign = {
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in attributes(file)
        if node.attr.startswith("_") and not node.attr.startswith("__")
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
        if node.attr not in own
    }
    assert not foreign


@in_file
def test_no_undocumented_name_of_jupyterhub_is_used(file: Path) -> None:
    used = {
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in attributes(file)
        if node.attr in UNDOCUMENTED or ast.unparse(node).endswith(("user.settings", "users.settings"))
    }
    assert not used


@in_file
def test_only_documented_names_are_imported_from_jupyterhub(file: Path) -> None:
    imported = {
        f"{node.module}.{alias.name}"
        for node in nodes(file)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "jupyterhub"
        for alias in node.names
    }
    assert imported <= DOCUMENTED


@in_file
def test_a_class_derived_from_jupyterhubs_uses_and_replaces_no_private_name_of_its_bases(file: Path) -> None:
    """`self._name` may be ours or JupyterHub's: of such a class it must be ours."""
    module = import_module(".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"))
    for kind in vars(module).values():
        if not inspect.isclass(kind) or kind.__module__ != module.__name__:
            continue
        if theirs := {name for base in kind.__mro__ if is_jupyterhubs(base) for name in private_names(base)}:
            assert not private_names(kind) & theirs, kind.__name__


def is_jupyterhubs(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "jupyterhub"


@cache
def private_names(kind: type) -> set[str]:
    """What the source of a class calls its own: methods, class attributes, attributes of `self`."""
    found = set()
    for node in ast.walk(ast.parse(dedent(inspect.getsource(kind)))):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(value=ast.Name(id="self"), attr=name):
                found.add(name)
    return {name for name in found if name.startswith("_") and not name.startswith("__")}
