"""What is trained where a data set can neither be found nor downloaded, and where the user is told.

No test has a network. Where the number of questions to servers matters, a proxy counts them and refuses each.
"""

from __future__ import annotations

import re
import shutil
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from program import Answer, Dfa, Run

from dfa_cli.config.compose import compose_run
from dfa_cli.data.catalogue import CATALOGUE
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError

SMALL = ("model.hidden=[8]", "epochs=2", "mirrors=[]")
DEFAULTS = [("fc", "mnist", "digits"), ("gcn", "cora", "digits_graph")]
HOSTS = {
    name: sorted({urlsplit(address).netloc for address in item.files[0].addresses})
    for name, item in CATALOGUE.items()
    if item.files
}


def sentence(taken: str, missing: str) -> str:
    return f"{taken}, in place of {missing}, which could not be had: dfa data fetch {missing}"


@pytest.fixture
def alone(dfa: Dfa) -> Dfa:
    """Give `dfa` an empty cache, no mirror and no network."""
    dfa.environment["DFA_DATA_MIRROR"] = ""
    return dfa


def sweep(dfa: Dfa, *words: str) -> Answer:
    return dfa("sweep", *dfa.arguments(*words))


def refused(answer: Answer, dfa: Dfa, names: tuple[str, ...], stand_in: str) -> None:
    """Check that a command refused with one short sentence, which says what to type, and left nothing."""
    assert answer.code == 2, answer.err
    (line,) = [line for line in answer.err.splitlines() if not line.startswith("note: ")]
    assert len(line) < 250
    assert " and ".join(names) in line
    assert f"dfa data fetch {' '.join(names)}`" in line
    assert "DFA_DATA_MIRROR=FOLDER" in line
    assert re.search(rf"data={stand_in}\b(?!_)", line)
    assert not any(host in line for name in names for host in HOSTS[name])
    assert "epoch" not in answer.out
    assert dfa.left() == []


class TestASingleRun:
    @pytest.mark.parametrize(("model", "missing", "taken"), DEFAULTS)
    def test_uses_a_stand_in_for_its_default_data_set_and_says_so_first_and_last(
        self, model: str, missing: str, taken: str, alone: Dfa, dfa_in: Callable[[str], Dfa]
    ) -> None:
        answer = alone.train(f"model={model}", *SMALL, "device=cpu", "progress=lines")
        assert answer.code == 0, answer.err
        said = sentence(taken, missing)
        first, *_, last = answer.out.splitlines()
        assert first == f"{model} [8], trained by dfa on cpu, seed 0, on {said}"
        summary = answer.out.split("\n\n")[-1].splitlines()
        assert summary[0] == last == said
        assert summary[1].startswith("test accuracy")
        (run,) = alone.runs()
        assert run.record["data_fallback"] == said
        assert run.record["choices"]["data"] == taken
        assert f"_{model}-{taken}-" in run.folder.name, "the folder is named after the missing data set"
        named = dfa_in("named").run(f"model={model}", *SMALL, "device=cpu", f"data={taken}")
        assert named.record["data_fallback"] is None
        assert named.record["identity"] == run.record["identity"]
        assert named.repeatable == run.repeatable

    def test_says_so_on_stderr_where_nothing_else_is_printed(self, alone: Dfa) -> None:
        answer = alone.train("model=gcn", *SMALL, "progress=none")
        assert (answer.code, answer.out) == (0, "")
        assert answer.err == f"note: {sentence('digits_graph', 'cora')}\n"

    def test_has_the_answers_of_the_hosts_in_its_log_sorted(self, alone: Dfa) -> None:
        answer = alone.train("model=gcn", *SMALL)
        (run,) = alone.runs()
        (line,) = [line for line in run.log.splitlines() if "cora could not be had" in line]
        places = [line.find(f"{host}: ") for host in HOSTS["cora"]]
        assert min(places) > 0
        assert places == sorted(places)
        assert str(alone.root / "cache") in line, "the folder in which it was looked for"
        assert not any(host in answer.out + answer.err for host in HOSTS["cora"])

    def test_chooses_the_tuned_values_of_the_data_set_that_it_uses(self, alone: Dfa) -> None:
        alone.train("model=gcn", "epochs=1", "mirrors=[]")
        (run,) = alone.runs()
        assert run.record["choices"]["tuned"] in ("gcn_digits_graph_dfa", None)
        assert "data=digits_graph" in (run.folder / ".hydra" / "overrides.yaml").read_text()

    def test_that_is_repeated_says_so_again(self, alone: Dfa) -> None:
        alone.train("model=gcn", *SMALL)
        answer = alone("rerun", "last", str(alone.outputs), "--outputs", str(alone.outputs))
        assert answer.code == 0, answer.err
        assert sentence("digits_graph", "cora") in answer.out.splitlines()[0]
        assert [run.record["data_fallback"] for run in alone.runs()] == [sentence("digits_graph", "cora")] * 2

    @pytest.mark.parametrize(
        ("words", "missing", "stand_in"),
        [
            (("data=mnist",), "mnist", "digits"),
            (("data=cora",), "cora", "digits"),
            (("model=gcn", "data=cora"), "cora", "digits_graph"),
            (("model=gat", "data=pubmed"), "pubmed", "digits_graph"),
            (("experiment=rules",), "mnist", "digits"),
            (("model=gcn", "data.name=citeseer"), "citeseer", "digits_graph"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_is_refused_if_the_data_set_was_named(
        self, words: tuple[str, ...], missing: str, stand_in: str, alone: Dfa
    ) -> None:
        refused(alone.train(*words, *SMALL), alone, (missing,), stand_in)

    @pytest.mark.parametrize("words", [["model=gcn"], ["model=gcn", "data=cora"]], ids=" ".join)
    def test_that_python_starts_is_refused(
        self, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dfa: Dfa
    ) -> None:
        from dfa_cli.launch.task import run_spec

        for name, value in {**dfa.environment, "DFA_DATA_MIRROR": ""}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("urllib.request._opener", None)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "run").mkdir()
        spec = compose_run([*words, "mirrors=[]", "progress=none"])
        with pytest.raises(
            DfaError, match=r"^The data set cora can .*data=digits_graph, which needs no download\.$"
        ):
            run_spec(spec, tmp_path / "run")
        record = Run(tmp_path / "run").record
        assert record["status"] == "failed"
        assert "dfa data fetch cora" in record["error"]["message"]


class TestASweep:
    @pytest.mark.parametrize(
        ("words", "names", "stand_in"),
        [
            (("model=gcn", "rule=bp,shallow"), ("cora",), "digits_graph"),
            (("rule=bp,shallow",), ("mnist",), "digits"),
            (("data=cora", "seed=0,1"), ("cora",), "digits"),
            (("model=gcn", "data=digits_graph,cora"), ("cora",), "digits_graph"),
            (("model=fc,gcn", "model.hidden=[8]"), ("mnist", "cora"), "digits_graph"),
            (("experiment=rules",), ("mnist", "cora"), "digits_graph"),
            (("experiment=mnist_fc", "rule=bp"), ("mnist",), "digits"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_is_refused_once_with_every_missing_data_set(
        self, words: tuple[str, ...], names: tuple[str, ...], stand_in: str, alone: Dfa
    ) -> None:
        refused(sweep(alone, *words, "epochs=1", "mirrors=[]"), alone, names, stand_in)

    def test_by_train_m_is_refused_too(self, alone: Dfa) -> None:
        answer = alone("train", "-m", *alone.arguments("model=gcn", "seed=0,1", *SMALL))
        refused(answer, alone, ("cora",), "digits_graph")

    @pytest.mark.parametrize(
        ("words", "names"),
        [
            (("model=gcn",), ("cora",)),
            (("model=gcn", "data=digits_graph,citeseer"), ("citeseer",)),
            (("model=fc,gcn",), ("mnist", "cora")),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_that_searches_is_refused(
        self, words: tuple[str, ...], names: tuple[str, ...], alone: Dfa
    ) -> None:
        pytest.importorskip("optuna")
        answer = sweep(
            alone, *words, *SMALL, "sweeper=optuna", "sweeper.n_trials=2", "optimizer.lr=interval(0.001,0.1)"
        )
        assert answer.code == 2
        assert f"dfa data fetch {' '.join(names)}`" in answer.err
        assert alone.folders() == []

    def test_runs_with_the_embedded_data_set_that_the_refusal_names(self, alone: Dfa) -> None:
        (stand_in,) = re.findall(r"data=digits\w*", sweep(alone, "model=gcn", "seed=0,1", *SMALL).err)
        answer = sweep(alone, "model=gcn", "seed=0,1", *SMALL, stand_in)
        assert answer.code == 0, answer.err
        assert [run.record["data_fallback"] for run in alone.runs()] == [None, None]

    def test_needs_no_data_when_all_its_runs_are_there(self, alone: Dfa) -> None:
        """The records of a run that was made elsewhere are enough."""
        words = ("model=gcn", "rule=bp", *SMALL, "device=cpu")
        assert alone.train(*words).code == 0, "on a stand-in, whose identity is that of data=digits_graph"
        assert sweep(alone, *words, "data=digits_graph").code == 0
        assert len(alone.runs()) == 1


class Refusing(socketserver.BaseRequestHandler):
    """Answers each request to the proxy with 502, and writes down what was asked."""

    def handle(self) -> None:
        asked = self.request.recv(4096).split(b"\r\n")[0].decode()
        self.server.asked.append(asked)  # type: ignore[attr-defined]
        self.request.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def asked(alone: Dfa) -> Iterator[list[str]]:
    """The requests that `dfa` has made to a proxy through which nothing can be had."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.server_address[1]}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        alone.environment.update(dict.fromkeys(names, proxy))
        yield server.asked  # type: ignore[attr-defined]
        server.shutdown()


class TestTheNetwork:
    def test_is_asked_once_for_a_data_set_of_many_jobs(self, asked: list[str], alone: Dfa) -> None:
        answer = sweep(alone, "model=gcn", "rule=bp,shallow", "seed=range(6)", *SMALL)
        assert answer.code == 2
        assert sorted(word.split()[1] for word in asked) == [f"{host}:443" for host in HOSTS["cora"]]

    @pytest.mark.parametrize("place", ["cache", "mirror"])
    def test_is_not_asked_for_a_data_set_that_is_here(self, place: str, asked: list[str], alone: Dfa) -> None:
        source = Source.default()
        roots = [
            root / "Cora" for root in (source.cache, *source.mirrors) if root and (root / "Cora").is_dir()
        ]
        if source.where("cora") == "to be fetched" or not roots:
            pytest.skip("no copy of cora on this machine")
        shutil.copytree(roots[0], alone.root / place / "Cora")
        alone.environment["DFA_DATA_MIRROR"] = str(alone.root / "mirror")
        answer = sweep(alone, "model=gcn", "rule=bp", "seed=0,1", *SMALL)
        assert answer.code == 0, answer.err
        assert [run.record["choices"]["data"] for run in alone.runs()] == ["cora", "cora"]
        assert asked == []
