/* Classifies images: classify TABLE WEIGHTS IMAGE...
 *
 *     cc -Wall -Wextra classify.c $(pkg-config --cflags --libs resnet) -o classify
 */
#include <resnet.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, resnet_last_error());
    return EXIT_FAILURE;
}

/* A file's bytes, to be freed; NULL if it cannot be read. */
static unsigned char *read_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    long size;
    if (!file)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0 &&
        (bytes = malloc((size_t)size)) != NULL) {
        *len = fread(bytes, 1, (size_t)size, file);
    }
    fclose(file);
    return bytes;
}

int main(int argc, char **argv) {
    int status = EXIT_SUCCESS;
    if (argc < 4) {
        fprintf(stderr, "usage: %s TABLE WEIGHTS IMAGE...\n", argv[0]);
        return 2;
    }
    resnet_model *model = resnet_model_open(argv[1]);
    if (!model)
        return fail(argv[1]);
    resnet_weights *weights = resnet_weights_open(argv[2]);
    if (!weights)
        return fail(argv[2]);
    resnet_network *network = resnet_compile(model, weights, NULL);
    if (!network)
        return fail(argv[1]);
    /* The network has what it needs of both. */
    resnet_model_free(model);
    resnet_weights_free(weights);

    resnet_info info;
    resnet_session *session = resnet_session_new(network, 1);
    if (!session || resnet_network_info(network, &info) != RESNET_STATUS_OK)
        return fail(argv[1]);
    float *input = malloc(info.input_len * sizeof *input);
    float *output = malloc(info.output_len * sizeof *output);
    if (!input || !output)
        return EXIT_FAILURE;
    for (int i = 3; i < argc; i++) {
        size_t len = 0;
        resnet_class top;
        unsigned char *bytes = read_file(argv[i], &len);
        if (!bytes) {
            perror(argv[i]);
            status = EXIT_FAILURE;
        } else if (resnet_prepare_encoded(network, bytes, len, input, info.input_len) != RESNET_STATUS_OK ||
                   resnet_run(session, input, info.input_len, output, info.output_len) != RESNET_STATUS_OK ||
                   resnet_top_classes(network, output, info.output_len, &top, 1) != RESNET_STATUS_OK) {
            status = fail(argv[i]);
        } else {
            printf("%s %zu %s %.6f\n", argv[i], top.index, top.label ? top.label : "-", top.probability);
        }
        free(bytes);
    }
    free(output);
    free(input);
    resnet_session_free(session);
    resnet_network_free(network);
    return status;
}
