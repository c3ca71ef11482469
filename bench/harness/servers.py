"""The three servers: how each is told to serve one module, or many workers."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from .cells import MeasureFailed
from .loadgen import Target
from .process import Launch, free_ports
from .toolchain import BENCH, DENO, WORKERD, WORKERS

COMPATIBILITY_DATE = "2026-11-17"


@dataclass(frozen=True)
class Deployment:
    """A launch, and the workers that can be asked once it is up."""

    launch: Launch
    targets: list[Target]


class Server(Protocol):
    """What every server can do. `work` is an empty folder for its files."""

    name: str

    def version(self) -> str:
        """What the server says of itself."""

    def serve(self, module: Path, work: Path) -> Launch:
        """One worker, the bundled `module`."""

    def serve_files(self, files: dict[str, bytes], work: Path) -> Launch:
        """Static files, by name."""


@dataclass(frozen=True)
class UpLaunch:
    """How to start a platform, and where its data and its API are then."""

    launch: Launch
    data: Path
    api_port: int


class Selvedge:
    """`selvedge dev` and `selvedge up`, release build."""

    name = "selvedge"

    def __init__(self, binary: Path, extra: list[str]) -> None:
        self._binary = binary
        self._extra = extra

    def version(self) -> str:
        """The program's version, or why there is none."""
        return _version([str(self._binary), "--version"]) if self._binary.is_file() else "not built"

    def serve(self, module: Path, work: Path) -> Launch:
        """One worker."""
        return self._dev([_copy(module, work)], work)

    def deploy(self, modules: list[Path], work: Path) -> Deployment:
        """All modules as workers of one `dev`, after one more that answers for readiness."""
        launch = self._dev([_copy(WORKERS / "hello.js", work), *(_copy(module, work) for module in modules)], work)
        targets = [Target(launch.port, f"{name}.localhost:{launch.port}", name) for name in _names(modules)]
        return Deployment(launch, targets)

    def serve_files(self, files: dict[str, bytes], work: Path) -> Launch:
        """A project of static files alone."""
        _write(files, work / "public")
        project = {"name": "files", "compatibility_date": COMPATIBILITY_DATE, "assets": {"directory": "public"}}
        (work / "wrangler.json").write_text(json.dumps(project))
        return self._dev([Path(".")], work)

    def up(self, work: Path, worker: str) -> UpLaunch:
        """The platform, with its data in `work`. `worker` is the one that shows that it is up."""
        self._check_built()
        port, api_port = free_ports(2)
        data = work / "data"
        argv = [str(self._binary), "up", "--data", "data"]
        argv += ["--http", f"127.0.0.1:{port}", "--api", f"127.0.0.1:{api_port}"]
        return UpLaunch(Launch(argv, work, port, worker=worker), data, api_port)

    def _check_built(self) -> None:
        if not self._binary.is_file():
            raise MeasureFailed("no binary: cargo build --release, or --selvedge PATH")

    def _dev(self, paths: list[Path], work: Path) -> Launch:
        self._check_built()
        (port,) = free_ports(1)
        names = [path.name or "." for path in paths]
        return Launch([str(self._binary), "dev", *names, "--port", str(port), *self._extra], work, port)


class Workerd:
    """`workerd serve`, with one configuration for each case."""

    name = "workerd"

    def version(self) -> str:
        """The program's version."""
        return _version([str(WORKERD), "--version"])

    def serve(self, module: Path, work: Path) -> Launch:
        """One service behind one socket."""
        (port,) = free_ports(1)
        _copy(module, work)
        return self._launch([_service("main", module.name)], {port: "main"}, work)

    def deploy(self, modules: list[Path], work: Path) -> Deployment:
        """One service and one socket for each module, and one for readiness: it starts all before it listens."""
        ports = free_ports(len(modules) + 1)
        names = _names(modules)
        services = [_service(name, _copy(module, work).name) for name, module in zip(names, modules)]
        launch = self._beside_hello(services, dict(zip(ports[1:], names)), ports[0], work)
        targets = [Target(port, f"localhost:{port}", name) for port, name in zip(ports[1:], names)]
        return Deployment(launch, targets)

    def serve_files(self, files: dict[str, bytes], work: Path) -> Launch:
        """Its service for a folder."""
        (port,) = free_ports(1)
        _write(files, work / "public")
        return self._launch(['(name = "files", disk = (path = "public", writable = false))'], {port: "files"}, work)

    def deploy_behind_router(self, modules: list[Path], work: Path) -> Launch:
        """One service for each module, and one socket whose worker hands each request to the one that its host names."""
        (port,) = free_ports(1)
        names = _names(modules)
        services = [_service(name, _copy(module, work).name) for name, module in zip(names, modules)]
        bindings = ", ".join(f'(name = "{name}", service = "{name}")' for name in names)
        router = _service("router", _copy(WORKERS / "peer-router.js", work).name, bindings=bindings)
        return replace(self._launch([*services, router], {port: "router"}, work), worker=names[0])

    def deploy_sockets(self, count: int, work: Path) -> Deployment:
        """The same sockets and the worker for readiness, but no worker behind the sockets: an empty folder."""
        ports = free_ports(count + 1)
        (work / "empty").mkdir()
        disk = '(name = "disk", disk = (path = "empty", writable = false))'
        return Deployment(self._beside_hello([disk], dict.fromkeys(ports[1:], "disk"), ports[0], work), [])

    def _beside_hello(self, services: list[str], sockets: dict[int, str], port: int, work: Path) -> Launch:
        hello = _service("hello", _copy(WORKERS / "hello.js", work).name)
        return self._launch([*services, hello], {**sockets, port: "hello"}, work)

    def deploy_lazily(self, modules: list[Path], work: Path) -> Deployment:
        """One dispatcher that loads each module upon its first request, through the Worker Loader."""
        (port,) = free_ports(1)
        names = _names(modules)
        sources = {name: module.read_text() for name, module in zip(names, modules)}
        (work / "sources.json").write_text(json.dumps(sources))
        dispatcher = _copy(WORKERS / "peer-loader.js", work)
        service = _service(
            "main",
            dispatcher.name,
            modules='(name = "sources.json", json = embed "sources.json")',
            bindings='(name = "LOADER", workerLoader = (id = "loader"))',
        )
        launch = self._launch([service], {port: "main"}, work)
        launch.argv.append("--experimental")
        return Deployment(launch, [Target(port, f"{name}.localhost:{port}", name) for name in names])

    @staticmethod
    def _launch(services: list[str], sockets: dict[int, str], work: Path) -> Launch:
        """Writes the configuration. The last socket is the one that readiness is asked of."""
        listening = [
            f'(name = "s{port}", address = "127.0.0.1:{port}", http = (), service = "{service}")'
            for port, service in sockets.items()
        ]
        config = 'using Workerd = import "/workerd/workerd.capnp";\n\nconst config :Workerd.Config = (\n'
        config += "  services = [\n    " + ",\n    ".join(services) + "\n  ],\n"
        config += "  sockets = [\n    " + ",\n    ".join(listening) + "\n  ],\n);\n"
        (work / "config.capnp").write_text(config)
        return Launch([str(WORKERD), "serve", "config.capnp"], work, list(sockets)[-1])


class Deno:
    """`deno serve`: one process, one thread, one program, no isolation from other tenants."""

    name = "deno"
    # Which options: no network for updates, no configuration or lock file of a folder above.
    _SERVE = ["serve", "--quiet", "--no-config", "--no-lock", "--host", "127.0.0.1"]

    def __init__(self, cache: Path) -> None:
        self._env = {"DENO_DIR": str(cache), "DENO_NO_UPDATE_CHECK": "1", "DENO_NO_PROMPT": "1"}
        self._env["DENO_NO_PACKAGE_JSON"] = "1"

    def version(self) -> str:
        """The program's version."""
        return _version([str(DENO), "--version"])

    def serve(self, module: Path, work: Path) -> Launch:
        """One program."""
        (port,) = free_ports(1)
        argv = [str(DENO), *self._SERVE, "--port", str(port), _copy(module, work).name]
        return Launch(argv, work, port, self._env)

    def serve_files(self, files: dict[str, bytes], work: Path) -> Launch:
        """It has no static files without a program."""
        raise MeasureFailed("no static files without a program")

    def deploy_web_workers(self, modules: list[Path], work: Path) -> Deployment:
        """One program that starts a web worker for each module upon its first request."""
        (port,) = free_ports(1)
        for module in [*modules, WORKERS / "web-worker.js"]:
            _copy(module, work)
        dispatcher = _copy(WORKERS / "peer-web-workers.js", work)
        argv = [str(DENO), *self._SERVE, "--allow-read", "--port", str(port), dispatcher.name]
        targets = [Target(port, f"{name}.localhost:{port}", name) for name in _names(modules)]
        return Deployment(Launch(argv, work, port, self._env), targets)


def generate_workers(count: int, folder: Path) -> list[Path]:
    """Writes `count` distinct small workers, w-0001.js and on. Each answers its name and the path."""
    folder.mkdir(parents=True)
    modules = []
    for number in range(1, count + 1):
        name = f"w-{number:04}"
        source = (
            f"// Worker {number} of {count}.\n"
            f'const NAME = "{name}";\n'
            f"const started = {{ requests: 0 }};\n\n"
            "export default {\n"
            "  async fetch(request) {\n"
            "    const url = new URL(request.url);\n"
            "    started.requests += 1;\n"
            "    return new Response(`${NAME} ${url.pathname} ${started.requests}\\n`);\n"
            "  },\n"
            "};\n"
        )
        module = folder / f"{name}.js"
        module.write_text(source)
        modules.append(module)
    return modules


def _service(name: str, module: str, modules: str = "", bindings: str = "") -> str:
    """A workerd service of one ES module."""
    files = f'(name = "{module}", esModule = embed "{module}")' + (f", {modules}" if modules else "")
    bound = f", bindings = [ {bindings} ]" if bindings else ""
    return (
        f'(name = "{name}", worker = (modules = [ {files} ], '
        f'compatibilityDate = "{COMPATIBILITY_DATE}"{bound}))'
    )


def _names(modules: list[Path]) -> list[str]:
    return [module.stem for module in modules]


def _copy(file: Path, work: Path) -> Path:
    return Path(shutil.copy(file, work / file.name))


def _write(files: dict[str, bytes], folder: Path) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _version(argv: list[str]) -> str:
    try:
        text = subprocess.run(argv, capture_output=True, text=True, timeout=30, cwd=BENCH).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown ({error})"
    return text.splitlines()[0].strip() if text.strip() else "unknown"
