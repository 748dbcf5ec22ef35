// Classifies images in one batch, with the table and the weights in memory: batch TABLE WEIGHTS IMAGE...
#include <resnet.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

template <auto Free> struct Freed {
    template <typename T> void operator()(T *object) const { Free(object); }
};
using Model = std::unique_ptr<resnet_model, Freed<resnet_model_free>>;
using Weights = std::unique_ptr<resnet_weights, Freed<resnet_weights_free>>;
using Network = std::unique_ptr<resnet_network, Freed<resnet_network_free>>;
using Session = std::unique_ptr<resnet_session, Freed<resnet_session_free>>;

template <typename Owner> Owner made(typename Owner::pointer object) {
    if (!object)
        throw std::runtime_error(resnet_last_error());
    return Owner(object);
}

void done(resnet_status status) {
    if (status != RESNET_STATUS_OK)
        throw std::runtime_error(resnet_last_error());
}

std::string read(const char *path) {
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw std::runtime_error(std::string("cannot read ") + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

const unsigned char *bytes(const std::string &text) {
    return reinterpret_cast<const unsigned char *>(text.data());
}

void classify(char **paths, size_t images) {
    const auto model = made<Model>(resnet_model_text(read(paths[0]).c_str()));
    const auto file = read(paths[1]);
    const auto weights = made<Weights>(resnet_weights_bytes(bytes(file), file.size()));
    resnet_options options = {};
    options.batch = 4;
    const auto network = made<Network>(resnet_compile(model.get(), weights.get(), &options));
    const auto session = made<Session>(resnet_session_new(network.get(), 2));

    resnet_info info;
    done(resnet_network_info(network.get(), &info));
    std::vector<float> inputs(images * info.input_len), outputs(images * info.output_len);
    for (size_t i = 0; i < images; i++) {
        const auto image = read(paths[2 + i]);
        float *input = &inputs[i * info.input_len];
        done(resnet_prepare_encoded(network.get(), bytes(image), image.size(), input, info.input_len));
    }
    done(resnet_run(session.get(), inputs.data(), inputs.size(), outputs.data(), outputs.size()));
    for (size_t i = 0; i < images; i++) {
        resnet_class top;
        const float *output = &outputs[i * info.output_len];
        done(resnet_top_classes(network.get(), output, info.output_len, &top, 1));
        std::printf("%s %zu %s %.6f\n", paths[2 + i], top.index, top.label ? top.label : "-", top.probability);
    }
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s TABLE WEIGHTS IMAGE...\n", argv[0]);
        return 2;
    }
    try {
        classify(argv + 1, static_cast<size_t>(argc - 3));
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
