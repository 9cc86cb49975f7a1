"""Which room may import which: RULES says it, and CONTRIBUTING.md what belongs in each room."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter

import pytest

from tests.repository import REPO

SOURCE = REPO / "src" / "flatirons"
PURE_SLURM = tuple(
    f"slurm.{name}"
    for name in (
        *(
            "model",
            "cluster_model",
            "spelling",
            "sizes",
            "accounting",
            "argv",
            "parse",
            "hostlist",
            "parse_cluster",
            "explain",
        ),
        *("records", "facts", "bounds", "rights", "alternatives", "identity"),
    )
)
BASE = ("errors", "units", "files", "concurrency")
PURE = (*BASE, *PURE_SLURM, "forms", "environments.catalogue", "job")
# Room or module -> the rooms that it may import besides its own; the longest matching name counts.
RULES: dict[str, tuple[str, ...]] = {
    "": (),
    "cli": (*BASE, "accounts", "site", "hub", "notebook", "environments", "connect"),
    "errors": (),
    "units": ("errors",),
    "files": (),
    "concurrency": (),
    "accounts": ("errors",),
    "runner": ("errors", "accounts"),
    **dict.fromkeys(PURE_SLURM, (*BASE, *PURE_SLURM)),
    "slurm": (*BASE, "slurm", "runner"),
    "forms": BASE,
    "environments.catalogue": BASE,
    "images": ("environments.catalogue",),
    "job": (*BASE, "slurm.model", "environments.catalogue"),
    "slurm_form": (*BASE, "slurm", "forms"),
    "site": (*PURE, "slurm", "slurm_form"),
    "servers": (*PURE, "slurm", "runner"),
    "environments": (*PURE, "runner", "site", "servers"),
    "notebook": (*PURE, "runner", "slurm", "slurm_form", "site", "servers"),
    "lab": (*PURE, "runner", "slurm", "slurm_form", "servers"),
    "connect": ("errors",),  # runs on laptops, also without the rest of Flatirons
    "parallel": (*PURE, "runner", "slurm", "slurm_form", "servers"),
    "spawners": (*PURE, "runner", "slurm", "slurm_form", "servers"),
    "hub": (*PURE, "accounts", "runner", "slurm", "slurm_form", "site", "servers", "spawners", "connect"),
}
# Programs that are sent to machines without our runner.
SENT = ("job.node.child", "environments.survey", "environments.probe")
# External package -> the only rooms that may import it.
OTHERS = {
    "jupyterhub": ("spawners", "hub"),
    "ipyparallel": ("parallel.ipp",),
    "subprocess": SENT,
    "jupyter_server": ("lab",),
}


def lies_in(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def imports(code: ast.Module, *, for_types: bool = False) -> Iterator[str]:
    """Every full name that a file imports, also inside functions; what only type checkers see, on request."""
    for node in ast.walk(code):
        if not for_types and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> list[str]:
    files = (file.relative_to(SOURCE).with_suffix("") for file in SOURCE.rglob("*.py"))
    return sorted(".".join(file.parts).removesuffix("__init__").removesuffix(".") for file in files)


def code_of(module: str) -> ast.Module:
    place = SOURCE.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(file.read_text())


def rule_of(module: str) -> str:
    return max((room for room in RULES if lies_in(module, (room,))), key=len, default="?")


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    rule = rule_of(module)
    assert rule in RULES, f"{module} is in a room that RULES doesn't have"
    for name in imports(code_of(module)):
        package, _, ours = name.partition(".")
        if package == "flatirons":
            is_own = rule != "slurm" and rule not in PURE_SLURM and lies_in(ours, (module.partition(".")[0],))
            if rule == "environments.catalogue":
                is_own = False
            assert is_own or lies_in(ours, RULES[rule]), name
        elif package in OTHERS:
            assert lies_in(module, OTHERS[package]) or (package == "subprocess" and module == "runner"), name


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_about_a_module_that_exists(rule: str) -> None:
    for name in (rule, *RULES[rule]):
        assert any(lies_in(module, (name,)) for module in modules()), name


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even for type checkers: a reader of one would have to read the other first."""
    known = set(modules()) - {""}
    graph: dict[str, set[str]] = {}
    for module in known:
        names = imports(code_of(module), for_types=True)
        ours = [name.removeprefix("flatirons.") for name in names if name.startswith("flatirons.")]
        graph[module] = {name if name in known else name.rpartition(".")[0] for name in ours} - {"", module}
    TopologicalSorter(graph).prepare()


def test_no_name_of_a_class_means_two_things() -> None:
    named = Counter(
        node.name
        for module in modules()
        for node in ast.walk(code_of(module))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, times in named.items() if times > 1] == []


def test_the_names_for_older_configurations_come_from_forms_and_spawners() -> None:
    for file in (REPO / "src" / "optionsspawner").rglob("*.py"):
        ours = [name for name in imports(ast.parse(file.read_text())) if name.startswith("flatirons.")]
        rooms = tuple(f"flatirons.{room}" for room in ("errors", "units", "forms", "spawners", "hub.start"))
        assert all(lies_in(name, rooms) for name in ours), file


@pytest.mark.parametrize("room", ["cluster", "images", "deploy", "benchmarks"])
def test_programs_around_the_package_use_only_its_commands(room: str) -> None:
    for file in (REPO / room).rglob("*.py"):
        assert "flatirons" not in {name.partition(".")[0] for name in imports(ast.parse(file.read_text()))}, (
            file
        )


def test_the_guide_to_the_spawners_names_every_module_once() -> None:
    guide = ast.get_docstring(code_of("spawners")) or ""
    named = re.findall(r"^([\w./]+) {2,}", guide, re.MULTILINE)
    packages = {module.rpartition(".")[0] for module in modules()}
    room = [
        module.removeprefix("spawners.")
        for module in modules()
        if module.startswith("spawners.") and module not in packages
    ]
    assert sorted(named) == sorted(room)
