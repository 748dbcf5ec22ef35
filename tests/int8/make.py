"""Makes the goldens of quantised networks, by the definition alone: sums in integers, then float32
operations one by one, as docs of `resnet_runtime::weights::quantised` say. Wants NumPy and safetensors.

    python3 tests/int8/make.py

Weights, scales and zero points are random; every constant that is folded is computed in float64 and
rounded once.
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
F32 = np.float32


class Scale:
    """What the bytes of an activation stand for."""

    def __init__(self, scale, zero):
        self.scale, self.zero = F32(scale), int(zero)

    def bytes_of(self, x):
        """float32 to bytes: multiply by the reciprocal, clamp, round half to even, add the zero point."""
        factor = F32(1.0 / np.float64(self.scale))
        v = np.minimum(np.maximum(x * factor, F32(-self.zero)), F32(255 - self.zero))
        return (np.rint(v) + F32(self.zero)).astype(np.uint8)

    def f32_of(self, q):
        return (q.astype(F32) - F32(self.zero)) * self.scale


class Network:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.tensors = {}
        self.scales = {}

    def layer(self, name, outputs, inputs, kernel, groups=1, scale=None):
        """Random tensors of a quantised layer; `scale` is what its input's bytes stand for."""
        shape = (outputs, inputs // groups, kernel, kernel) if kernel else (outputs, inputs)
        products = int(np.prod(shape[1:]))
        weight = self.rng.integers(-127, 128, shape).astype(np.int8)
        # Sums of some thousand products come to numbers of order 1.
        weight_scale = (self.rng.uniform(0.5, 1.5, outputs) / (73 * np.sqrt(products))).astype(F32)
        self.tensors[f"{name}.weight"] = weight
        self.tensors[f"{name}.weight_scale"] = weight_scale
        self.tensors[f"{name}.bias"] = self.rng.normal(0, 0.3, outputs).astype(F32)
        self.tensors[f"{name}.input_scale"] = np.array([scale.scale], F32)
        self.tensors[f"{name}.input_zero_point"] = np.array([scale.zero], np.uint8)
        self.scales[name] = scale

    def conv(self, name, x, out, stride=1, padding=0, groups=1, residual=None, relu=True):
        """`x` are bytes; the output is bytes of scale `out`, or float32 if that is None. A residual is a
        pair of values and their scale, or None in its place for float32."""
        weight = self.tensors[f"{name}.weight"].astype(np.int64)
        if weight.ndim == 2:
            weight = weight.reshape(weight.shape[0], x.shape[1], x.shape[2], x.shape[3])
        sx, zx = np.float64(self.scales[name].scale), self.scales[name].zero
        padded = np.full((x.shape[0], x.shape[1], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding), zx, np.int64)
        padded[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]] = x
        rows = (padded.shape[2] - weight.shape[2]) // stride + 1
        columns = (padded.shape[3] - weight.shape[3]) // stride + 1
        outputs = weight.shape[0]
        sums = np.zeros((x.shape[0], outputs, rows, columns), np.int64)
        group_in, group_out = weight.shape[1], outputs // groups
        for group in range(groups):
            inputs = padded[:, group * group_in : (group + 1) * group_in]
            of = slice(group * group_out, (group + 1) * group_out)
            for i in range(weight.shape[2]):
                for j in range(weight.shape[3]):
                    window = inputs[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride][:, :, :rows, :columns]
                    sums[:, of] += np.einsum("nchw,oc->nohw", window, weight[of, :, i, j])
        sy, zy = (np.float64(out.scale), out.zero) if out else (np.float64(1), 0)
        factor = sx * self.tensors[f"{name}.weight_scale"].astype(np.float64) / sy
        total = weight.reshape(outputs, -1).sum(1).astype(np.float64)
        shift = self.tensors[f"{name}.bias"].astype(np.float64) / sy - zx * total * factor
        at = lambda v: v.astype(F32).reshape(1, -1, 1, 1)
        v = sums.astype(np.int32).astype(F32) * at(factor)
        v = v + at(shift)
        if residual is not None:
            values, scale = residual
            sr, zr = (np.float64(scale.scale), scale.zero) if scale else (np.float64(1), 0)
            v = v + (values.astype(F32) - F32(zr)) * F32(sr / sy)
        if out:
            low = max(0, -zy) if relu else -zy
            v = np.minimum(np.maximum(v, F32(low)), F32(255 - zy))
            return (np.rint(v) + F32(zy)).astype(np.uint8)
        return np.maximum(v, F32(0)) if relu else v

    def scale(self, zero=0, most=3.0):
        return Scale(self.rng.uniform(0.8, 1.2) * most / 255, zero)


def max_pool(x):
    """3x3, stride 2, padding 1, of bytes."""
    padded = np.zeros((x.shape[0], x.shape[1], x.shape[2] + 2, x.shape[3] + 2), np.uint8)
    padded[:, :, 1:-1, 1:-1] = x
    rows, columns = (x.shape[2] - 1) // 2 + 1, (x.shape[3] - 1) // 2 + 1
    windows = [padded[:, :, i : i + 2 * rows : 2, j : j + 2 * columns : 2][:, :, :rows, :columns] for i in range(3) for j in range(3)]
    return np.max(windows, axis=0)


def mean(x):
    """The kernel's order of additions: four running sums a row, of every fourth column."""
    return x.astype(np.float64).mean((2, 3), keepdims=True).astype(F32)


def zero_pad(x, channels, zero):
    y = np.full((x.shape[0], channels, (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2), zero, np.uint8)
    before = (channels - x.shape[1]) // 2
    y[:, before : before + x.shape[1]] = x[:, :, ::2, ::2]
    return y


def save(name, net, table, x, y):
    save_file(net.tensors, HERE / f"{name}.safetensors", {"format": "pt"})
    (HERE / f"{name}.yaml").write_text(table)
    np.save(HERE / f"{name}.input.npy", x)
    np.save(HERE / f"{name}.output.npy", y.reshape(y.shape[0], -1))


def basic():
    """torchvision's stem, a projection, an identity, odd sizes; the last block and the projection are f32."""
    net = Network(1)
    x = net.rng.normal(0, 1, (3, 3, 37, 29)).astype(F32)
    picture, pooled, a, b, c, d, e = (Scale(5 / 255, 117), *(net.scale() for _ in range(6)))
    net.layer("conv1", 12, 3, 7, scale=picture)
    net.layer("layer1.0.conv1", 12, 12, 3, scale=pooled)
    net.layer("layer1.0.conv2", 12, 12, 3, scale=a)
    net.layer("layer2.0.conv1", 40, 12, 3, scale=b)
    net.layer("layer2.0.conv2", 40, 40, 3, scale=c)
    net.layer("layer2.0.downsample.0", 40, 12, 1, scale=b)
    net.layer("layer2.1.conv1", 40, 40, 3, scale=d)
    net.layer("layer2.1.conv2", 40, 40, 3, scale=e)
    head = net.scale(most=2.0)
    net.layer("fc", 10, 40, 0, scale=head)
    q = net.conv("conv1", picture.bytes_of(x), pooled, stride=2, padding=3)
    q = max_pool(q)
    t = net.conv("layer1.0.conv1", q, a, padding=1)
    q = net.conv("layer1.0.conv2", t, b, padding=1, residual=(q, pooled))
    t = net.conv("layer2.0.conv1", q, c, stride=2, padding=1)
    shortcut = net.conv("layer2.0.downsample.0", q, None, stride=2, relu=False)
    q = net.conv("layer2.0.conv2", t, d, padding=1, residual=(shortcut, None))
    t = net.conv("layer2.1.conv1", q, e, padding=1)
    y = net.conv("layer2.1.conv2", t, None, padding=1, residual=(q, d))
    y = net.conv("fc", head.bytes_of(mean(y)), None, relu=False)
    table = """# Quantised: torchvision's stem, basic blocks with a projection and an identity, odd sizes.
name: int8-basic
input: 3x37x29
table:
  - {layer: conv1, op: conv, kernel: 7, stride: 2, channels: 12, output: 12x19x15}
  - {layer: pool1, op: max_pool, kernel: 3, stride: 2, output: 12x10x8}
  - {layer: conv2_x, op: basic, channels: 12, output: 12x10x8}
  - {layer: conv3_x, op: basic, repeat: 2, channels: 40, stride: 2, output: 40x5x4}
  - {layer: avgpool, op: global_average_pool, output: 40x1x1}
  - {layer: fc, op: linear, channels: 10}
"""
    save("basic", net, table, x, y)


def option_a():
    """CIFAR's blocks with zero-padded shortcuts of bytes, a signed picture of one channel."""
    net = Network(2)
    x = net.rng.normal(0, 1, (2, 1, 12, 15)).astype(F32)
    picture, a, b, c, d = (Scale(6 / 255, 130), *(net.scale() for _ in range(4)))
    net.layer("conv1", 16, 1, 3, scale=picture)
    net.layer("layer1.0.conv1", 16, 16, 3, scale=a)
    net.layer("layer1.0.conv2", 16, 16, 3, scale=b)
    net.layer("layer2.0.conv1", 33, 16, 3, scale=c)
    net.layer("layer2.0.conv2", 33, 33, 3, scale=d)
    e, f = net.scale(), net.scale()
    net.layer("layer2.1.conv1", 33, 33, 3, scale=e)
    net.layer("layer2.1.conv2", 33, 33, 3, scale=f)
    head = net.scale(most=2.0)
    net.layer("fc", 5, 33, 0, scale=head)
    q = net.conv("conv1", picture.bytes_of(x), a, padding=1)
    t = net.conv("layer1.0.conv1", q, b, padding=1)
    q = net.conv("layer1.0.conv2", t, c, padding=1, residual=(q, a))
    t = net.conv("layer2.0.conv1", q, d, stride=2, padding=1)
    q = net.conv("layer2.0.conv2", t, e, padding=1, residual=(zero_pad(q, 33, c.zero), c))
    t = net.conv("layer2.1.conv1", q, f, padding=1)
    y = net.conv("layer2.1.conv2", t, None, padding=1, residual=(q, e))
    y = net.conv("fc", head.bytes_of(mean(y)), None, relu=False)
    table = """# Quantised: zero-padded shortcuts, a picture of one channel.
name: int8-option-a
input: 1x12x15
table:
  - {layer: conv1, op: conv, kernel: 3, channels: 16}
  - {layer: conv2_x, op: basic, channels: 16, shortcut: zero_pad}
  - {layer: conv3_x, op: basic, repeat: 2, channels: 33, stride: 2, shortcut: zero_pad}
  - {layer: avgpool, op: global_average_pool}
  - {layer: fc, op: linear, channels: 5}
"""
    save("option-a", net, table, x, y)


def bottleneck():
    """1x1 convolutions, groups, a picture of 20 channels, a linear layer over pixels."""
    net = Network(3)
    x = net.rng.normal(0, 1, (3, 20, 9, 8)).astype(F32)
    picture = Scale(6 / 255, 128)
    a, b, c, d = (net.scale() for _ in range(4))
    net.layer("layer1.0.conv1", 32, 20, 1, scale=picture)
    net.layer("layer1.0.conv2", 32, 32, 3, groups=4, scale=a)
    net.layer("layer1.0.conv3", 128, 32, 1, scale=b)
    net.layer("layer1.0.downsample.0", 128, 20, 1, scale=picture)
    net.layer("layer1.1.conv1", 32, 128, 1, scale=c)
    e, f = net.scale(), net.scale()
    net.layer("layer1.1.conv2", 32, 32, 3, groups=4, scale=d)
    net.layer("layer1.1.conv3", 128, 32, 1, scale=e)
    net.layer("fc", 6, 128 * 9 * 8, 0, scale=f)
    q = picture.bytes_of(x)
    t = net.conv("layer1.0.conv1", q, a)
    t = net.conv("layer1.0.conv2", t, b, padding=1, groups=4)
    shortcut = net.conv("layer1.0.downsample.0", q, None, relu=False)
    q = net.conv("layer1.0.conv3", t, c, residual=(shortcut, None))
    t = net.conv("layer1.1.conv1", q, d)
    t = net.conv("layer1.1.conv2", t, e, padding=1, groups=4)
    q = net.conv("layer1.1.conv3", t, f, residual=(q, c))
    y = net.conv("fc", q, None, relu=False)
    table = """# Quantised: bottlenecks, groups, a picture of many channels, a linear layer over pixels.
name: int8-bottleneck
input: 20x9x8
allow: [flattened_pixels]
table:
  - {layer: conv2_x, op: bottleneck, repeat: 2, channels: 128, width: 32, groups: 4}
  - {layer: fc, op: linear, channels: 6}
"""
    save("bottleneck", net, table, x, y)


if __name__ == "__main__":
    basic()
    option_a()
    bottleneck()
