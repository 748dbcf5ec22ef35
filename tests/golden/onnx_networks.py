"""Small ONNX files as exporters other than PyTorch's write them: node by node, with what sets them apart."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """Nodes and initialisers of a graph, in a row."""

    def __init__(self, random):
        self.random, self.nodes, self.tensors = random, [], []

    def tensor(self, name, values, floats=False):
        """`floats`: as a list of numbers, as old files have them."""
        if floats:
            made = helper.make_tensor(name, TensorProto.FLOAT, values.shape, values.ravel().tolist())
        else:
            made = numpy_helper.from_array(values, name)
        self.tensors.append(made)
        return name

    def numbers(self, name, *shape, low=-1.0, high=1.0, **keys):
        return self.tensor(name, self.random.uniform(low, high, shape).astype("f4"), **keys)

    def node(self, op, inputs, **attributes):
        output = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}_", **attributes))
        return output

    def constant(self, values):
        tensor = numpy_helper.from_array(np.asarray(values))
        return self.node("Constant", [], value=tensor)

    def conv(self, x, inputs, channels, kernel, stride=1, bias=False, pads=None, **keys):
        name = f"conv{len(self.nodes)}"
        bound = (6 / (inputs * kernel * kernel)) ** 0.5
        weights = [self.numbers(f"{name}_w", channels, inputs, kernel, kernel, low=-bound, high=bound, **keys)]
        if bias:
            weights.append(self.numbers(f"{name}_b", channels, low=-0.5, high=0.5, **keys))
        pads = [kernel // 2] * 4 if pads is None else pads
        shape = [kernel, kernel]
        return self.node("Conv", [x, *weights], kernel_shape=shape, strides=[stride] * 2, pads=pads)

    def norm(self, x, channels, **keys):
        name = f"norm{len(self.nodes)}"
        ranges = {"gamma": (0.5, 1.0), "beta": (-0.3, 0.3), "mean": (-0.3, 0.3), "var": (0.5, 2.0)}
        tensors = [self.numbers(f"{name}_{n}", channels, low=l, high=h, **keys) for n, (l, h) in ranges.items()]
        return self.node("BatchNormalization", [x, *tensors], epsilon=1.1e-5)

    def relu(self, x):
        return self.node("Relu", [x])

    def save(self, path, output, shape, classes, opset, ir, list_tensors=False):
        inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)]
        if list_tensors:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.tensors]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[0], classes])]
        graph = helper.make_graph(self.nodes, "network", inputs, outputs, self.tensors)
        opsets = [helper.make_opsetid("", opset)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir), path)


def old(path, random):
    """Operator set 7, weights as lists and among the inputs, biases on some convolutions, the stride on the
    first convolution of a bottleneck: as MXNet exported its first residual networks."""
    net = Writer(random)
    lists = dict(floats=True)
    x = net.relu(net.norm(net.conv("data", 3, 6, 7, 2, **lists), 6, **lists))
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 6
    for width, stride in ((3, 1), (4, 2)):
        for number in range(2):
            stride = stride if number == 0 else 1
            main = net.norm(net.conv(x, inputs, width, 1, stride, bias=True, **lists), width, **lists)
            main = net.norm(net.conv(net.relu(main), width, width, 3, **lists), width, **lists)
            main = net.conv(net.relu(main), width, 4 * width, 1, bias=True, **lists)
            main = net.norm(main, 4 * width, **lists)
            if number == 0:
                x = net.norm(net.conv(x, inputs, 4 * width, 1, stride, **lists), 4 * width, **lists)
            x = net.relu(net.node("Add", [main, x]))
            inputs = 4 * width
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    weights = [net.numbers("dense_w", 5, inputs, **lists), net.numbers("dense_b", 5, **lists)]
    x = net.node("Gemm", [x, *weights], alpha=1.0, beta=1.0, transA=0, transB=1)
    net.save(path, x, [1, 3, 37, 33], 5, opset=7, ir=3, list_tensors=True)


def old_pre_activation(path, random):
    """Norms before convolutions, and one of the picture."""
    net = Writer(random)
    x = net.norm("data", 3)
    x = net.relu(net.norm(net.conv(x, 3, 6, 7, 2), 6))
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 6
    for channels, stride in ((6, 1), (8, 2)):
        for number in range(2):
            stride = stride if number == 0 else 1
            first = net.relu(net.norm(x, inputs))
            main = net.norm(net.conv(first, inputs, channels, 3, stride), channels)
            main = net.conv(net.relu(main), channels, channels, 3)
            if inputs != channels or stride != 1:
                x = net.conv(first, inputs, channels, 1, stride)
            x = net.node("Add", [main, x])
            inputs = channels
    x = net.node("Flatten", [net.node("GlobalAveragePool", [net.relu(net.norm(x, inputs))])])
    weights = [net.numbers("dense_w", inputs, 5), net.numbers("dense_b", 5)]
    x = net.node("Gemm", [x, *weights])
    net.save(path, x, [1, 3, 37, 33], 5, opset=7, ir=3, list_tensors=True)


def padded(path, random):
    """Interleaved pictures, norms folded, pads as nodes, a matrix and an addition, softmax: as Keras's networks
    are converted; and words that say the same in another way."""
    net = Writer(random)
    x = net.node("Transpose", ["data"], perm=[0, 3, 1, 2])
    x = net.node("Pad", [x, net.constant([0, 0, 3, 3, 0, 0, 3, 3])])
    x = net.relu(net.conv(x, 3, 6, 7, 2, bias=True, pads=[0] * 4))
    x = net.node("Pad", [x, net.constant([0, 0, 1, 1, 0, 0, 1, 1])], mode="constant")
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
    inputs, zero = 6, net.tensor("zero", np.float32(0))
    for width, stride in ((3, 1), (4, 2)):
        for number in range(2):
            stride = stride if number == 0 else 1
            main = net.node("Clip", [net.conv(x, inputs, width, 1, stride, bias=True), zero])
            same = net.conv(main, width, width, 3, bias=True)
            del net.nodes[-1].attribute[:]
            net.nodes[-1].attribute.append(helper.make_attribute("auto_pad", "SAME_UPPER"))
            main = net.conv(net.relu(net.node("Identity", [same])), width, 4 * width, 1, bias=True)
            if number == 0:
                x = net.conv(x, inputs, 4 * width, 1, stride, bias=True)
            x = net.relu(net.node("Add", [x, main]))
            inputs = 4 * width
    x = net.node("ReduceMean", [x], axes=[-2, -1], keepdims=0)
    x = net.node("MatMul", [x, net.numbers("dense_w", inputs, 5)])
    x = net.node("Softmax", [net.node("Add", [x, net.numbers("dense_b", 5)])], axis=-1)
    net.save(path, x, ["unknown", 37, 33, 3], 5, opset=13, ir=7)


def keras(path, random):
    """Pictures of bytes with interleaved channels, prepared in the graph; batch norms as Mul and Add, or as the
    five nodes that are left if nothing is folded; explicit uneven pads; a mean and a matrix at the end: as Keras 3's
    networks are converted."""
    net = Writer(random)

    def norm(x, channels, unfolded=False):
        shape, name = (1, channels, 1, 1), f"bn{len(net.nodes)}"
        if not unfolded:
            scaled = net.node("Mul", [net.numbers(f"{name}_s", *shape, low=0.5), x])
            return net.node("Add", [scaled, net.numbers(f"{name}_t", *shape, low=-0.3, high=0.3)])
        variance = net.numbers(f"{name}_v", *shape, low=0.5, high=2.0)
        root = net.node("Sqrt", [net.node("Add", [variance, net.tensor(f"{name}_e", np.float32(1e-3))])])
        x = net.node("Sub", [x, net.numbers(f"{name}_m", *shape, low=-0.3, high=0.3)])
        x = net.node("Mul", [net.node("Div", [x, root]), net.numbers(f"{name}_g", *shape, low=0.5)])
        return net.node("Add", [x, net.numbers(f"{name}_b", *shape, low=-0.3, high=0.3)])

    mean = net.tensor("mean", np.array([123.675, 116.28, 103.53], "f4"))
    x = net.node("Sub", ["data", mean])
    x = net.node("Div", [x, net.tensor("std", np.array([[[[58.395, 57.12, 57.375]]]], "f4"))])
    x = net.node("Transpose", [x], perm=[0, 3, 1, 2])
    x = net.relu(norm(net.conv(x, 3, 6, 7, 2, bias=True), 6))
    x = net.node("Pad", [x, net.constant([0, 0, 0, 0, 0, 0, 1, 1])], mode="constant")
    x = net.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
    inputs = 6
    for channels, stride in ((6, 1), (8, 2)):
        main = net.relu(norm(net.conv(x, inputs, channels, 3, stride, bias=True), channels))
        main = norm(net.conv(main, channels, channels, 3, bias=True), channels, unfolded=True)
        if inputs != channels:
            x = norm(net.conv(x, inputs, channels, 1, stride, bias=True), channels)
        x = net.relu(net.node("Add", [x, main]))
        inputs = channels
    x = net.node("Transpose", [x], perm=[0, 2, 3, 1])
    x = net.node("ReduceMean", [x], axes=[1, 2], keepdims=0)
    x = net.node("Max", [net.node("MatMul", [x, net.numbers("hidden_w", inputs, 7)]), net.tensor("zero", np.float32(0))])
    x = net.node("MatMul", [x, net.numbers("dense_w", 7, 5)])
    net.save(path, x, ["unknown", 37, 33, 3], 5, opset=13, ir=7)


NETWORKS = [
    ("old.onnx", old, (1, 3, 37, 33)),
    ("old-pre-activation.onnx", old_pre_activation, (1, 3, 37, 33)),
    ("padded.onnx", padded, (2, 3, 37, 33)),
    ("keras.onnx", keras, (2, 3, 37, 33)),
]
