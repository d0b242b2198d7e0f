"""A run and a commit are described in words, even where the record lacks parts."""

from __future__ import annotations

import pytest

from dfa_cli.records.words import commit_in_words, run_in_words

CHOICES = {"model": "gcn", "data": "cora", "rule": "dfa", "device": "opu_sim"}


@pytest.mark.parametrize(
    ("config", "choices", "words"),
    [
        ({"rule": {}, "seed": 3}, {}, "gcn on cora, trained by dfa on opu_sim, seed 3"),
        ({"rule": {"needs": "nothing"}, "seed": 3}, {"rule": "bp"}, "gcn on cora, trained by bp, seed 3"),
        ({"rule": {}, "device": {"where": "cuda"}, "seed": 3}, {"device": "auto"},
         "gcn on cora, trained by dfa on cuda, seed 3"),
        ({"rule": {}, "device": "?"}, {"device": "auto"}, "gcn on cora, trained by dfa on auto, seed –"),
        ({"rule": {}, "seed": 3, "model": {"hidden": [64, 8]}}, {},
         "gcn [64, 8] on cora, trained by dfa on opu_sim, seed 3"),
        ({"rule": {}, "seed": 3, "data_fallback": "digits, in place of mnist, which could not be had: ..."},
         {"data": "digits"}, "gcn on digits for mnist, trained by dfa on opu_sim, seed 3"),
        ({"rule": {}, "seed": 3}, {"device/readout": "off_axis", "device/drift": "none", "device/camera": "cmos"},
         "gcn on cora, trained by dfa on opu_sim, device/readout=off_axis, seed 3"),
        ({"rule": {}, "seed": 3}, {"device": "opu_holographic", "device/readout": "off_axis", "device/drift": "medium"},
         "gcn on cora, trained by dfa on opu_holographic, device/drift=medium, seed 3"),
        ({"rule": {}, "seed": 3}, {"device": "../mine", "device/readout": "off_axis"},
         "gcn on cora, trained by dfa on ../mine, device/readout=off_axis, seed 3"),
        ({"rule": {}, "seed": 3, "precision": "bf16"}, {},
         "gcn on cora, trained by dfa on opu_sim, precision=bf16, seed 3"),
        ({"rule": {"needs": "nothing"}, "seed": 3, "precision": "tf32"}, {"rule": "bp"},
         "gcn on cora, trained by bp, precision=tf32, seed 3"),
        ({"rule": {}, "seed": 3, "precision": "fp32"}, {}, "gcn on cora, trained by dfa on opu_sim, seed 3"),
        ({}, dict.fromkeys(CHOICES), "– on –, trained by –, seed –"),
    ],
)  # fmt: skip
def test_a_run_in_words(config: dict, choices: dict, words: str) -> None:
    assert run_in_words(config, CHOICES | choices) == words


def test_a_commit_in_words() -> None:
    commit = "0123456789abcdef"
    assert commit_in_words({"commit": commit, "dirty": False}) == commit
    assert commit_in_words({"commit": commit, "dirty": True}, digits=10) == "0123456789 with changes"
    assert commit_in_words({"commit": None, "dirty": None}) is commit_in_words(None) is None
