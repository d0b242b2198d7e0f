"""Collects wheels with everything that they require, for a Python and a machine that need not be those of this process.

pip alone cannot do this: with `--python-version` it still decides by the running Python which requirements apply, and
it refuses every package that has no wheel.
"""

from __future__ import annotations

import email
import itertools
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from dfa_cli.errors import DfaError

CONFLICT = "The conflict is caused by:"
GLIBC = 28  # the newest glibc that wheels may ask for is 2.28: PyTorch asks for it, and RHEL 8 has it


@dataclass(frozen=True)
class Target:
    """The Python (such as `3.12`) and the machine (such as `x86_64`), with Linux, that wheels are collected for."""

    python: str
    machine: str

    def applies(self, requirement: Requirement, extra: str = "") -> bool:
        """Tell whether the marker of a requirement, such as `python_version >= "3.11"`, holds on the target."""
        environment = {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
        return requirement.marker is None or requirement.marker.evaluate({**environment, "extra": extra})

    def options(self) -> list[str]:
        """Return what pip has to be told. It takes only wheels whose platform is listed literally."""
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in range(GLIBC, 4, -1)]
        platforms += [f"manylinux{year}_{self.machine}" for year in (2014, 2010, 1)]
        return ["--python-version", self.python, *(f"--platform={platform}" for platform in platforms)]


def collect(
    wanted: Iterable[Requirement],
    pins: Iterable[Requirement],
    target: Target,
    folder: Path,
    *,
    without: Collection[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Path]:
    """Download the wheels of `wanted` and of all that these require into `folder`. Returns the wheels by name.

    `pins`: the versions that are taken. `without`: packages that are left out, with what only they require. A wheel
    that lies in `folder` already is taken as it is. Raises `DfaError` when a package cannot be had.
    """
    specifiers: dict[str, SpecifierSet] = defaultdict(SpecifierSet)
    for pin in pins:
        if target.applies(pin):
            specifiers[canonicalize_name(pin.name)] &= pin.specifier
    found = _wheels_in(folder)
    todo: set[tuple[str, str]] = set()
    done: set[tuple[str, str]] = set()

    def ask(requirements: Iterable[Requirement]) -> None:
        for requirement in requirements:
            name = canonicalize_name(requirement.name)
            if name not in without:
                specifiers[name] &= requirement.specifier
                todo.update({(name, extra) for extra in ("", *requirement.extras)} - done)

    ask(wanted)
    while todo:
        if missing := sorted({name for name, _ in todo} - found.keys()):
            say(f"downloading {', '.join(missing)}")
            _download([f"{name}{specifiers[name]}" for name in missing], target, folder)
            found = _wheels_in(folder)
        batch = frozenset(todo)
        todo.clear()
        done |= batch
        for name, extra in batch:
            ask(needed for needed in requirements_of(found[name]) if target.applies(needed, extra))
    for name, _ in done:
        _, version, *_ = parse_wheel_filename(found[name].name)
        if not specifiers[name].contains(version, prereleases=True):
            raise DfaError(
                f"{name}{specifiers[name]} is required, and version {version} was taken for an earlier requirement. "
                "Pin the right version in constraints.txt."
            )
    return found


def version_of(wheel: Path) -> Version:
    return parse_wheel_filename(wheel.name)[1]


def requirements_of(wheel: Path) -> list[Requirement]:
    """Read what a wheel requires, for every platform and with every extra."""
    with zipfile.ZipFile(wheel) as archive:
        (place,) = (name for name in archive.namelist() if name.endswith("METADATA") and name.count("/") == 1)
        metadata = email.message_from_bytes(archive.read(place))
    return [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]


def run_pip(*arguments: str | Path) -> None:
    """Run pip of this environment, with the user's configuration. Raises `DfaError` with its last word on failure."""
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise DfaError(last_word(done.stdout))


def build_wheel(source: Path, folder: Path, *options: str) -> None:
    """Build a wheel of `source` alone. Its build may not fetch tools: scripts/setup has installed what is needed."""
    run_pip("wheel", "--no-deps", "--no-build-isolation", *options, "--wheel-dir", folder, source)


def last_word(output: str) -> str:
    """Return the last error that pip printed: the ones before it are its circumstances. A conflict is told whole."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if CONFLICT in lines:
        told = lines[lines.index(CONFLICT) + 1 :]
        return "; ".join(itertools.takewhile(lambda line: not line.startswith("To fix this"), told))
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["pip said nothing"])[-1]


def _download(requirements: list[str], target: Target, folder: Path) -> None:
    """Download wheels. A package without a wheel is built here, which is possible when it has no compiled code."""
    run_pip(
        "download", "--no-deps", "--no-build-isolation", "--dest", folder, *target.options(), *requirements
    )
    for source in [path for path in folder.iterdir() if path.suffix != ".whl"]:
        build_wheel(source, folder)
        source.unlink()
    if compiled := [path.name for path in folder.glob("*-linux_*.whl")]:
        raise DfaError(
            f"{compiled[0]} was compiled here and may not run elsewhere: its package has no wheel for Python "
            f"{target.python}. Choose another --python."
        )


def _wheels_in(folder: Path) -> dict[str, Path]:
    return {str(parse_wheel_filename(path.name)[0]): path for path in folder.glob("*.whl")}
