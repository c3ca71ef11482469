"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from .toolchain import ROOT


def describe(cores: list[int]) -> list[tuple[str, str]]:
    """Name and value pairs for the report."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpu, re.MULTILINE)
    virtual = " (virtual machine)" if re.search(r"^flags\s*:.*\bhypervisor\b", cpu, re.MULTILINE) else ""
    total = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    memory = f"{int(total.group(1)) * 1024 / 1e9:.1f} GB" if total else "unknown"
    return [
        ("CPU", (model.group(1).strip() if model else "unknown") + virtual),
        ("Cores used", f"{len(cores)} of {os.cpu_count()}, by server and client together"),
        ("Memory", memory),
        ("Kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("System", _system()),
    ]


def load_average() -> float:
    """The mean number of runnable processes over the last minute."""
    return os.getloadavg()[0]


def revision() -> str:
    """The commit that is checked out; says so if the product's source differs from it."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", "crates", "Cargo.lock", "Cargo.toml")
    return f"{commit or 'unknown'}{' with changes' if changed else ''}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30)
    return done.stdout.strip()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"
