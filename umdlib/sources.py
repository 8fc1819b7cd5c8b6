"""Source files that a module is computed with: its imports, followed to the end."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from umdlib.errors import InputError


def import_closure(
    start: str | Path | Iterable[str | Path],
    *,
    packages: Sequence[str] = ("umdlib",),
    root: str | Path | None = None,
) -> list[Path]:
    """Files of `packages` that one or more modules, scripts or notebooks import, and these themselves.

    Imports are read from the source, also those inside functions, and followed to the end; nothing
    is imported. A name that a lazy face gives (``lazy.attach`` in an ``__init__.py``) stands for the
    module that holds it, also where it is used as an attribute (``figures.forest``). A face itself
    is not among the files: it is a list of names. Modules beside a script that it imports are.

    Parameters
    ----------
    start
        Dotted name of a module, or path of a ``.py`` or ``.ipynb`` file; or several.
    packages
        Top-level packages whose modules are followed.
    root
        Folder that holds the packages; by default each where Python finds it.

    Returns
    -------
    list of pathlib.Path
        Sorted, without repetition.

    Raises
    ------
    InputError
        A start that does not exist; a file that is not Python.

    Examples
    --------
    >>> [path.name for path in import_closure("umdlib.sources")]
    ['errors.py', 'sources.py']
    """
    _file.cache_clear()
    starts = [start] if isinstance(start, str | Path) else list(start)
    seen: dict[Path, None] = {}
    passed: dict[_World, set[Path]] = {}
    for one in starts:
        world = _World(tuple(packages), Path(root) if root is not None else None)
        first = _start(one, world)
        if first.beside is not None and _names_beside(first.beside):
            world = _World((*packages, *_names_beside(first.beside)), world.root, first.beside)
        _follow(first, world, seen, passed.setdefault(world, set()))
    return sorted(seen)


def code_digest(files: Iterable[str | Path]) -> str:
    """sha256 of what source files say, without comments, docstrings and layout.

    Their names count, their place does not.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.py"
    ...     _ = file.write_text("x = 1  # one")
    ...     before = code_digest([file])
    ...     _ = file.write_text("x = 1")
    ...     same = code_digest([file]) == before
    ...     _ = file.write_text("x = 2")
    ...     same, code_digest([file]) == before
    (True, False)
    """
    digest = hashlib.sha256()
    for file in map(Path, files):
        digest.update(f"{file.parent.name}/{file.name}\n{_plain(file, file.stat().st_mtime_ns)}\n".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=4096)
def _plain(file: Path, changed: int) -> str:
    """Hash of a file's code, kept until the file changes."""
    tree = ast.parse(_text(file), str(file))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


@dataclass(frozen=True)
class _World:
    """Where modules lie: packages, their folder, and a folder of loose files."""

    packages: tuple[str, ...]
    root: Path | None
    beside: Path | None = None

    def file(self, name: str) -> Path | None:
        """File of a module by its dotted name; None where it is foreign or does not exist."""
        return _file(self, name) if name.partition(".")[0] in self.packages else None

    def home(self, package: str) -> Path | None:
        if self.beside is not None and package in _names_beside(self.beside):
            return self.beside
        return self.root if self.root is not None else _found(package)


@functools.cache
def _file(world: _World, name: str) -> Path | None:
    """`_World.file` of a name in one of its packages, kept during one `import_closure`."""
    home = world.home(name.partition(".")[0])
    if home is None:
        return None
    place = os.path.join(home, *name.split("."))
    for file in (f"{place}.py", os.path.join(place, "__init__.py")):
        if os.path.isfile(file):
            return Path(file)
    return None


@dataclass(frozen=True)
class _Module:
    """A source file and its dotted name; `beside` is its folder where it is a loose file."""

    file: Path
    name: str
    beside: Path | None = None


@functools.cache
def _found(package: str) -> Path | None:
    """Folder that holds a package, without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).resolve().parents[1] if spec and spec.origin else None


@functools.cache
def _names_beside(folder: Path) -> tuple[str, ...]:
    """Names that files and packages of a folder can be imported by."""
    files = (p.stem for p in folder.glob("*.py"))
    return (*files, *(p.parent.name for p in folder.glob("*/__init__.py")))


def _start(start: str | Path, world: _World) -> _Module:
    """A module by its name, or a file by its path; of a package's own file, both."""
    if isinstance(start, str) and (file := world.file(start)) is not None:
        return _Module(file, start)
    path = Path(start).resolve()
    if not path.is_file():
        raise InputError(f"'{start}' is neither a file nor a module of {', '.join(world.packages)}.")
    parts = path.with_suffix("").parts
    for depth, part in enumerate(parts):
        name = ".".join(parts[depth:]).removesuffix(".__init__")
        file = world.file(name) if part in world.packages else None
        if file is not None and file.resolve() == path:
            return _Module(path, name)
    return _Module(path, path.stem, beside=path.parent)


def _follow(first: _Module, world: _World, seen: dict[Path, None], passed: set[Path]) -> None:
    """Add a module and all that it imports to `seen`; faces are passed through, and so is what is in `passed`."""
    waiting = [first]
    while waiting:
        module = waiting.pop()
        if module.file in passed:
            continue
        passed.add(module.file)
        if _passed_through(module.name, world):
            continue
        seen[module.file] = None
        for name in [*_parents(module.name), *_imports(module, world, _changed(module.file))]:
            if (file := world.file(name)) is not None:
                waiting.append(_Module(file, name))


def _parents(name: str) -> Iterator[str]:
    """Packages around a module whose own file is more than a face: Python runs them too."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        yield ".".join(parts[:end])


@functools.lru_cache(maxsize=4096)
def _imports(module: _Module, world: _World, changed: int) -> tuple[str, ...]:
    """Names of `_imported`, each once, kept until the file changes."""
    return tuple(dict.fromkeys(_imported(module, world)))


def _imported(module: _Module, world: _World) -> Iterator[str]:
    """Dotted names of the modules that one file imports."""
    tree = _tree(module.file, _changed(module.file))
    skipped = _for_types(tree)
    is_package = module.file.name == "__init__.py"
    for node in _nodes(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name
                yield from _used(alias.name, bound, tree, world)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module.name, is_package)
            for alias in node.names:
                yield from _given(base, alias.name, alias.asname or alias.name, tree, world)


def _absolute(node: ast.ImportFrom, name: str, is_package: bool) -> str:
    """Dotted name that a ``from`` imports from, relative ones resolved."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _given(base: str, name: str, bound: str, tree: ast.Module, world: _World) -> Iterator[str]:
    """Modules behind ``from base import name as bound``."""
    file = world.file(base)
    if file is None:
        return
    if file.name != "__init__.py":
        yield base
        return
    given = _face(file, _changed(file))
    if name == "*":
        yield from _all_of(base, world)
    elif name in given and given[name] != name:
        yield f"{base}.{given[name]}"
    else:
        yield from _used(f"{base}.{name}", bound, tree, world)
    if not _is_face(file, _changed(file)):
        yield base


def _used(name: str, bound: str, tree: ast.Module, world: _World) -> Iterator[str]:
    """Modules behind an imported module: itself, or of a face those whose names are used."""
    if not _passed_through(name, world):
        yield name
        return
    for chain in _attributes(tree, bound):
        yield from _along(name, chain, world)


def _along(name: str, chain: tuple[str, ...], world: _World) -> Iterator[str]:
    """The module that ``name.a.b.c`` reaches; everything that a face gives where it ends in one."""
    for part in chain:
        file = world.file(name)
        name = f"{name}.{_face(file, _changed(file)).get(part, part)}"
        if not _passed_through(name, world):
            yield name
            return
    yield from _all_of(name, world)


def _all_of(name: str, world: _World) -> Iterator[str]:
    """Every module that a face gives, through further faces."""
    file = world.file(name)
    for place in dict.fromkeys(_face(file, _changed(file)).values()):
        inner = f"{name}.{place}"
        yield from _all_of(inner, world) if _passed_through(inner, world) else (inner,)


def _passed_through(name: str, world: _World) -> bool:
    """Whether a name is a package whose own file is a face."""
    file = world.file(name)
    return file is not None and file.name == "__init__.py" and _is_face(file, _changed(file))


def _attributes(tree: ast.Module, bound: str) -> Iterator[tuple[str, ...]]:
    """Chains of attributes that follow a dotted name where it is used; () where it stands alone."""
    head = tuple(bound.split("."))
    return (chain[len(head) :] for chain in _chains(tree) if chain[: len(head)] == head)


@functools.lru_cache(maxsize=4096)
def _nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    """Every node of a file."""
    return tuple(ast.walk(tree))


@functools.lru_cache(maxsize=4096)
def _chains(tree: ast.Module) -> tuple[tuple[str, ...], ...]:
    """Every name that is read in a file, with the attributes that follow it, each once."""
    nodes = [node for node in _nodes(tree) if isinstance(node, ast.Attribute | ast.Name)]
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    read = (_chain(n) for n in nodes if id(n) not in inner and isinstance(n.ctx, ast.Load))
    return tuple(dict.fromkeys(filter(None, read)))


def _chain(node: ast.AST) -> tuple[str, ...]:
    """``a.b.c`` as its names; () where it does not begin with a name."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def _for_types(tree: ast.Module) -> set[ast.AST]:
    """Nodes under ``if TYPE_CHECKING``: they never run."""
    found: set[ast.AST] = set()
    for node in _nodes(tree):
        if isinstance(node, ast.If) and _chain(node.test)[-1:] == ("TYPE_CHECKING",):
            for statement in node.body:
                found.update(ast.walk(statement))
    return found


@functools.lru_cache(maxsize=4096)
def _face(file: Path, changed: int) -> dict[str, str]:
    """Name -> module, relative to the package, that the ``lazy.attach`` of a face gives."""
    for node in ast.walk(_tree(file, changed)):
        if isinstance(node, ast.Call) and _chain(node.func)[-1:] == ("attach",):
            values = dict(zip(("package", "submodules", "submod_attrs"), node.args, strict=False))
            values |= {k.arg: k.value for k in node.keywords}
            given = {}
            if "submod_attrs" in values:
                for module, names in ast.literal_eval(values["submod_attrs"]).items():
                    given |= dict.fromkeys(names, module)
            if "submodules" in values:
                given |= {n: n for n in ast.literal_eval(values["submodules"]) or ()}
            return given
    return {}


@functools.lru_cache(maxsize=4096)
def _is_face(file: Path, changed: int) -> bool:
    """Whether a package's file is a lazy list of names or empty: nothing in it is computed."""
    tree = _tree(file, changed)
    listed = {"__all__", "__getattr__", "__dir__", "__version__"}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            if not names <= listed:
                return False
        elif isinstance(node, ast.FunctionDef):
            if node.name not in listed:
                return False
        elif isinstance(node, ast.ImportFrom):
            if node.module != "__future__" and [alias.name for alias in node.names] != ["moved"]:
                return False
        elif isinstance(node, ast.Import):
            if any(alias.name != "lazy_loader" for alias in node.names):
                return False
        elif not (
            isinstance(node, ast.Expr)
            and (isinstance(node.value, ast.Constant) or ast.unparse(node.value) == "moved.announce()")
        ):
            return False
    return True


def _changed(file: Path) -> int:
    return file.stat().st_mtime_ns


@functools.lru_cache(maxsize=4096)
def _tree(file: Path, changed: int) -> ast.Module:
    """Syntax tree of a file, kept until the file changes."""
    try:
        return ast.parse(_text(file), str(file))
    except (SyntaxError, ValueError) as error:
        raise InputError(f"File {file} is not Python: {error}.") from None


def _text(file: Path) -> str:
    """Source of a file; of a notebook its code cells, without lines that are not Python."""
    if file.suffix != ".ipynb":
        return file.read_text(encoding="utf-8")
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    code = ("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    lines = "\n".join(code).split("\n")
    return "\n".join("pass" if line.lstrip()[:1] in ("%", "!") else line for line in lines)
