"""Who may import whom: the rule of the rooms in the design, read from the code itself."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent.parent
SOURCE = REPO / "src" / "flatirons"
PURE = (
    *(
        f"slurm.{name}"
        for name in ("model", "accounting", "argv", "parse", "explain", "limits", "sayings", "offers")
    ),
    *(f"slurm.{name}" for name in ("facts", "bounds", "rights", "sooner")),
    "forms",
    "images",
    "job",
)
MODELS = ("errors", *PURE)
# room -> which of our rooms it may import; the longest name that fits a module counts
RULES: dict[str, tuple[str, ...]] = {
    "": ("hub", "errors", "notebook", "environments"),
    "errors": (),
    "runner": ("errors",),
    **dict.fromkeys(PURE, MODELS),
    "slurm": (*MODELS, "slurm", "runner"),
    "spawners": (*MODELS, "slurm", "runner", "spawners"),
    "hub": (*MODELS, "slurm", "runner", "spawners", "hub"),
    "environments": (
        *MODELS,
        "runner",
        "hub.site",
        "hub.sections",
        "spawners.diagnosis",
        "spawners.versions",
    ),
    "parallel": (*MODELS, "slurm", "runner", "parallel"),
    "notebook": (
        *(*MODELS, "slurm", "runner", "notebook", "hub.site", "hub.sections"),
        *(
            f"spawners.{name}"
            for name in ("diagnosis", "own_fields", "slurm_facts", "slurm_form", "timing", "waiting")
        ),
    ),
    "lab": (*MODELS, "slurm", "runner", "lab"),
}
# programs that are sent to where our runner isn't
SENT = ("job.node.starter", "environments.survey", "environments.probe")
# package of others -> the only rooms of ours that know it
OTHERS = {"jupyterhub": ("spawners", "hub"), "ipyparallel": ("parallel",), "subprocess": SENT}


def lies_in(name: str, rooms: tuple[str, ...]) -> bool:
    return any(not room or name == room or name.startswith(f"{room}.") for room in rooms)


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


def file_of(module: str) -> Path:
    place = SOURCE.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    allowed = RULES[max((room for room in RULES if lies_in(module, (room,))), key=len)]
    for name in imports(ast.parse(file_of(module).read_text())):
        package, _, ours = name.partition(".")
        if package == "flatirons":
            own_room = module.partition(".")[0]
            assert lies_in(ours, (*allowed, own_room) if own_room != "slurm" else allowed), name
        else:
            assert lies_in(module, OTHERS.get(package, ("",))), name


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even for type checkers: whoever reads the one would have to read the other first."""
    known = set(modules()) - {""}
    graph: dict[str, set[str]] = {}
    for module in known:
        names = imports(ast.parse(file_of(module).read_text()), for_types=True)
        ours = [name.removeprefix("flatirons.") for name in names if name.startswith("flatirons.")]
        graph[module] = {name if name in known else name.rpartition(".")[0] for name in ours} - {""}
    TopologicalSorter(graph).prepare()


def test_the_face_for_older_configurations_is_made_of_forms_and_spawners() -> None:
    for file in (REPO / "src" / "optionsspawner").rglob("*.py"):
        ours = [name for name in imports(ast.parse(file.read_text())) if name.startswith("flatirons")]
        assert all(lies_in(name, ("flatirons.forms", "flatirons.spawners")) for name in ours), file


@pytest.mark.parametrize("room", ["cluster", "images", "deploy", "benchmarks"])
def test_what_surrounds_the_package_uses_only_its_commands(room: str) -> None:
    for file in (REPO / room).rglob("*.py"):
        assert "flatirons" not in {name.partition(".")[0] for name in imports(ast.parse(file.read_text()))}, (
            file
        )


def test_the_guide_to_the_spawners_names_every_module_once() -> None:
    guide = ast.get_docstring(ast.parse(file_of("spawners").read_text())) or ""
    named = re.findall(r"^(\w+) {2,}", guide, re.MULTILINE)
    room = [module.removeprefix("spawners.") for module in modules() if module.startswith("spawners.")]
    assert sorted([*named, "slurm"]) == room
