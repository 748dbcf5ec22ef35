"""Networks of PyTorch, in memory."""

# What is imported inside functions takes longer than the rest of the package.
import warnings
from typing import Any

from ._resnet import (
    Imported,
    Network,
    ResnetError,
    TableWarning,
    compile,
    import_checkpoint,
    to_safetensors,
)

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
    more than a thousandth of the largest output. How images are normalised, which only `classify` needs, is the
    configuration's, or ImageNet's where there are 1000 classes; where it is not known, a `TableWarning` says so.

    `input` is the height and width of images: the module's own, else 224 each (32 for stems of CIFAR).
    """
    if not hasattr(module, "state_dict"):
        raise TypeError(f"expected a module of PyTorch's, found {type(module).__name__}")
    state = {name: tensor.detach().cpu().float() if tensor.is_floating_point() else tensor.detach().cpu()
             for name, tensor in module.state_dict().items()}
    imported = _import(module, state, input, options)
    for note in imported.notes:
        if note.startswith("unknown:"):
            warnings.warn(f"{note}, which are keywords; `classify` needs it", TableWarning, stacklevel=2)
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
        config = _config(module, state)
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))
        options = {"name": type(module).__name__.lower(), **options}
        if input is not None:
            options["input"] = input
        try:
            return import_checkpoint(folder, **options)
        except ResnetError as error:
            raise ResnetError(str(error).replace(f"`{folder}`", "the module")) from None


def _config(module: Any, state: Any) -> dict[str, Any] | None:
    """What the library that made the module would write beside its weights."""
    timm = getattr(module, "pretrained_cfg", None)
    if isinstance(timm, dict) and "architecture" in timm:
        kept = (int, float, str, list, tuple)
        plain: dict[str, Any] = {key: value for key, value in timm.items() if isinstance(value, kept)}
        # The module may have been made, or changed, for other classes, channels and pools than the configuration's.
        plain.pop("num_classes", None)
        channels = next((tensor.shape[1] for tensor in state.values() if tensor.ndim == 4), 3)
        if plain.get("input_size", [channels])[0] != channels:
            plain["input_size"] = [channels, *plain["input_size"][1:]]
            for key in plain.keys() & {"mean", "std"}:
                plain[key] = [sum(plain[key]) / len(plain[key])] * channels
            text = f"assumed: each of the {channels} channels of images is normalised by the mean of the configuration's"
            warnings.warn(text, TableWarning, stacklevel=4)
        config = {"architecture": timm["architecture"], "pretrained_cfg": plain}
        pool = getattr(getattr(module, "global_pool", None), "pool_type", None)
        if pool:
            config["global_pool"] = pool
        return config
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
    if not isinstance(theirs, torch.Tensor):
        raise ResnetError(f"the module returns {type(theirs).__name__}; expected one tensor, or its `logits`")
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
