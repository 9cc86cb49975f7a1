"""Programs that are sent to other machines: several modules as one text, without what only readers need.

Every job compiles its starter anew. Docstrings and comments are half of its text. Annotations would be
evaluated, and their import of `typing` takes as long as starting Python; so programs that run on old Pythons
may have annotations of any kind.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

LEFT_OUT = ("__future__.", "typing.", "flatirons.")
"""Modules that a program imports nothing from: for annotations only, or part of the text itself."""


def compact(modules: Iterable[str]) -> str:
    """The modules as one text with the same effect, each after those that it imports.

    They share one namespace, so no two of them may define the same name.
    """
    return "\n".join(ast.unparse(_Compaction().visit(ast.parse(module))) for module in modules)


class _Compaction(ast.NodeTransformer):
    """Removes docstrings, annotations, imports for annotations, and imports of other modules of the text."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else node

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.Assign([node.target], node.value, lineno=node.lineno)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        is_for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return node.orelse if is_for_types else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if f"{node.module}.".startswith(LEFT_OUT) else node
