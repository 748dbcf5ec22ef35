/* What C can do wrong: each is an error with its words, and nothing ends the process. errors TABLE WEIGHTS */
#include <resnet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void expect(int line, int fails, const char *words) {
    const char *found = resnet_last_error();
    if (fails && strstr(found, words))
        return;
    printf("errors.c:%d: expected an error with `%s`, found `%s`\n", line, words, fails ? found : "no error");
    failures++;
}

#define NO(call, words) expect(__LINE__, (call) == NULL, words)
#define BAD(call, words) expect(__LINE__, (call) == RESNET_STATUS_INVALID_ARGUMENT, words)
#define FAILS(call, words) expect(__LINE__, (call) == RESNET_STATUS_FAILED, words)

int main(int argc, char **argv) {
    if (argc != 3 || strcmp(resnet_last_error(), "") != 0)
        return 2;
    NO(resnet_model_open(NULL), "`table` is NULL");
    NO(resnet_model_open("no-such-file.yaml"), "no-such-file.yaml");
    NO(resnet_model_open("resnet19"), "did you mean");
    NO(resnet_model_text("name: \xff\n"), "not UTF-8");
    NO(resnet_model_text("name: n\ninput: 3x8x8\ntable:\n  - {layer: fc, op: linear, channels: 0}\n"), "<table>:4:");
    NO(resnet_weights_open("no-such-file"), "no-such-file");
    NO(resnet_weights_bytes(NULL, 3), "`bytes` is NULL");
    NO(resnet_weights_bytes((const uint8_t *)"abc", 3), "");

    resnet_model *model = resnet_model_open(argv[1]);
    resnet_model *other = resnet_model_open("resnet18");
    resnet_weights *weights = resnet_weights_open(argv[2]);
    NO(resnet_compile(NULL, weights, NULL), "`model` is NULL");
    NO(resnet_compile(model, NULL, NULL), "`weights` is NULL");
    NO(resnet_compile(other, weights, NULL), "layer");
    resnet_options options = {0};
    options.isa = "sse9";
    NO(resnet_compile(model, weights, &options), "unknown instruction set `sse9`");
    options.isa = NULL;
    options.precision = "f16";
    NO(resnet_compile(model, weights, &options), "unknown precision `f16`");
    options.precision = "bf16";
    resnet_network *halves = resnet_compile(model, weights, &options);
    if (!halves)
        failures++;
    resnet_network_free(halves);
    options.precision = NULL;
    options.memory = 1;
    NO(resnet_compile(model, weights, &options), "needs at least");
    resnet_network *network = resnet_compile(model, weights, NULL);
    resnet_model_free(model);
    resnet_model_free(other);
    resnet_weights_free(weights);

    resnet_info info;
    resnet_class classes[11];
    BAD(resnet_network_info(NULL, &info), "`network` is NULL");
    BAD(resnet_network_info(network, NULL), "`info` is NULL");
    if (resnet_network_info(network, &info) != RESNET_STATUS_OK || info.input_len != 3 * 32 * 32 ||
        info.output_len != 10 || info.answer != RESNET_ANSWER_LOGITS || strcmp(info.name, "cifar10-resnet20") != 0)
        failures++;
    float *floats = calloc(info.input_len + 1, sizeof *floats);
    float output[20] = {0};
    NO(resnet_session_new(network, 0), "at least 1");
    NO(resnet_session_new(network, SIZE_MAX), "threads");
    NO(resnet_session_new(NULL, 1), "`network` is NULL");
    resnet_session *session = resnet_session_new(network, 2);
    BAD(resnet_run(session, floats, info.input_len - 1, output, 10), "3071 numbers");
    BAD(resnet_run(session, floats, info.input_len, output, 9), "room for 9");
    BAD(resnet_run(session, floats, SIZE_MAX, output, 10), "cannot have");
    BAD(resnet_run(session, NULL, info.input_len, output, 10), "`images` is NULL");
    BAD(resnet_run(session, floats, info.input_len, NULL, 10), "`outputs` is NULL");
    BAD(resnet_run(session, floats, info.input_len, floats + info.input_len - 1, 10), "overlap");
    BAD(resnet_run(session, (float *)((char *)floats + 1), info.input_len, output, 10), "multiple of 4");
    BAD(resnet_run(NULL, floats, info.input_len, output, 10), "`session` is NULL");
    BAD(resnet_top_classes(network, output, 10, classes, 11), "room for 11");
    BAD(resnet_top_classes(network, output, 20, classes, 1), "20 floats");
    FAILS(resnet_prepare_encoded(network, (const uint8_t *)"abc", 3, floats, info.input_len), "");
    BAD(resnet_prepare_encoded(network, (const uint8_t *)"abc", 3, floats, 1), "room for 1 floats");
    BAD(resnet_prepare_pixels(network, (const uint8_t *)"abcd", 1, 1, 4, floats, info.input_len), "1x1");
    BAD(resnet_prepare_pixels(network, (const uint8_t *)"", SIZE_MAX, 2, 3, floats, info.input_len), "cannot have");

    /* An image of one colour, by its pixel; a session stays when its network is freed. */
    if (resnet_prepare_pixels(network, (const uint8_t *)"abc", 1, 1, 3, floats, info.input_len) != RESNET_STATUS_OK)
        failures++;
    resnet_network_free(network);
    if (resnet_run(session, floats, info.input_len, output, 10) != RESNET_STATUS_OK || output[0] == 0)
        failures++;
    resnet_session_free(session);
    resnet_session_free(NULL);
    free(floats);
    if (failures == 0)
        printf("all errors are as expected, version %s\n", resnet_version());
    return failures != 0;
}
