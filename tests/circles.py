#!/usr/bin/env python3
"""circles.py: finds circular imports between files, and prints the files with the imported names.

It reads the imports as text. Rust: paths that begin with `crate`, `self`, `super` or a child
module. JavaScript: `require` and `import` of files. Python: imports of the package. A re-exported
name counts as one of the file that defines it. Code for tests is ignored.
"""

import ast
import os
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = {"target", "node_modules", ".git", ".venv", "venv"}
JAVASCRIPT = "bindings/node/lib"
PYTHON = "bindings/python/python/libkv"


class Graph:
    """The names that each file imports from each other file."""

    def __init__(self):
        self.arrows = defaultdict(lambda: defaultdict(set))

    def add(self, source, target, name):
        if source != target:
            self.arrows[source][target].add(name)

    def circles(self):
        """The strongly connected components of more than one file (Tarjan's algorithm)."""
        order, low, stack, found = {}, {}, [], []

        def visit(file):
            order[file] = low[file] = len(order)
            stack.append(file)
            for target in sorted(self.arrows[file]) if file in self.arrows else []:
                if target not in order:
                    visit(target)
                    low[file] = min(low[file], low[target])
                elif target in stack:
                    low[file] = min(low[file], order[target])
            if low[file] == order[file]:
                at = stack.index(file)
                component = stack[at:]
                del stack[at:]
                if len(component) > 1:
                    found.append(sorted(component))

        sys.setrecursionlimit(10_000)
        for file in sorted(self.arrows):
            if file not in order:
                visit(file)
        return sorted(found)


# ---- Rust ----


def rust_code(text):
    """The text without comments, strings, and items for tests."""
    text = re.sub(
        r"""//[^\n]*|/\*.*?\*/|b?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|'(?:\\.[^']*|[^'\\\n])'""",
        lambda m: "" if m.group().startswith("/") else '""',
        text,
        flags=re.S,
    )
    text = re.sub(r"\bpub\(in [^)]*\)", "pub", text)
    while test := re.search(r"#\[cfg\(test\)\]\s*(#\[[^\]]*\]\s*)*", text):
        text = text[: test.start()] + text[item_end(text, test.end()) :]
    return text


def item_end(text, at):
    """The end of the item that begins at `at`: its semicolon, or its closing brace."""
    depth, is_use = 0, text[at:].startswith(("use", "pub use", "pub(crate) use", "pub(super) use"))
    while at < len(text):
        char = text[at]
        depth += (char in "{([") - (char in "})]")
        at += 1
        if depth == 0 and (char == ";" or (char == "}" and not is_use)):
            return at
    return at


class Module:
    """A module of a crate: its file, its definitions and its exports."""

    def __init__(self, name, file, parent, code=None):
        self.name, self.file, self.parent = name, file, parent
        self.children, self.exports, self.globs = {}, {}, []
        self.code = rust_code(file.read_text()) if code is None else code
        self.find_inline_children()
        self.find_children()
        self.defined = set(
            re.findall(
                r"\b(?:struct|enum|union|trait|fn|type|const|static|macro_rules!)\s+(\w+)",
                self.code,
            )
        )
        self.uses = []
        for is_public, tree in re.findall(r"(\bpub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);", self.code):
            for path, name in use_paths(tree):
                self.uses.append(path)
                if path[-1] == "*":
                    if is_public:
                        self.globs.append(path[:-1])
                elif is_public:
                    self.exports[name] = path

    def find_children(self):
        folder = self.file.parent
        if self.file.name not in ("mod.rs", "lib.rs", "main.rs") and self.parent is not None:
            folder = folder / self.file.stem
        for path, name in re.findall(
            r'(?:#\[path\s*=\s*"([^"]*)"\]\s*)?\bmod\s+(\w+)\s*;', self.code
        ):
            for file in (folder / f"{name}.rs", folder / name / "mod.rs"):
                if not path and file.exists():
                    self.children[name] = Module(name, file, self)

    def find_inline_children(self):
        """Make child modules of the inline modules, and remove them from the code."""
        while inline := re.search(r"\bmod\s+(\w+)\s*\{", self.code):
            end = item_end(self.code, inline.end() - 1)
            name, code = inline.group(1), self.code[inline.end() : end - 1]
            self.code = self.code[: inline.start()] + self.code[end:]
            self.children[name] = Module(name, self.file, self, code)

    def root(self):
        return self if self.parent is None else self.parent.root()

    def walk(self):
        yield self
        for child in self.children.values():
            yield from child.walk()

    def start(self, path):
        """The module at which a path begins, and the rest of the path; None for another crate."""
        module, rest = self, list(path)
        if rest[0] == "crate":
            return self.root(), rest[1:]
        if rest[0] not in ("self", "super"):
            return (self, rest) if rest[0] in self.children else (None, rest)
        while rest and rest[0] in ("self", "super"):
            if rest.pop(0) == "super":
                module = module.parent or module
        return module, rest

    def resolve(self, path, seen=()):
        """The file that defines the item of a path, and the name; None for another crate."""
        module, rest = self.start(path)
        if module is None or (self, tuple(path)) in seen:
            return None
        seen = (*seen, (self, tuple(path)))
        while rest and rest[0] in module.children:
            module = module.children[rest.pop(0)]
        name = rest[0] if rest else module.name
        if rest and rest[0] not in ("*", "self") and rest[0] not in module.defined:
            if rest[0] in module.exports:
                return module.resolve([*module.exports[rest[0]], *rest[1:]], seen)
            for glob in module.globs:
                found = module.resolve([*glob, *rest], seen)
                if found and found[2]:
                    return found
        return module.file, name, not rest or rest[0] in module.defined


def use_paths(tree):
    """Each path of a `use`, with the name that it defines."""
    tree = " ".join(tree.split())
    if "{" not in tree:
        path, _, alias = tree.partition(" as ")
        path = [part.strip() for part in path.split("::") if part.strip()]
        if path[-1] == "self":
            path.pop()
        return [(path, alias.strip() or path[-1])] if path else []
    lead, _, rest = tree.partition("{")
    rest = rest[: rest.rindex("}")]
    parts, depth, part = [], 0, ""
    for char in rest:
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    parts.append(part)
    return [found for part in parts if part.strip() for found in use_paths(lead + part.strip())]


def read_rust(graph, root):
    for module in root.walk():
        paths = list(module.uses)
        code = re.sub(r"\buse\s+[^;]+;", "", module.code)
        for text in re.findall(r"(?<![\w:])(?:\w+\s*::\s*)+\w+", code):
            paths.append(re.split(r"\s*::\s*", text))
        for path in paths:
            if found := module.resolve(path):
                graph.add(module.file, found[0], found[1])


def crate_roots():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED]
        if "Cargo.toml" in files:
            for name in ("lib.rs", "main.rs"):
                file = Path(folder) / "src" / name
                if file.exists():
                    yield file


# ---- JavaScript ----


def read_javascript(graph, folder):
    for file in sorted(folder.rglob("*.js")):
        text = re.sub(r"/\*.*?\*/|^\s*//[^\n]*", "", file.read_text(), flags=re.S | re.M)
        for name in re.findall(r"""(?:require\(|\bfrom\s+|\bimport\s+)['"](\.[^'"]*)['"]""", text):
            at = (file.parent / name).resolve()
            for target in (at, at.with_name(at.name + ".js"), at / "index.js"):
                if target.is_file():
                    graph.add(file, target, name)
                    break


# ---- Python ----


def read_python(graph, package):
    def file_of(parts):
        path = package.joinpath(*parts)
        for target in (path.with_suffix(".py"), path / "__init__.py"):
            if parts and target.is_file():
                return target
        return None

    for file in sorted(package.rglob("*.py")):
        inside = list(file.relative_to(package).parts[:-1])
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imports = [(alias.name.split("."), None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = node.module.split(".") if node.module else []
                if node.level:
                    module = [package.name, *inside[: len(inside) - node.level + 1], *module]
                imports = [(module, alias.name) for alias in node.names]
            else:
                continue
            for module, name in imports:
                if module[:1] != [package.name]:
                    continue
                parts = module[1:]
                target = file_of([*parts, name]) if name else None
                target = target or file_of(parts) or (package / "__init__.py" if not parts else None)
                if target:
                    graph.add(file, target, name or ".".join(module))


def main():
    graph = Graph()
    for file in crate_roots():
        read_rust(graph, Module("crate", file, None))
    read_javascript(graph, ROOT / JAVASCRIPT)
    read_python(graph, ROOT / PYTHON)
    circles = graph.circles()
    for number, files in enumerate(circles, 1):
        print(f"circle {number}: {len(files)} files")
        for file in files:
            for target in files:
                if names := sorted(graph.arrows[file].get(target, ())):
                    print(f"  {file.relative_to(ROOT)} -> {target.relative_to(ROOT)}: {', '.join(names)}")
    sys.exit(1 if circles else 0)


if __name__ == "__main__":
    main()
