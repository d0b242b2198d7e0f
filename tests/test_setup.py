"""The two commands on a fresh machine, scripts/dfa and scripts/test; the environment they make; the wheel.

Where an installation would take minutes, a stand-in plays Python and pip, a shell script that writes down how
it was called. `test_from_nothing` makes .venv for real.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import dfa_cli

ROOT = Path(__file__).parents[1]

# What the scripts, the stand-in and nothing else may need.
TOOLS = ("bash", "cat", "cp", "env", "find", "grep", "mkdir", "mv", "readlink", "rm", "sleep", "tail")

# Plays python3 on PATH, and the python of the .venv that it "makes".
FAKE_PYTHON = r"""#!/usr/bin/env bash
line="$*"
echo "${0##*/} ${line//$'\n'/ }" >>"$FAKE_LOG"
case "$*" in
    "-c import sys; print"*) echo "${FAKE_VERSION:-3.11}" ;;
    *find_spec*) echo "${FAKE_MODULES-venv ensurepip pip}" ;;
    -) exec "$REAL_PYTHON" - ;;
    "-m venv"*)
        mkdir -p "${!#}/bin"
        cp "$0" "${!#}/bin/python"
        ;;
    "-m pip"*)
        echo "pip begins" >>"$FAKE_LOG"
        echo "${FAKE_PIP_SAYS:-Installing collected packages: all of them}"
        sleep "${FAKE_PIP_SECONDS:-0}"
        echo "pip ends" >>"$FAKE_LOG"
        [[ -z ${FAKE_PIP_SAYS:-} ]] || exit 1
        [[ $* != *" -e "* ]] || cp "$FAKE_DFA" "${0%/*}/dfa"
        ;;
    "-m pytest"*) echo "1 passed" ;;
esac
[[ -z ${FAKE_FAILS:-} || "${0##*/} $*" != "$FAKE_FAILS"* ]]
"""
FAKE_DFA = '#!/usr/bin/env bash\nprintf "dfa in %s:" "$PWD"\nprintf " <%s>" "$@"\n'


class Checkout:
    """A clean copy of the tree in a folder with a space in its name, and a PATH with little in it."""

    def __init__(self, folder: Path, bin: Path) -> None:
        self.root, self.bin = folder / "a checkout", bin
        self.venv, self.log = self.root / ".venv", folder / "calls"
        copy_tree(self.root)
        dfa = bin.parent / "dfa"
        dfa.write_text(FAKE_DFA)
        dfa.chmod(0o755)
        self.environment = {
            "PATH": str(bin),
            "HOME": str(folder),
            "FAKE_LOG": str(self.log),
            "FAKE_DFA": str(dfa),
            "REAL_PYTHON": sys.executable,
        }

    def start(
        self, *command: str | Path, cwd: Path | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        # A process started in the background is deaf to Ctrl-C, and so is what it starts.
        ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd or self.root.parent,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # so that a signal to the group does not reach pytest
            )
        finally:
            signal.signal(signal.SIGINT, ignored)

    def run(self, *command: str | Path, cwd: Path | None = None, **environment: str) -> tuple[int, str, str]:
        process = self.start(*command, cwd=cwd, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def dfa(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        return self.run(self.root / "scripts/dfa", *arguments, cwd=None, **environment)

    def calls(self, start: str = "") -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.startswith(start)]

    def wait_for(self, call: str) -> None:
        deadline = time.monotonic() + 30
        while call not in self.calls():
            assert time.monotonic() < deadline, f"never called: {call}"
            time.sleep(0.01)


def copy_tree(target: Path) -> None:
    """What version control would hold: no environment, no runs, no caches."""
    left_out = (
        ".git",
        ".venv",
        ".venv.lock",
        "outputs",
        "__pycache__",
        ".pytest_cache",
        ".ruff_cache",
        "dist",
    )
    shutil.copytree(ROOT, target, symlinks=True, ignore=shutil.ignore_patterns(*left_out))


@pytest.fixture
def bare(tmp_path: Path) -> Checkout:
    """A machine with no Python at all."""
    bin = tmp_path / "bin"
    bin.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, f"{name} is not on this machine"
        (bin / name).symlink_to(found)
    return Checkout(tmp_path, bin)


def add_python(checkout: Checkout, name: str = "python3") -> None:
    (checkout.bin / name).write_text(FAKE_PYTHON)
    (checkout.bin / name).chmod(0o755)


@pytest.fixture
def checkout(bare: Checkout) -> Checkout:
    add_python(bare)
    return bare


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    """A checkout whose .venv has been made, with nothing in the log yet."""
    assert checkout.dfa()[0] == 0
    checkout.log.unlink()
    return checkout


# the first call
# --------------


def test_the_first_call_makes_the_environment_and_says_so_in_one_line(checkout: Checkout) -> None:
    code, out, err = checkout.dfa("train", "seed=1,2", "two words")
    assert code == 0
    assert out == f"dfa in {checkout.root.parent}: <train> <seed=1,2> <two words>"
    assert err == (
        "setup: making .venv with python3 (3.11), once: "
        "PyTorch and what else dfa needs, 1.6 GB with the CPU build, two minutes or more with the download\n"
    )
    *_, install = checkout.calls("python -m pip install")
    assert "-c constraints.txt" in install
    assert install.endswith("-e .[joblib]")
    assert "Installing collected packages" in (checkout.venv / "setup.log").read_text()


def test_the_tests_get_their_own_packages_and_dfa_then_needs_no_more(ready: Checkout) -> None:
    assert ready.run(ready.root / "scripts/setup", "test")[2] == "setup: bringing .venv up to date\n"
    assert ready.calls("python -m pip install")[-1].endswith("-e .[joblib,test]")
    ready.log.unlink()
    assert ready.dfa()[2] == ""
    assert ready.calls() == []


def test_an_unknown_level_is_refused(checkout: Checkout) -> None:
    code, _, err = checkout.run(checkout.root / "scripts/setup", "tests")
    assert (code, err) == (2, "setup: the level is 'tests'. It must be run or test.\n")


# later calls
# -----------


def test_a_later_call_starts_no_python_but_that_of_dfa(ready: Checkout) -> None:
    for name in ("python", "python3.13", "pip", "pip3", "cmp", "sha256sum"):
        add_python(ready, name)
    code, out, err = ready.dfa("--help")
    assert (code, out, err) == (0, f"dfa in {ready.root.parent}: <--help>", "")
    assert ready.calls() == []


def test_it_works_from_any_folder_and_through_symbolic_links(ready: Checkout, tmp_path: Path) -> None:
    first, second = tmp_path / "links", tmp_path / "more links"
    first.mkdir()
    second.mkdir()
    (first / "dfa").symlink_to(ready.root / "scripts/dfa")
    (second / "d").symlink_to("../links/dfa")
    for command, cwd in (
        (second / "d", first),
        ("scripts/dfa", ready.root),
        ("./dfa", ready.root / "scripts"),
        ("../a checkout/scripts/dfa", ready.root),
    ):
        assert ready.run(command, cwd=cwd)[:2] == (0, f"dfa in {cwd}: <>")
    assert ready.run("bash", "dfa", cwd=ready.root / "scripts")[0] == 0
    assert ready.run("d", cwd=first, PATH=f"{second}:{ready.bin}", CDPATH=str(tmp_path))[0] == 0
    assert ready.calls() == []


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_of_packages_is_installed_into_the_same_environment(
    ready: Checkout, file: str
) -> None:
    (ready.venv / "kept").touch()
    with (ready.root / file).open("a") as text:
        text.write("# changed\n")
    code, _, err = ready.dfa()
    assert (code, err) == (0, "setup: bringing .venv up to date\n")
    assert ready.calls("python -m pip install")
    assert not ready.calls("python3 -m venv")
    assert (ready.venv / "kept").exists()
    assert ready.dfa()[2] == ""


def test_an_environment_made_by_hand_is_kept_and_completed(checkout: Checkout) -> None:
    (checkout.venv / "bin").mkdir(parents=True)
    shutil.copy(checkout.bin / "python3", checkout.venv / "bin/python")
    (checkout.venv / "kept").touch()
    assert checkout.dfa()[0] == 0
    assert (checkout.venv / "kept").exists()
    assert checkout.calls("python -m pip install")


def test_a_moved_checkout_gets_a_new_environment(ready: Checkout) -> None:
    moved = ready.root.with_name("moved")
    ready.root.rename(moved)
    (moved / ".venv/of the old place").touch()
    code, _, err = ready.run(moved / "scripts/dfa")
    assert code == 0
    assert err.startswith("setup: making .venv")
    assert not (moved / ".venv/of the old place").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(ready: Checkout) -> None:
    (ready.venv / "bin/python").unlink()
    (ready.venv / "bin/python").symlink_to("/nowhere/python3.9")
    code, _, err = ready.dfa()
    assert code == 0
    assert err.startswith("setup: making .venv")


# interrupted, or together
# ------------------------


@pytest.mark.parametrize(
    ("send", "code"), [("SIGINT", 130), ("SIGTERM", -15), ("SIGHUP", -1), ("SIGKILL", -9)]
)
def test_an_interrupted_setup_is_finished_by_the_next_call(checkout: Checkout, send: str, code: int) -> None:
    process = checkout.start(checkout.root / "scripts/dfa", FAKE_PIP_SECONDS="30")
    checkout.wait_for("pip begins")
    os.killpg(process.pid, signal.Signals[send])
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert out == ""
    if send != "SIGKILL":
        assert err.endswith("setup: stopped before the end; the next call finishes the set-up\n")
    (checkout.venv / "half a package").touch()

    code, out, err = checkout.dfa("again")
    assert code == 0
    assert out.endswith("<again>")
    assert err.startswith("setup: making .venv")
    assert not (checkout.venv / "half a package").exists()


def test_one_that_was_interrupted_before_it_changed_anything_is_not_thrown_away(ready: Checkout) -> None:
    (ready.venv / "kept").touch()
    (ready.root / "constraints.txt").write_text("# other\n")
    assert ready.dfa(FAKE_PIP_SAYS="ERROR: no such version")[0] == 2
    assert ready.dfa()[2] == "setup: bringing .venv up to date\n"
    assert (ready.venv / "kept").exists()


def test_two_calls_at_once_make_one_environment(checkout: Checkout) -> None:
    command = checkout.root / "scripts/dfa"
    first = checkout.start(command, FAKE_PIP_SECONDS="0.5")
    checkout.wait_for("pip begins")
    others = [checkout.start(command) for _ in range(3)]
    for process in (first, *others):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.startswith("dfa in ")
        if process is not first:
            assert err == "setup: waiting for another set-up of this folder to end\n"
    assert len(checkout.calls("python3 -m venv")) == 1
    assert (
        checkout.calls("pip ") == ["pip begins", "pip ends"] * 2
    )  # Hatchling, then the rest; never interleaved


def test_one_that_waits_takes_over_when_the_other_is_killed(checkout: Checkout) -> None:
    command = checkout.root / "scripts/dfa"
    first = checkout.start(command, FAKE_PIP_SECONDS="30")
    checkout.wait_for("pip begins")
    second = checkout.start(command)
    time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=30)
    assert second.communicate(timeout=60)[0].startswith("dfa in ")
    assert second.returncode == 0


# what is missing, in one sentence
# --------------------------------


def sentence(result: tuple[int, str, str]) -> str:
    """The only line of a set-up that could not begin; nothing is half-made."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err.removeprefix("setup: ").rstrip("\n")


def test_no_python(bare: Checkout) -> None:
    assert sentence(bare.dfa()) == (
        "No Python was found (tried python3 python3.13 python3.12 python3.11 python3.10 python). "
        "Install Python 3.10 or newer, or name one with PYTHON=/path/to/python3."
    )
    assert not bare.venv.exists()


@pytest.mark.parametrize("version", ["3.9", "2.7"])
def test_an_old_python(checkout: Checkout, version: str) -> None:
    assert sentence(checkout.dfa(FAKE_VERSION=version)) == (
        f"Python 3.10 or newer is needed, and python3 is {version}. Install a newer one, "
        "or name one with PYTHON=/path/to/python3."
    )
    assert not checkout.venv.exists()


def test_an_old_python3_beside_a_newer_one_is_passed_over(checkout: Checkout) -> None:
    (checkout.bin / "python3").write_text("#!/usr/bin/env bash\necho 3.9\n")
    (checkout.bin / "python3.13").write_text(
        "#!/usr/bin/env bash\necho 'version manager: not active' >&2; exit 127\n"
    )
    (checkout.bin / "python3.13").chmod(0o755)
    add_python(checkout, "python3.12")
    code, _, err = checkout.dfa(FAKE_VERSION="3.12")
    assert code == 0
    assert err.startswith("setup: making .venv with python3.12 (3.12)")


def test_the_python_that_was_named_is_taken(checkout: Checkout) -> None:
    add_python(checkout, "my python")
    code, _, err = checkout.dfa(PYTHON=str(checkout.bin / "my python"))
    assert code == 0
    assert err.startswith(f"setup: making .venv with {checkout.bin / 'my python'} (3.11)")
    assert not checkout.calls("python3 ")


def test_the_python_that_was_named_does_not_run(checkout: Checkout) -> None:
    assert sentence(checkout.dfa(PYTHON="/no/python")) == (
        "PYTHON is '/no/python', which does not run. It must be the path of a Python 3.10 or newer, or unset."
    )


@pytest.mark.parametrize("modules", ["", "ensurepip pip", "pip", "venv"])
def test_no_venv_module(checkout: Checkout, modules: str) -> None:
    assert sentence(checkout.dfa(FAKE_MODULES=modules)) == (
        "python3 (3.11) has no venv module or no pip. "
        "Install them (Debian, Ubuntu: apt install python3-venv) and call again."
    )
    assert not checkout.venv.exists()


def test_without_ensurepip_the_machine_s_own_pip_does(checkout: Checkout) -> None:
    assert checkout.dfa(FAKE_MODULES="venv pip")[0] == 0
    assert checkout.calls("python3 -m venv") == [f"python3 -m venv --without-pip {checkout.venv}"]
    assert checkout.calls("python3 -m pip") == [
        f"python3 -m pip install --target {checkout.venv}/lib/python3.11/site-packages pip"
    ]


def test_a_folder_that_cannot_be_written(checkout: Checkout) -> None:
    (
        checkout.root / ".venv.lock"
    ).mkdir()  # refused to root as well, unlike a folder without write permission
    assert sentence(checkout.dfa()) == (
        f"{checkout.root} cannot be written, and its environment .venv is made there. "
        "Make it writable, or copy it to a folder that is."
    )


@pytest.mark.parametrize(
    ("pip_says", "reason"),
    [
        (
            "WARNING: Retrying (Retry(total=0, read=None)) after connection broken by 'NewConnectionError'\n"
            "ERROR: ResolutionImpossible",
            "The package index can't be reached. Connect this machine to it and call again",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "The disk is full. Free about 3 GB and call again",
        ),
    ],
)
def test_an_installation_that_fails_for_a_known_reason(
    checkout: Checkout, pip_says: str, reason: str
) -> None:
    code, out, err = checkout.dfa(FAKE_PIP_SAYS=pip_says)
    assert (code, out) == (2, "")
    assert err.splitlines()[1:] == [f"setup: {reason}. The log is {checkout.venv}/setup.log."]
    assert checkout.dfa()[0] == 0


def test_an_installation_that_fails_for_another_reason_shows_its_log(checkout: Checkout) -> None:
    code, _, err = checkout.dfa(FAKE_PIP_SAYS="ERROR: it rained")
    assert code == 2
    assert err.splitlines()[1:] == [
        "ERROR: it rained",
        "setup: The set-up failed for the reason shown above. Remove the reason and call again. "
        f"The whole log is {checkout.venv}/setup.log.",
    ]


# scripts/test, .ci/run
# ---------------------


@pytest.fixture
def tested(checkout: Checkout) -> Checkout:
    """A checkout whose .venv is ready for the tests."""
    assert checkout.run(checkout.root / "scripts/setup", "test")[0] == 0
    shutil.copy(checkout.bin / "python3", checkout.venv / "bin/ruff")
    checkout.log.unlink()
    return checkout


def test_everything_is_checked_and_pytest_closes(tested: Checkout) -> None:
    code, out, err = tested.run(tested.root / "scripts/test")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["== ruff format", "== ruff check", "== pyright", "== pytest", "1 passed"]
    assert tested.calls() == [
        "ruff format --check .",
        "ruff check .",
        f"python -m pyright --pythonpath {tested.venv}/bin/python",
        f"python -m pytest -c {tested.root}/pyproject.toml -n 2 --dist loadfile tests",
    ]


@pytest.mark.parametrize(
    ("fails", "name"),
    [
        ("ruff format", "ruff format"),
        ("ruff check", "ruff check"),
        ("python -m pyright", "pyright"),
        ("python -m pytest", "pytest"),
    ],
)
def test_all_is_shown_when_one_fails_and_the_exit_code_says_so(
    tested: Checkout, fails: str, name: str
) -> None:
    code, out, err = tested.run(tested.root / "scripts/test", FAKE_FAILS=fails)
    assert code == 1
    assert out.splitlines()[-2:] == ["== pytest", "1 passed"]
    assert err == ("" if name == "pytest" else f"== failed so far: {name}; the exit code will say so\n")


def test_arguments_go_to_pytest_alone(tested: Checkout) -> None:
    pytest_call = f"python -m pytest -c {tested.root}/pyproject.toml"
    for arguments, expected in (
        (["test_setup.py", "-k", "x"], "test_setup.py -k x"),
        (["test_setup.py::test_no_python"], "test_setup.py::test_no_python"),
        (["-k", "no such file"], f"-k no such file {tested.root}/tests"),
    ):
        code, out, _ = tested.run("../scripts/test", *arguments, cwd=tested.root / "tests")
        assert (code, out) == (0, "1 passed\n")
        assert tested.calls()[-1] == f"{pytest_call} {expected}"


def test_ci_runs_the_tests_and_returns_their_exit_code(checkout: Checkout) -> None:
    (checkout.root / "scripts/test").write_text('#!/usr/bin/env bash\necho "in $PWD: $*"\nexit 7\n')
    code, out, _ = checkout.run("bash", "a checkout/.ci/run", PATH=f"{checkout.bin}:{os.environ['PATH']}")
    assert (code, out) == (7, f"in {checkout.root}: \n")


# the files themselves
# --------------------


def test_the_scripts_pass_shellcheck() -> None:
    shellcheck = shutil.which(
        "shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if shellcheck is None:
        pytest.skip("shellcheck is not installed; the extra 'test' brings it")
    candidates = [
        *(ROOT / "scripts").iterdir(),
        ROOT / ".ci/run",
        ROOT / "studies/installation/bundle/install",
    ]
    scripts = [path for path in candidates if path.is_file() and b"bash" in path.read_bytes().split(b"\n")[0]]
    assert {"dfa", "run", "setup", "test"} <= {path.name for path in scripts}
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert all(os.access(path, os.X_OK) for path in scripts)


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_constraints_are_plain_pins() -> None:
    for pin in pins():
        assert pin.url is None
        assert [specifier.operator for specifier in pin.specifier] == ["=="]
        assert "+" not in str(pin.specifier)  # a local version such as 2.13.0+cpu is on no index
    names = [str(pin) for pin in pins()]
    assert len(names) == len(set(names))


def test_every_package_asked_for_is_pinned_within_its_range() -> None:
    pinned = {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in pins()
        if not pin.marker or pin.marker.evaluate()
    }
    for text in importlib.metadata.requires("dfa-cli") or []:
        wanted = Requirement(text)
        if wanted.name != "dfa-cli":
            assert wanted.specifier.contains(pinned[wanted.name]), wanted
    assert pinned["torch"] == "2.13.0"


def test_hooks_and_citation_agree_with_the_rest() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repository["repo"] for repository in hooks["repos"]} == {"local"}  # nothing is fetched
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks["repos"][0]["hooks"])
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == dfa_cli.__version__


# nothing is stood in
# -------------------


@pytest.mark.slow
def test_the_wheel_carries_conf_and_runs_from_any_folder(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="the extra 'test' brings it")
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    copy_tree(source)
    elsewhere.mkdir()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", "wheels", source]
    subprocess.run([*pip, *build], cwd=tmp_path, check=True)
    (wheel,) = (tmp_path / "wheels").iterdir()

    packed = set(zipfile.ZipFile(wheel).namelist())
    code = {
        path for ending in ("py", "jinja", "css", "js") for path in (ROOT / "dfa_cli").rglob(f"*.{ending}")
    }
    configuration = {path.relative_to(ROOT) for path in (ROOT / "conf").rglob("*.yaml")}
    assert configuration
    assert {path.relative_to(ROOT).as_posix() for path in code} <= packed
    assert {f"dfa_cli/{path.as_posix()}" for path in configuration} <= packed
    assert not any(name.startswith(("tests/", "conf/", "outputs/", "hydra_plugins/")) for name in packed)

    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", "site", wheel], cwd=tmp_path, check=True
    )
    shutil.rmtree(source)

    def installed(*command: str | Path) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "COLUMNS": "80"}
        done = subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = installed(sys.executable, "-c", "import dfa_cli; print(dfa_cli.__file__)")
    assert Path(where.strip()).is_relative_to(tmp_path / "site")
    dfa = tmp_path / "site/bin/dfa"
    assert "train" in installed(dfa, "--help")
    assert "GCNConv" in installed(dfa, "train", "--cfg", "job", "model=gcn") or "gcn" in installed(
        dfa, "--help"
    )
    assert list(elsewhere.iterdir()) == []

    program = tmp_path / "program.py"
    program.write_text(ANOTHER_PROGRAM)
    assert installed(sys.executable, program, f"hydra.run.dir={tmp_path}/ran", "lr=0.5") == "0.5\n"


ANOTHER_PROGRAM = """
# A program of somebody else's that uses Hydra, on a machine where dfa is installed.
from dataclasses import dataclass
import hydra
from hydra.core.config_store import ConfigStore

@dataclass
class Config:
    lr: float = 0.1

ConfigStore.instance().store(name="schema", node=Config)

@hydra.main(version_base="1.3", config_path=None, config_name="schema")
def main(config):
    print(config.lr)

main()
"""


@pytest.mark.slow
def test_from_nothing(tmp_path: Path) -> None:
    """A clean copy, the machine's Python and the package index. CI calls scripts/test in a clean checkout itself."""
    root = tmp_path / "a checkout"
    copy_tree(root)

    def call(*command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [root / command[0], *command[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if "The package index can't be reached" in done.stderr:
            pytest.skip("the package index can't be reached")
        return done

    first = call("scripts/dfa", "--help")
    assert first.returncode == 0, first.stderr
    assert "train" in first.stdout
    assert first.stderr.count("\n") == 1
    assert first.stderr.startswith("setup: making .venv with ")
    run = call("scripts/dfa", "train", "model=gcn", "device=opu_sim", "data=digits_graph", "epochs=2")
    assert run.returncode == 0, run.stderr
    assert "test accuracy" in run.stdout
    assert len(list(tmp_path.rglob("run.json"))) == 1
