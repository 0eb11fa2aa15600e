"""The benchmark of a GPU, as far as it needs none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu import embeddings, images, llama, outcomes, whisper, work
from benchmarks.gpu.__main__ import limits_of, report
from benchmarks.gpu.limits import peak_bandwidth, peak_flops
from benchmarks.gpu.outcomes import Failed, Figure, Named, Skipped
from benchmarks.gpu.parts import PARTS, Part, chosen, line, run
from models.device import hardware
from tests.conftest import CPU, ROOT

LIMITS = ["--limits", "1e12", "2e9"]


def part(name: str, *needs: str) -> Part:
    return Part(name, f"tests.benchmarks.parts_that_fail:{name}", needs)


# Work ---------------------------------------------------------------------------------------------


def test_operations_of_linear_layers_and_attention():
    assert work.linear(3, 10) == 60
    # Two texts of 2 and 3 tokens: scores and sums, of width 8 in 5 layers.
    assert work.attention([2, 3], 5, 8) == 5 * 2 * 2 * 8 * (4 + 9)
    assert work.attention([4], 1, 8, causal=True) == work.attention([4], 1, 8) / 2


def test_operations_are_those_that_torch_counts():
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    from torch.utils.flop_counter import FlopCounterMode

    tokens, heads, width = 12, 2, 16
    layer = torch.nn.Linear(heads * width, 3 * heads * width, bias=False)
    with FlopCounterMode(display=False) as counter:
        q, k, v = layer(torch.ones(1, tokens, heads * width)).chunk(3, -1)
        split = [one.unflatten(-1, (heads, width)).transpose(1, 2) for one in (q, k, v)]
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            scaled_dot_product_attention(*split)
    expected = work.linear(tokens, layer.weight.numel())
    assert counter.get_total_flops() == expected + work.attention([tokens], 1, heads * width)


def test_shares():
    assert work.share(5e12, 10, 1e12) == 0.5
    assert work.share(5e12, 10, None) is None
    assert work.decode_bytes(100, 4, 10, 2) == 180


def test_full_sizes_are_those_of_the_models():
    """To a few hundredths; the encoder of BGE-M3 without its embeddings, Llama with its head."""
    head = llama.FULL["vocab_size"] * llama.FULL["hidden_size"]
    assert llama.layer_weights(llama.FULL) + 2 * head == pytest.approx(8.03e9, rel=0.01)
    assert llama.token_bytes(llama.FULL, 2) == 131_072
    assert embeddings.operations([1], embeddings.FULL) == pytest.approx(0.604e9, rel=0.01)
    assert whisper.operations(whisper.FULL, 1) == pytest.approx(2.26e12, rel=0.02)


def test_operations_of_a_picture_are_counted():
    """Of FLUX.1-schnell's transformer a token meets little more than half of the weights."""
    import torch
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"), torch.no_grad():
        schnell = FluxTransformer2DModel()
        given = {
            "hidden_states": torch.empty(1, 4096, 64),
            "encoder_hidden_states": torch.empty(1, 512, 4096),
            "pooled_projections": torch.empty(1, 768), "timestep": torch.empty(1),
            "img_ids": torch.empty(4096, 3), "txt_ids": torch.empty(512, 3),
        }  # fmt: skip
        step = images.operations(lambda: schnell(**given))
    assert sum(one.numel() for one in schnell.parameters()) == pytest.approx(11.9e9, rel=0.01)
    met = (step - work.attention([4608], 57, 3072)) / 2 / 4608
    assert met == pytest.approx(6.5e9, rel=0.02)


def test_texts_fill_runs_up_to_the_budget():
    sizes = [5, 1, 3, 9, 2]
    packed = embeddings.runs(sizes, 10, packs=True)
    assert packed == [[9], [5, 3, 2], [1]]
    padded = embeddings.runs(sizes, 10, packs=False)
    assert padded == [[9], [5, 3], [2, 1]]
    assert embeddings.runs([20], 10, packs=True) == [[20]]
    mixed = embeddings.lengths(1000, mixed=True)
    assert min(mixed) >= 10
    assert max(mixed) <= 500


def test_what_a_device_reaches():
    assert peak_flops(CPU, 256) > 1e8
    assert peak_bandwidth(CPU, 1 << 20) > 1e7


# Parts --------------------------------------------------------------------------------------------


def test_parts_are_chosen_by_name():
    assert chosen([]) == list(PARTS)
    assert [one.name for one in chosen(["llama", "flux"])] == ["flux", "llama"]
    with pytest.raises(KeyError):
        chosen(["nonsense"])


def test_every_part_is_there():
    from importlib import import_module

    for one in PARTS:
        if not one.missing:
            module, _, name = one.measure.partition(":")
            assert callable(getattr(import_module(module), name))


def test_a_part_that_goes_well():
    found = run(part("well"), LIMITS)
    assert found == [
        Figure("the first", 2.0, "s"), Figure("all", 1e12, "operations", 0.5, "arithmetic"),
    ]  # fmt: skip
    assert line(part("well"), found, 3.4) == "well: 2 figures in 3 s"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises", "MemoryError: CUDA out of memory. Tried to allocate"),
        ("crashes", "ended by SIGSEGV"),
        ("leaves", "ended with status 7"),
    ],
)
def test_a_part_that_fails_says_why_and_keeps_what_it_has(name, reason, capfd):
    found = run(part(name))
    assert found == [Figure("the first", 2.0, "s"), Failed(reason)]
    assert line(part(name), found, 1) == f"{name}: failed: {reason} (1 figures before that)"
    if name == "raises":
        assert "Traceback" in capfd.readouterr().err


def test_a_part_that_hangs_is_ended_with_what_it_started():
    start = time.monotonic()
    figure, failed = run(part("hangs"), limit_s=8)
    assert time.monotonic() - start < 60
    assert failed == Failed("not done after 8 s")
    assert isinstance(figure, Figure)
    state = Path(f"/proc/{figure.value:.0f}/stat")
    for _ in range(100):  # whoever inherits it may take a moment
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the child is still there")


def test_a_parts_files_are_removed():
    [figure] = run(part("litters"))
    assert isinstance(figure, Figure)
    assert not Path(figure.what).exists()


def test_a_library_that_is_missing_is_named():
    lacking = part("well", "json", "no_such_library")
    found = run(lacking)
    assert found == [Skipped("", "no_such_library not installed")]
    assert line(lacking, found, 0) == "well: skipped: no_such_library not installed"


# Outcomes -----------------------------------------------------------------------------------------

TOLD = [
    Named("device", "a GPU"), Figure("eager, 4 at once", 0.5, "s a picture", 0.25, "arithmetic"),
    Skipped("fp8", "no torchao"), Failed("it"),
]  # fmt: skip


def test_outcomes_are_read_again(tmp_path):
    file = tmp_path / "outcomes"
    assert outcomes.read(file) == []
    file.write_text("".join(map(outcomes.line, TOLD)) + outcomes.line(TOLD[0])[:-5])
    assert outcomes.read(file) == TOLD


def test_names_and_rows():
    assert outcomes.named("flux", TOLD) == {
        "device": "a GPU",
        "flux_eager_4_at_once_s_a_picture": 0.5,
        "flux_eager_4_at_once_s_a_picture_share": 0.25,
    }
    assert outcomes.rows("flux", TOLD) == [
        ("flux", "eager, 4 at once", "0.5", "s a picture", "0.25 of arithmetic"),
        ("flux", "fp8", "", "", "skipped: no torchao"),
    ]


def test_limits_are_handed_on():
    found = [Figure("a matrix product", 700.0, "TFLOP/s"), Figure("a copy", 3000.0, "GB/s")]
    assert limits_of(found) == ["--limits", "700000000000000.0", "3000000000000.0"]
    assert limits_of([Failed("it")]) == []


def test_the_report_ends_with_a_line_of_figures_and_the_status(capsys):
    good = {"limits": [Named("device", "a GPU")], "flux": TOLD[:3]}
    assert report(good) == 0
    assert "failed" not in json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report({**good, "klein": [Failed("it")]}) == 1
    said = capsys.readouterr().out.splitlines()
    assert "on a GPU" in said
    assert json.loads(said[-1])["failed"] == "klein"


@pytest.mark.skipif(hardware.detect().kind == "cuda", reason="there is a GPU")
def test_without_a_gpu_there_is_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.count("\n") == 1
    assert "no NVIDIA GPU" in done.stdout


@pytest.mark.timeout(300)
def test_a_small_part_runs_here():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--small", "--only", "llama"], cwd=ROOT,
        capture_output=True, text=True, check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout.splitlines()[-1])
    assert values["llama_decoding_4_at_once_tokens_s"] > 0
    # Of a limit that is measured too: beside other work it may come out as more than all.
    assert values["llama_decoding_4_at_once_tokens_s_share"] > 0
