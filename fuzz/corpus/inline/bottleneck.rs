#[resnet(batch = 8, memory = 64000000)]
Deep: 3x16x16 => {
    conv1:   conv(7x7, 8, stride = 2);
    pool1:   max_pool(3, stride = 2);
    conv2_x: bottleneck(32, groups = 2, squeeze_excitation = 8) * 2;
    avgpool: global_average_pool;
    fc:      linear(10);
    softmax: softmax;
}
