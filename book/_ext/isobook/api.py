"""The directive {api}: the names that the package offers, with signature, explanation and examples.

Read off the source, which is not imported: a page of words need not load PyTorch.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective


class Api(SphinxDirective):
    """`{api} PACKAGE`: the package's face, a section for each file; the folder lies beside the configuration."""

    required_arguments = 1

    def run(self):
        root = Path(self.env.srcdir, self.arguments[0])
        made = []
        for module, names in face(root / "__init__.py").items():
            section = nodes.section("", nodes.title("", "", nodes.literal("", module)), ids=[nodes.make_id(module)])
            section += explained((ast.get_docstring(File(root, module).tree) or "").split("\n\n")[0])
            for name in names:
                found, file = File(root, module).define(name)
                self.env.note_dependency(str(file.path))
                section += entry(name, found, file)
            made.append(section)
        return made


class File:
    """A file of the package: its path, its lines, and what stands in it."""

    def __init__(self, root: Path, module: str):
        self.root, self.path = root, root.joinpath(*module.split(".")).with_suffix(".py")
        text = self.path.read_text(encoding="utf-8")
        self.lines, self.tree = text.splitlines(), ast.parse(text)

    def define(self, name: str) -> tuple[ast.stmt, File]:
        """The statement that gives a name its meaning, and the file where it stands: this one, or whence it comes."""
        for node in self.tree.body:
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            assigned = {
                part.id for target in targets if target for part in ast.walk(target) if isinstance(part, ast.Name)
            }
            if getattr(node, "name", None) == name or name in assigned:
                return node, self
            if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
                return File(self.root, node.module.removeprefix(f"{self.root.name}.")).define(name)
        raise ValueError(f"{self.path} has no {name} at its top")


def face(path: Path) -> dict[str, tuple[str, ...]]:
    """File -> the names that the package offers from it: the table `_WHERE` of its `__init__.py`."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_WHERE":
            return ast.literal_eval(node.value)
    raise ValueError(f"{path} has no table _WHERE of the names it offers")


def entry(name: str, found: ast.stmt, file: File) -> nodes.container:
    """One name: how it is called, what it is, and for a class its public methods."""
    box = nodes.container(classes=["api-entry"], ids=[f"api-{name}"])
    box += addnodes.index(entries=[("single", name, f"api-{name}", "main", None)])
    box += code(signature(found), "python")
    if not isinstance(found, ast.ClassDef | ast.FunctionDef):
        box += explained(comment_above(found.lineno, file.lines))
        return box
    box += explained(ast.get_docstring(found))
    for method in found.body if isinstance(found, ast.ClassDef) else ():
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
            first = (ast.get_docstring(method) or "").split("\n\n")[0]
            box += nodes.container("", code(signature(method, f"{name}."), "python"), *explained(first))
    return box


def signature(node: ast.stmt, owner: str = "") -> str:
    """A definition without its body: "iso_score(m: Moments) -> Float[Tensor, '']"; a constant as it is written."""
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    if isinstance(node, ast.FunctionDef):
        name, returns = owner + node.name, f" -> {ast.unparse(node.returns)}" if node.returns else ""
        if any(ast.unparse(d).endswith("property") for d in node.decorator_list):
            return name + returns
        inside = [ast.unparse(part) for part in _parts(node.args, skip=bool(owner))]
        line = f"{name}({', '.join(inside)}){returns}"
        return line if len(line) <= 88 else f"{name}(\n    " + ",\n    ".join(inside) + f",\n){returns}"
    value = ast.unparse(node)
    return value if len(value) <= 120 else value.split(" = ")[0]


def _parts(given: ast.arguments, skip: bool) -> list[ast.AST]:
    """The arguments one by one, each with its default, marks of kind included; `skip` leaves out self or cls."""
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + given.defaults
    parts = [_part(a, d) for a, d in zip(plain, defaults, strict=True)][int(skip) :]
    if given.posonlyargs:
        parts.insert(len(given.posonlyargs) - int(skip), ast.Name("/"))
    if given.vararg:
        parts.append(ast.Name("*" + ast.unparse(given.vararg)))
    elif given.kwonlyargs:
        parts.append(ast.Name("*"))
    parts += [_part(a, d) for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return [*parts, *([ast.Name("**" + ast.unparse(given.kwarg))] if given.kwarg else [])]


def _part(argument: ast.arg, default: ast.expr | None) -> ast.Name:
    equals = " = " if argument.annotation else "="
    return ast.Name(ast.unparse(argument) + (f"{equals}{ast.unparse(default)}" if default else ""))


def comment_above(line: int, lines: list[str]) -> str:
    """The comment that ends on the line before `line`, which counts from one."""
    above = []
    for text in reversed(lines[: line - 1]):
        if not text.startswith("#"):
            break
        above.insert(0, text.lstrip("# "))
    return " ".join(above)


def explained(docstring: str) -> list[nodes.Node]:
    """Paragraphs and examples of a docstring; what stands in backticks is code."""
    made = []
    for block in docstring.split("\n\n") if docstring else ():
        if block.lstrip().startswith(">>>"):
            made.append(code(block, "pycon"))
        elif re.fullmatch(r"(\w+ {2,}\S.*\n?|  .*\n?){2,}", block):  # names with what they mean, one a line
            made.append(code(block, "text"))
        else:
            made.append(paragraph := nodes.paragraph())
            # A role of MyST is code with its name and its backticks.
            for place, piece in enumerate(re.split(r"(\{[\w:]+\}`[^`]+`|`+[^`]+`+)", " ".join(block.split()))):
                paragraph += (
                    nodes.literal("", piece.strip("`") if piece[:1] == "`" else piece)
                    if place % 2
                    else nodes.Text(piece)
                )
    return made


def code(text: str, language: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language=language)


def setup(app):
    app.add_directive("api", Api)
