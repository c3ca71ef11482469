"""Makes ready what a run needs: the peers from npm, the load generators, the bundled workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
WORKERS = BENCH / "workers"
MODULES = BENCH / "node_modules"
WORKERD = MODULES / "@cloudflare" / "workerd-linux-64" / "bin" / "workerd"
DENO = MODULES / "@deno" / "linux-x64-glibc" / "deno"
LOAD = BENCH / "load" / "target" / "release" / "load"

STEP_TIMEOUT_SECONDS = 900


class SetupFailed(Exception):
    """The machine lacks something; the message says what to do."""


@dataclass(frozen=True)
class Toolchain:
    """What a run uses."""

    load: Path
    wrk: str | None
    bundles: Path


def prepare(work: Path) -> Toolchain:
    """Installs and builds what is missing. Bundles go to a folder in `work`."""
    _install_peers()
    _step("building the load generator", ["cargo", "build", "--release", "--quiet"], BENCH / "load")
    return Toolchain(LOAD, _find_wrk(), _bundle(work / "bundles"))


def from_root(text: str) -> str:
    """The text with its paths from the repository's root on."""
    return text.replace(f"{ROOT}/", "")


def _step(title: str, argv: list[str], cwd: Path) -> None:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=STEP_TIMEOUT_SECONDS)
    except FileNotFoundError as error:
        raise SetupFailed(f"{title}: {argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SetupFailed(f"{title}: not done in {STEP_TIMEOUT_SECONDS} s") from error
    if done.returncode != 0:
        raise SetupFailed(f"{title}: `{' '.join(argv)}` failed:\n{done.stderr[-2000:]}")


def _install_peers() -> None:
    """`npm ci` unless what is installed is what the lock file says."""
    installed = MODULES / ".package-lock.json"
    lock = BENCH / "package-lock.json"
    if installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime and DENO.exists():
        return
    print("installing workerd, deno, hono and esbuild from npm", file=sys.stderr)
    # The programs are used directly: the packages' install scripts only put a wrapper in front of them.
    _step("installing the peers", ["npm", "ci", "--ignore-scripts"], BENCH)
    for program in (WORKERD, DENO):
        if not program.is_file():
            raise SetupFailed(f"{program.name}: no program for this machine in its npm package (x86-64 Linux only)")
        program.chmod(0o755)
    os.utime(installed)


def _find_wrk() -> str | None:
    """wrk, installed if need be and possible. Without it only the independent check is missing."""
    if found := shutil.which("wrk"):
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print("wrk is not installed (Debian: sudo apt-get install wrk): its check will be missing", file=sys.stderr)
        return None
    try:
        _step("installing wrk", ["apt-get", "install", "--yes", "--no-install-recommends", "wrk"], BENCH)
    except SetupFailed as failure:
        print(f"{failure}\nwrk's check will be missing", file=sys.stderr)
    return shutil.which("wrk")


def _bundle(out: Path) -> Path:
    """Every workload as one module, which all servers then run."""
    out.mkdir()
    for source in ("hello", "api", "stream", "html", "sha"):
        argv = ["node", "node_modules/esbuild/bin/esbuild", f"workers/{source}.js", "--bundle", "--format=esm"]
        options = ["--platform=neutral", "--main-fields=module,main", f"--outfile={out / source}.js"]
        _step(f"bundling {source}.js", [*argv, *options, "--log-level=error"], BENCH)
    return out
