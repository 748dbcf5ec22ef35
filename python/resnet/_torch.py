"""Networks of PyTorch, in memory."""

# What is imported inside functions takes longer than the rest of the package.
from typing import Any

from ._resnet import Imported, Network, ResnetError, compile, import_checkpoint, to_safetensors

TOLERANCE = 1e-3


def from_torch(
    module: Any,
    *,
    input: tuple[int, int] | None = None,
    batch: int = 1,
    threads: int = 1,
    exact: bool = False,
    memory: int | None = None,
    **options: Any,
) -> Network:
    """Compile a ResNet of torchvision, timm or transformers from the module itself.

    The layer table is derived from the names and shapes of the module's tensors and from what timm and transformers
    keep beside them, as `import_checkpoint` does for a folder; `options` are its keywords. What no tensor shows (strides,
    activations) may be assumed wrongly, so both are run on one random image, and an error is raised if they differ by
    more than a thousandth of the largest output.

    `input` is the height and width of images: the module's own, else 224 each (32 for stems of CIFAR).
    """
    state = {name: tensor.detach().cpu().float() if tensor.is_floating_point() else tensor.detach().cpu()
             for name, tensor in module.state_dict().items()}
    imported = _import(module, state, input, options)
    network = compile(imported, batch=batch, threads=threads, exact=exact, memory=memory)
    _compare(module, network, imported)
    return network


def _import(module: Any, state: Any, input: tuple[int, int] | None, options: dict[str, Any]) -> Imported:
    import json
    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name) / "module"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(to_safetensors(state))
        config = _config(module)
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))
        options = {"name": type(module).__name__.lower(), **options}
        if input is not None:
            options["input"] = input
        return import_checkpoint(folder, **options)


def _config(module: Any) -> dict[str, Any] | None:
    """What the library that made the module would write beside its weights."""
    timm = getattr(module, "pretrained_cfg", None)
    if isinstance(timm, dict) and "architecture" in timm:
        plain = {key: value for key, value in timm.items() if isinstance(value, int | float | str | list | tuple)}
        return {"architecture": timm["architecture"], "pretrained_cfg": plain}
    transformers = getattr(getattr(module, "config", None), "to_dict", None)
    if transformers is not None:
        return dict(transformers(), architectures=[type(module).__name__])
    return None


def _compare(module: Any, network: Network, imported: Imported) -> None:
    import numpy as np
    import torch  # type: ignore[import-not-found,unused-ignore]

    x = np.random.default_rng(0).normal(size=(1, *network.input)).astype(np.float32)
    training = module.training
    try:
        module.eval()
        parameter = next(module.parameters())
        with torch.no_grad():
            theirs = module(torch.from_numpy(x).to(parameter.device, parameter.dtype))
    finally:
        module.train(training)
    theirs = getattr(theirs, "logits", theirs)
    expected = theirs.detach().cpu().float().numpy().reshape(-1)
    found = network(x).reshape(-1)
    if expected.shape != found.shape:
        raise ResnetError(f"the module has {expected.size} outputs, and the table derived from it {found.size}")
    difference = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-30))
    if not difference <= TOLERANCE:
        notes = "\n".join(imported.notes)
        raise ResnetError(
            f"the module's outputs and those of the table derived from it differ by {difference:.1e} of the largest; "
            f"keywords tell what its tensors do not:\n{notes}"
        )
