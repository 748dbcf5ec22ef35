/* Runs a network that was compiled ahead of time on images of raw floats, in an arena that begins anywhere and is full of
 * what is no number, and provokes its errors. */
#include "net.h"
#include <stdio.h>
#include <string.h>

static float input[NET_INPUT_LEN + 1], output[NET_OUTPUT_LEN];
static char arena[NET_ARENA_BYTES + 3];

int main(void) {
    memset(arena, 0xff, sizeof arena);
    arena[0] = arena[1] = arena[sizeof arena - 1] = 42;
    while (fread(input, sizeof *input, NET_INPUT_LEN, stdin) == NET_INPUT_LEN) {
        if (NET_run(input, output, arena + 2) != 0)
            return 1;
        fwrite(output, sizeof *output, NET_OUTPUT_LEN, stdout);
    }
    if (arena[0] != 42 || arena[1] != 42 || arena[sizeof arena - 1] != 42)
        return 2;
    if (NET_run(NULL, output, arena) != 1 || NET_run(input, NULL, arena) != 1 || NET_run(input, output, NULL) != 1 ||
        NET_run((const float *)(const void *)((const char *)input + 1), output, arena) != 1)
        return 3;
    return 0;
}
