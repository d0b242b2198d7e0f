"""The limit of the control groups, read from files as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfa_cli.machine import cpu


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5, id="version 2, in a container"),
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, None, id="version 2, no limit"),
        pytest.param(
            "0::/a/b\n",
            {"a/b/cpu.max": "800000 100000\n", "a/cpu.max": "200000 100000\n"},
            2.0,
            id="version 2, a lower limit above",
        ),
        pytest.param(
            "4:cpu,cpuacct:/job\n2:memory:/other\n",
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "400000\n",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
                "memory/other/cpu.cfs_quota_us": "100000\n",
                "memory/other/cpu.cfs_period_us": "100000\n",
            },
            4.0,
            id="version 1",
        ),
        pytest.param(
            "3:cpu:/docker/outside\n",
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.5,
            id="version 1, in a container",
        ),
        pytest.param(
            "3:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
            id="version 1, no limit",
        ),
        pytest.param("0::/gone\n", {}, None, id="no files"),
    ],
)
def test_the_lowest_limit_counts(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    groups: str,
    files: dict[str, str],
    expected: float | None,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "cgroup").write_text(groups)
    monkeypatch.setattr(cpu, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(cpu, "CGROUPS", tmp_path)
    assert cpu.quota() == expected


def test_a_system_without_control_groups_has_no_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cpu, "CGROUP", tmp_path / "none")
    assert cpu.quota() is None
