/* Runs a network that was compiled ahead of time on images of raw floats, and writes its outputs, raw floats.
 *
 *     resnet emit resnet20.yaml --as object --weights resnet20.safetensors -o resnet20.o
 *     cc -Wall -Wextra ahead_of_time.c resnet20.o -lresnet_kernels -lm -o ahead_of_time
 *     ./ahead_of_time <images.raw >outputs.raw
 */
#include "resnet20.h"
#include <stdio.h>

static float input[RESNET20_INPUT_LEN];
static float output[RESNET20_OUTPUT_LEN];
static char arena[RESNET20_ARENA_BYTES];

int main(void) {
    while (fread(input, sizeof input, 1, stdin) == 1) {
        int status = resnet20_run(input, output, arena);
        if (status != 0) {
            fprintf(stderr, "resnet20_run: %d\n", status);
            return 1;
        }
        fwrite(output, sizeof output, 1, stdout);
    }
    return 0;
}
