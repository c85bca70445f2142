"""How a call reaches the arithmetic, and what a signature says of it."""

import inspect
import traceback
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode

import ntxent
from ntxent import InfoNCELoss, MoCoLoss, NTXentLoss, SupConLoss

SOURCE = str(Path(ntxent.__file__).parent)
Z1, Z2 = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) // 2
CALLS = {
    "NTXentLoss": lambda: NTXentLoss(0.5)(Z1, Z2),
    "SupConLoss": lambda: SupConLoss(0.5)(Z1, LABELS),
    "InfoNCELoss": lambda: InfoNCELoss(0.5)(Z1, Z2),
}


class Product(TorchFunctionMode):
    """Notes the frames of the package between a call and its first matrix product."""

    def __init__(self):
        super().__init__()
        self.chain = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.mm and not self.chain:
            frames = traceback.extract_stack()
            self.chain = [
                f"{f.filename}:{f.lineno} {f.name}" for f in frames if "ntxent/" in f.filename
            ]
            self.chain = [frame for frame in self.chain if "/tests/" not in frame]
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CALLS)
def test_six_frames_lead_from_a_module_to_the_matrix_product(name):
    with Product() as product:
        CALLS[name]()
    assert 1 <= len(product.chain) <= 6, "\n".join(product.chain)


OPTIONS = {
    "reduction": "mean",
    "weights": None,
    "normalize": True,
    "engine": "auto",
    "distributed": "auto",
    "process_group": None,
    "check_values": None,
}


@pytest.mark.parametrize("name", ["nt_xent_loss", "sup_con_loss", "info_nce_loss"])
def test_the_signature_of_a_loss_shows_every_option_with_its_default(name):
    parameters = inspect.signature(getattr(ntxent, name)).parameters
    shown = {option: p.default for option, p in parameters.items()}
    assert shown | OPTIONS | {"temperature": 0.5, "scale": None} == shown


@pytest.mark.parametrize("module", [NTXentLoss, SupConLoss, InfoNCELoss, MoCoLoss])
def test_the_constructor_of_a_loss_shows_every_option_with_its_default(module):
    parameters = inspect.signature(module).parameters
    shown = {option: p.default for option, p in parameters.items()}
    assert shown | OPTIONS | {"learnable": False} == shown
    assert "temperature" in shown
    assert "scale" not in shown


REFUSED = {
    "a misspelt option": ({"reductoin": "sum"}, TypeError, r"reductoin: .*did you mean reduction"),
    "an unknown option": ({"margin": 1}, TypeError, "margin: received an option that .* expected"),
    "a scale beside the temperature": ({"scale": 3.0}, TypeError, "scale: received 3.0"),
    "a temperature in quotes": ({"temperature": "0.1"}, TypeError, "temperature: received str"),
    "an unknown reduction": ({"reduction": "avg"}, ValueError, "reduction: received 'avg'"),
    "an unknown engine": ({"engine": "fast"}, ValueError, "engine: received 'fast'"),
    "an unknown mode": ({"distributed": "all"}, ValueError, "distributed: received 'all'"),
    "a word for a truth value": ({"normalize": "no"}, ValueError, "normalize: received 'no'"),
    "what belongs to a batch": ({"ids": LABELS}, TypeError, "ids: .*with each batch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_module_refuses_a_wrong_option_when_it_is_built(name):
    options, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        NTXentLoss(**options)


def test_a_moco_loss_refuses_what_it_decides_itself():
    with pytest.raises(
        TypeError, match="symmetric: received an option that MoCoLoss does not have"
    ):
        MoCoLoss(8, 4, symmetric=True)
