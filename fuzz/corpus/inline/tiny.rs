pub Tiny: 3x32x32 => {
    conv1:   conv(3x3, 16)                                       -> 32x32;
    conv2_x: basic(16) * 3                                       -> 32x32;
    conv3_x: basic(32, stride = 2, shortcut = zero_pad) * 3      -> 16x16;
    avgpool: global_average_pool                                 -> 1x1;
    fc:      linear(10);

    expect = { depth = 14, params = 0.07e6 };
    preprocess = { mean = [0.4914, 0.4822, 0.4465], std = [0.2470, 0.2435, 0.2616] };
}
