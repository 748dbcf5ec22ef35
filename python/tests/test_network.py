"""Answers, errors and threads, against PyTorch's golden files and the network that the repository carries."""

import ast
import inspect
import pathlib
import threading

import numpy as np
import pytest

import resnet

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
CIFAR = ROOT / "models" / "cifar10"

TINY = """\
name: tiny
input: 3x8x8
table:
  - {layer: conv, op: conv, kernel: 3, channels: 4}
  - {layer: pool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 5}
"""


def goldens() -> list[str]:
    return sorted(path.name.removesuffix(".input.npy") for path in GOLDEN.glob("*.input.npy"))


@pytest.mark.parametrize("name", goldens())
def test_answers_are_pytorchs(name: str) -> None:
    net = resnet.compile(GOLDEN / f"{name}.yaml", GOLDEN / f"{name}.safetensors")
    x = np.load(GOLDEN / f"{name}.input.npy").reshape(-1, *net.input)
    expected = np.load(GOLDEN / f"{name}.output.npy").reshape(len(x), -1)
    try:
        found = net(x).reshape(len(x), -1)
    except TypeError:
        found = np.concatenate([part.reshape(len(x), -1) for part in net.features(x).values()], axis=1)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_batches_threads_and_layouts_have_the_same_bits() -> None:
    net = resnet.compile(GOLDEN / "basic.yaml", GOLDEN / "basic.safetensors", threads=2)
    x = np.random.default_rng(1).normal(size=(3, *net.input)).astype(np.float32)
    expected = net(x)
    for other in (np.asfortranarray(x), x[::-1].copy()[::-1], np.repeat(x, 2, axis=3)[..., ::2]):
        assert np.array_equal(net(other), expected)
    portable = resnet.compile(GOLDEN / "basic.yaml", GOLDEN / "basic.safetensors", isa="portable")
    # It has no fused multiply-add, which rounds once.
    assert np.allclose(portable(x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert portable.isa == "portable"
    # For another batch other algorithms may be the fastest; with exact ones it makes no difference.
    one, three = (
        resnet.compile(GOLDEN / "basic.yaml", GOLDEN / "basic.safetensors", batch=batch, exact=True)
        for batch in (1, 3)
    )
    assert np.array_equal(one(x), three(x))
    assert net(x[:0]).shape == (0, net.outputs)


def test_threads_of_python_run_at_a_time() -> None:
    net = resnet.compile(GOLDEN / "basic.yaml", GOLDEN / "basic.safetensors")
    x = np.random.default_rng(2).normal(size=(8, 4, *net.input)).astype(np.float32)
    expected = [net(batch) for batch in x]
    found: list[list[np.ndarray]] = [[] for _ in range(4)]

    def work(answers: list[np.ndarray]) -> None:
        answers.extend(net(batch) for batch in x)

    threads = [threading.Thread(target=work, args=(answers,)) for answers in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(answers, expected) for answers in found)


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (np.zeros((1, 3, 8, 8)), TypeError, "found float64"),
        (np.zeros((1, 3, 8, 8), np.uint8), TypeError, "pictures are for `classify`"),
        (np.zeros((3, 8, 8), np.float32), ValueError, r"one image is `x\[None\]`"),
        (np.zeros((1, 3, 8, 9), np.float32), ValueError, r"\(N, 3, 8, 8\), found \(1, 3, 8, 9\)"),
        ([[1.0]], TypeError, "expected a numpy array"),
    ],
)
def test_what_is_no_batch_is_refused(x: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        resnet.compile(TINY)(x)


def test_mistakes_in_tables_have_places() -> None:
    with pytest.raises(resnet.TableError, match="kernl") as caught:
        resnet.check(TINY.replace("kernel", "kernl"))
    assert (caught.value.line, caught.value.column) == (4, 29)
    assert [mistake[:2] for mistake in caught.value.mistakes][0] == (4, 29)
    with pytest.raises(resnet.ResnetError, match="did you mean"):
        resnet.check("resnet19")
    with pytest.raises(resnet.ResnetError, match="conv1.weight"):
        resnet.compile(TINY, {"fc.weight": np.zeros((5, 4), np.float32)})
    with pytest.raises(TypeError, match="not int"):
        resnet.compile(TINY, 3)  # type: ignore[arg-type]


def test_what_is_nearly_always_a_mistake_is_warned_of() -> None:
    table = TINY.replace("3x8x8", "8x8x3")
    with pytest.warns(resnet.TableWarning, match="channels come first"):
        report = resnet.check(table)
    assert [name for name, _ in report.warnings] == ["channels_last_input"]
    assert resnet.check(f"allow: [channels_last_input]\n{table}").warnings == []


def test_reports_count() -> None:
    report = resnet.check("resnet50")
    assert (report.depth, report.params, report.macs) == (50, 25_557_032, 4_089_184_256)
    assert report.layers[0].output == (64, 112, 112)
    assert "25,557,032" in repr(report)
    assert report._repr_html_().startswith("<table>")
    assert "resnet18" in [model.name for model in resnet.models()]


def test_weights_may_be_a_state_dict() -> None:
    rng = np.random.default_rng(3)
    state = {
        "conv1.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "fc.weight": rng.normal(size=(5, 4)).astype(np.float32),
        "fc.bias": np.zeros(5, np.float32),
        "bn1.weight": np.ones(4, np.float32),
        "bn1.bias": np.zeros(4, np.float32),
        "bn1.running_mean": np.zeros(4, np.float32),
        "bn1.running_var": np.ones(4, np.float32),
    }
    net = resnet.compile(TINY, state)
    assert not net.has_random_weights
    assert net(np.ones((2, 3, 8, 8), np.float32)).shape == (2, 5)


def test_random_weights_classify_nothing() -> None:
    net = resnet.compile(TINY)
    assert net.has_random_weights and "random weights" in repr(net)
    with pytest.raises(ValueError, match="random weights"):
        net.classify([np.zeros((8, 8, 3), np.uint8)])


def test_images_are_classified_in_every_form() -> None:
    from PIL import Image

    net = resnet.compile(CIFAR / "resnet20.yaml", CIFAR / "resnet20.safetensors")
    paths = sorted((ROOT / "examples" / "pictures").glob("[01]*"))
    classes = net.classify([*paths], top=1)
    assert len(paths) == 12
    # The pictures are called after what they show.
    assert [answer[0][1] for answer in classes] == [path.stem.split("-")[1] for path in paths]
    path = paths[0]
    image = Image.open(path)
    forms = [path, str(path), path.read_bytes(), image, np.asarray(image.convert("RGB"))]
    answers = net.classify(forms)
    assert all(answer == answers[0] for answer in answers)
    assert abs(sum(probability for _, _, probability in net.classify([path], top=10)[0]) - 1) < 1e-6
    with pytest.raises(resnet.ResnetError, match="none.png"):
        net.classify(["none.png"])
    with pytest.raises(TypeError, match="expected a list"):
        net.classify(path)  # type: ignore[arg-type]


def test_checkpoints_are_imported() -> None:
    imported = resnet.import_checkpoint(GOLDEN / "import" / "basic.pth")
    assert "table:" in imported.table and imported.notes
    assert resnet.check(imported).depth > 1
    x = np.load(GOLDEN / "import" / "basic.input.npy")
    x = x.reshape(-1, *x.shape[-3:])
    net = resnet.compile(resnet.import_checkpoint(GOLDEN / "import" / "basic.pth", input=x.shape[-2:]))
    expected = np.load(GOLDEN / "import" / "basic.output.npy").reshape(len(x), -1)
    assert np.abs(net(x) - expected).max() <= 1e-4 * np.abs(expected).max()
    with pytest.raises(TypeError, match="`strid`: there is no such keyword"):
        resnet.import_checkpoint(GOLDEN / "import" / "basic.pth", strid=[1])
    with pytest.raises(ValueError, match='one of "relu"|not "rel"'):
        resnet.import_checkpoint(GOLDEN / "import" / "basic.pth", activation="rel")


def test_sweeps_and_profiles_have_numbers() -> None:
    tables = [resnet.family(repeats=[n] * 3, cifar=True, width=0.25) for n in (1, 2)]
    records = resnet.sweep(tables, seconds=0.01)
    assert [record["depth"] for record in records] == [8, 14]
    for record in records:
        times = [record[key] for key in ("min_ms", "lower_quartile_ms", "median_ms", "upper_quartile_ms")]
        assert 0 < times[0] and times == sorted(times)
    layers = resnet.compile(TINY).profile(0.0)
    assert sum(layer["macs"] for layer in layers) == resnet.check(TINY).macs


def test_weights_are_quantised() -> None:
    pictures = sorted((ROOT / "examples" / "pictures").glob("*.*g"))
    table, weights = CIFAR / "resnet20.yaml", CIFAR / "resnet20.safetensors"
    quantized = resnet.quantize(table, weights, pictures, keep=["conv1"], threads=2)
    layers = {layer["name"]: layer for layer in quantized.layers}
    assert layers["conv1"]["precision"] == "f32" and layers["conv1"]["reason"]
    assert layers["conv2_x.0.conv1"]["precision"] == "int8" and layers["conv2_x.0.conv1"]["output_snr_db"] > 20
    net, small = resnet.compile(table, weights), resnet.compile(table, quantized)
    assert (net.precision, small.precision) == ("f32", "int8")
    assert "int8" in repr(small) and "int8" in repr(quantized)
    assert [top[0][1] for top in small.classify(pictures)] == [top[0][1] for top in net.classify(pictures)]
    x = np.random.default_rng(5).normal(size=(4, *net.input)).astype(np.float32)
    again = resnet.compile(table, quantized.safetensors(), isa="portable")
    assert np.array_equal(small(x), again(x))
    # From prepared images, whose values are other ones.
    assert resnet.quantize(table, weights, x).safetensors() != quantized.safetensors()
    for calibration, options, text in [
        ([], {}, "no picture"),
        (pictures, {"keep": ["conv9"]}, "conv9"),
        (pictures, {"method": "guess"}, "least-squares"),
        ([*pictures, ROOT / "README.md"], {}, "README.md"),
    ]:
        with pytest.raises(resnet.ResnetError, match=text):
            resnet.quantize(table, weights, calibration, **options)
    with pytest.raises(resnet.ResnetError, match="already"):
        resnet.quantize(table, quantized.safetensors(), x)
    with pytest.raises(TypeError, match="weights"):
        resnet.quantize(table, None, x)


def test_what_numpy_and_pytorch_can_view_is_read_as_it_is_meant() -> None:
    net = resnet.compile(TINY)
    x = np.random.default_rng(6).normal(size=(2, 3, 8, 8)).astype(np.float32)
    assert np.array_equal(net(x.astype(">f4")), net(x))
    with pytest.raises(TypeError, match="masked"):
        net(np.ma.masked_array(x, mask=x > 0))

    class Negated:
        """A view as PyTorch has them: of memory that is negated when it is read."""

        def __dlpack__(self, **options: object) -> object:
            return x.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return x.__dlpack_device__()

        def is_neg(self) -> bool:
            return True

        def resolve_neg(self) -> np.ndarray:
            return -x

    assert np.array_equal(net(Negated()), net(-x))
    state = {"fc.weight": np.ones((5, 4), ">f4"), "fc.bias": np.arange(5, dtype=">f4")}
    native = {name: tensor.astype("=f4") for name, tensor in state.items()}
    assert resnet._resnet.to_safetensors(state) == resnet._resnet.to_safetensors(native)


def test_odd_images_are_refused_in_words() -> None:
    from PIL import Image

    net = resnet.compile(CIFAR / "resnet20.yaml", CIFAR / "resnet20.safetensors")
    cat = (ROOT / "examples" / "pictures" / "04-cat.png").read_bytes()
    assert net.classify([bytearray(cat), memoryview(cat)]) == net.classify([cat, cat])
    for image, text in [
        (Image.new("I;16", (8, 8)), "mode I;16"),
        (np.zeros((3, 8, 8), np.uint8), r"not \(3, 8, 8\); `x.transpose"),
        (np.zeros((8, 8, 4), np.uint8), "fourth channel"),
        (np.zeros((8, 8, 3), np.float32), "not float32"),
        (b"", "image 1: the file is empty"),
    ]:
        with pytest.raises((TypeError, ValueError), match=text):
            net.classify([cat, image])
    with pytest.raises(TypeError, match="several are `list"):
        net.classify(np.zeros((2, 8, 8, 3), np.uint8))


def test_two_bytes() -> None:
    image = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    single, half = (resnet.compile(TINY, precision=precision) for precision in ("f32", "bf16"))
    assert (single.precision, half.precision) == ("f32", "bf16")
    expected, found = single(image), half(image)
    assert 0 < np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_times_and_precisions_are_checked() -> None:
    net = resnet.compile(TINY, precision="f32")
    for call, text in [
        (lambda: net.bench(-1), "seconds"),
        (lambda: net.bench(0, batch=0), "batch"),
        (lambda: net.profile(float("nan")), "seconds"),
        (lambda: resnet.compile(TINY, precision="int8"), "quantize"),
        (lambda: resnet.compile(TINY, precision="f16"), '"int8"'),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
    with pytest.raises(TypeError, match="list of tables"):
        resnet.sweep("resnet18")
    with pytest.raises(TypeError, match="from_torch"):
        resnet.compile(type("Module", (), {"state_dict": None})())


def test_docstrings_are_those_of_the_stubs() -> None:
    stubs = pathlib.Path(resnet.__file__).with_name("_resnet.pyi")
    documented = 0

    def check(found: object, node: ast.AST, doc: str | None) -> None:
        nonlocal documented
        documented += 1
        assert doc and inspect.getdoc(found) == inspect.cleandoc(doc), ast.unparse(node)

    for node in ast.parse(stubs.read_text()).body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        item = getattr(resnet._resnet, node.name)
        check(item, node, ast.get_docstring(node))
        members = node.body if isinstance(node, ast.ClassDef) and not issubclass(item, (Exception,)) else []
        for member, after in zip(members, [*members[1:], None]):
            if isinstance(member, ast.FunctionDef) and not member.name.startswith("_repr"):
                # What Python has a special name for has a docstring of Python's own.
                if not member.name.startswith("__"):
                    check(getattr(item, member.name), member, ast.get_docstring(member))
            elif isinstance(member, ast.AnnAssign) and isinstance(after, ast.Expr):
                assert isinstance(after.value, ast.Constant) and isinstance(member.target, ast.Name)
                check(getattr(item, member.target.id), member, str(after.value.value))
    assert documented > 30
