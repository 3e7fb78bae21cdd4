"""FLOPs of XLM-R counted from its sizes, against the published model and against torch's own count."""

import json
from pathlib import Path

import pytest

from training import flops
from training.flops import Sizes
from training.pretrained.config import model_config

LARGE = Sizes(layers=24, width=1024, inner=4096, heads=16, vocabulary=250_002, positions=514, segments=1)


def test_the_published_large_model() -> None:
    assert LARGE.matmul_parameters == 301_989_888
    assert LARGE.parameters == 558_840_832  # xlm-roberta-large without its pooler


@pytest.mark.parametrize(
    ("length", "forward", "training"), [(40, 0.608, 1.824), (128, 0.617, 1.850), (512, 0.654, 1.963)]
)
def test_operations_per_token_by_length(length: int, forward: float, training: float) -> None:
    """0.604 GF + 98.3 kF x length."""
    sequences = 7
    told = (LARGE, sequences * length, sequences * length**2)
    assert flops.forward_flops(*told) / (sequences * length) == pytest.approx(forward * 1e9, rel=1e-3)
    assert flops.training_flops(*told) / (sequences * length) == pytest.approx(training * 1e9, rel=1e-3)


def test_a_predicted_token_costs_most_of_a_read_one() -> None:
    assert flops.forward_flops(LARGE, 0, 0, predicted_tokens=1) == pytest.approx(0.514e9, rel=1e-3)


@pytest.mark.slow
def test_sizes_are_those_of_a_real_model_and_its_counted_operations(tmp_path: Path) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import XLMRobertaConfig, XLMRobertaModel

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = XLMRobertaConfig(vocab_size=50, max_position_embeddings=40, type_vocab_size=1, **sizes)
    model = XLMRobertaModel._from_config(config, attn_implementation="eager", add_pooling_layer=False)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    found = model_config(tmp_path).sizes
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    ids = torch.full((2, 20), 5)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    assert counter.get_total_flops() == flops.forward_flops(found, 2 * 20, 2 * 20**2)


def test_sizes_that_a_config_leaves_out_are_those_of_transformers() -> None:
    from transformers import XLMRobertaConfig

    config = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9}
    given = config | {"max_position_embeddings": 16}
    whole = XLMRobertaConfig(**given).to_dict()
    assert flops.sizes_of(given) == flops.sizes_of(whole)


@pytest.mark.parametrize(
    ("name", "bf16", "fp32"),
    [
        ("NVIDIA H200", 989.4, 66.9),
        ("NVIDIA H200 NVL", 835.5, 60.0),
        ("NVIDIA H100 80GB HBM3", 989.4, 66.9),
        ("NVIDIA H100 PCIe", 756.0, 51.2),
        ("NVIDIA A100-SXM4-80GB", 312.0, 19.5),
        ("NVIDIA A40", 149.7, 37.4),
        ("NVIDIA L40S", 362.05, 91.6),
        ("Tesla V100-SXM2-32GB", None, 15.7),
        ("Tesla V100-PCIE-16GB", None, 14.0),
        ("NVIDIA RTX 6000 Ada Generation", 364.2, 91.1),
        ("NVIDIA GeForce RTX 4090", 165.2, 82.6),
        ("NVIDIA GeForce RTX 3090 Ti", None, None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, None),
        ("NVIDIA A4000", None, None),
        ("a GPU of next year", None, None),
    ],
)
def test_peaks_by_the_name_that_torch_gives(name: str, bf16: float | None, fp32: float | None) -> None:
    for wanted, of_bf16 in ((bf16, True), (fp32, False)):
        found = flops.device_peak(name, bf16=of_bf16)
        assert found == (None if wanted is None else pytest.approx(wanted * 1e12))


def test_mfu_is_a_share_of_all_devices_and_nothing_where_the_peak_is_unknown() -> None:
    assert flops.mfu(3e12, 2.0, 1e12, devices=3) == pytest.approx(0.5)
    assert flops.mfu(3e12, 2.0, None) is None and flops.mfu(3e12, 0.0, 1e12) is None
