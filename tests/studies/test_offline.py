"""scripts/offline: which wheels a bundle holds, that it is whole or not there, and its installer; without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from program import DEAD

from dfa_cli.errors import DfaError
from studies.installation.offline import ROOT, Contents, bundle, seal
from studies.installation.wheels import Target, build_wheel, collect

TARGET = Target("3.12", "x86_64")


def make_wheel(folder: Path, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> None:
    """Write a wheel that holds nothing but its metadata."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as wheel:
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        wheel.writestr(
            f"{info}/METADATA", "\n".join([*lines, *(f"Requires-Dist: {text}" for text in requires)])
        )
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is a file system of Linux")
def test_a_folder_that_cannot_be_made_is_a_sentence() -> None:
    says = "^/proc/a/b cannot be made, since /proc takes no new folder: name another folder with scripts/offline bundle"
    with pytest.raises(DfaError, match=says):
        bundle(Path("/proc/a/b"), Contents(TARGET))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip may look for packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(folder)), ("CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(f"PIP_{name}", value)
    return folder


def collected(folder: Path, *wanted: str, pins: Sequence[str] = ()) -> list[str]:
    folder.mkdir(exist_ok=True)
    collect(map(Requirement, wanted), map(Requirement, pins), TARGET, folder)
    return sorted("-".join(path.name.split("-")[:2]) for path in folder.iterdir())


def test_a_bundle_has_what_its_packages_require_on_the_other_machine(index: Path, tmp_path: Path) -> None:
    make_wheel(
        index, "app", "1", "lib[fast]>=1", 'old; python_version < "3.12"', 'mac; sys_platform == "darwin"'
    )
    make_wheel(index, "lib", "1", 'speed; extra == "fast"', 'docs; extra == "docs"', "base")
    make_wheel(index, "lib", "2", "never_asked_for")
    make_wheel(index, "speed", "3", tag="cp312-cp312-manylinux_2_26_x86_64")
    make_wheel(index, "speed", "4", tag="cp311-cp311-manylinux_2_26_x86_64")
    make_wheel(index, "base", "1", "app")  # a circle
    assert collected(tmp_path / "wheels", "app", pins=["lib==1"]) == ["app-1", "base-1", "lib-1", "speed-3"]


def test_wheels_that_contradict_each_other_are_not_packed(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "app", "1", "lib", "other")
    make_wheel(index, "other", "1", "lib<2")
    make_wheel(index, "lib", "2")
    with pytest.raises(DfaError, match=r"lib<2 is required, and version 2 was taken.*constraints\.txt"):
        collected(tmp_path / "wheels", "app")


@pytest.mark.usefixtures("index")  # which is empty
def test_a_failed_download_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "bundles" / "dfa"
    command = [sys.executable, "-m", "studies.installation.offline", "bundle", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "error: No matching distribution found for" in done.stderr.splitlines()[-1]
    assert list(tmp_path.rglob("*bundles/*")) == []


def test_a_folder_with_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(DfaError, match="is not empty: name a new folder"):
        bundle(tmp_path, Contents(TARGET))


class Bundle:
    """A bundle without PyTorch, and an environment in which all is installed but dfa."""

    def __init__(self, root: Path):
        self.folder, self.root = root / "a bundle", root
        wheels = self.folder / "wheels"
        wheels.mkdir(parents=True)
        build_wheel(ROOT, wheels, "--no-index")
        (pip,) = _pip_wheels()
        shutil.copy(pip, wheels)
        here = "{}.{}".format(*sys.version_info)
        seal(self.folder, Contents(Target(here, "x86_64"), "none", ["joblib"], []), None)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "env"], check=True)
        self.python = root / "env" / "bin" / "python"
        site = root / "env" / "lib" / f"python{here}" / "site-packages"
        # All packages of this environment but dfa itself, which pip is to install.
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if "dfa_cli" not in path.name and "__pycache__" not in path.name:
                (site / path.name).symlink_to(path)

    def install(self, *words: str) -> subprocess.CompletedProcess[str]:
        offline = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), DEAD)
        environment = {**os.environ, **offline, "PYTHON": str(self.python), "TMPDIR": str(self.root)}
        environment.pop("PYTHONPATH", None)
        return subprocess.run(
            [self.folder / "install", *words], cwd=self.root, env=environment, capture_output=True, text=True
        )

    def refusal(self, *words: str) -> str:
        done = self.install(*words)
        assert done.returncode != 0
        return " ".join(done.stderr.split())


def _pip_wheels() -> list[Path]:
    import ensurepip

    return list((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    if not sys.platform.startswith("linux") or len(_pip_wheels()) != 1:
        pytest.skip("a bundle is for Linux, and the test needs the pip that comes with Python")
    return Bundle(tmp_path_factory.mktemp("offline"))


def test_a_damaged_foreign_or_missing_file_is_refused(made: Bundle) -> None:
    wheel = next(made.folder.glob("wheels/dfa_cli-*.whl"))
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-1] + b"x")
    assert f"{wheel} is damaged: its SHA-256" in made.refusal("--into-existing")
    wheel.unlink()
    assert f"{wheel} is missing. Copy the bundle again" in made.refusal("--into-existing")
    wheel.write_bytes(whole)
    (foreign := made.folder / "wheels" / "torch-99-py3-none-any.whl").touch()
    assert f"{foreign} does not belong to it" in made.refusal("--into-existing")
    foreign.unlink()


def test_what_does_not_fit_is_refused_in_a_sentence(made: Bundle) -> None:
    assert "This bundle has no PyTorch. Call install --into-existing" in made.refusal("env2")
    (site,) = made.root.glob("env/lib/*/site-packages")
    hidden = [path for path in site.iterdir() if path.name.startswith("torch-")]
    for path in hidden:
        path.rename(made.root / path.name)
    assert "has no torch. Name the Python that has it" in made.refusal("--into-existing")
    for path in hidden:
        (made.root / path.name).rename(path)


@pytest.mark.slow
def test_dfa_is_installed_beside_the_torch_that_is_there(made: Bundle) -> None:
    done = made.install("--into-existing")
    assert done.returncode == 0, done.stderr
    dfa = made.python.parent / "dfa"
    assert done.stdout.splitlines()[-1].endswith(f"is installed: {dfa}")
    shown = subprocess.run([dfa, "--version"], cwd=made.root, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("dfa ")
