// A compiler from ResNet layer tables to native inference functions, for C and C++.
//
// A model is a table of layers; with weights it is compiled to a network, of which sessions run batches of
// images:
//
//     resnet_model *model = resnet_model_open("resnet20.yaml");
//     resnet_weights *weights = resnet_weights_open("resnet20.safetensors");
//     resnet_network *network = resnet_compile(model, weights, NULL);
//     resnet_session *session = resnet_session_new(network, 1);
//     resnet_run(session, images, images_len, outputs, outputs_len);
//
// Errors: what makes something returns NULL where it cannot, and the others a status that is not
// `RESNET_STATUS_OK`; `resnet_last_error` then says why, in words for people. A NULL or a length that does not
// fit is such an error. Nothing aborts and no Rust panic leaves a function; a pointer that is neither NULL nor what
// a function says it has to be is undefined behaviour, as everywhere in C.
//
// Ownership: what a function whose name ends in `_open`, `_new`, `_text`, `_bytes` or `_compile` returns is the
// caller's, who gives it to the `_free` of its type once. Text that functions return belongs to the object that
// it was asked of, or for `resnet_last_error` to the thread. No function keeps a pointer that it was given.
//
// Threads: a model, weights and a network are not changed once they are made, so any number of threads may use
// one at a time, until it is freed. A session belongs to one thread at a time.


#ifndef RESNET_H
#define RESNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


// How a function ended.
typedef enum resnet_status {
  // Done.
  RESNET_STATUS_OK = 0,
  // An argument is NULL, or has another length than it has to have.
  RESNET_STATUS_INVALID_ARGUMENT = 1,
  // What was asked for cannot be done: a file, a table, weights, memory.
  RESNET_STATUS_FAILED = 2,
  // A bug in the library.
  RESNET_STATUS_PANICKED = 3,
} resnet_status;

// What the numbers of an output are.
typedef enum resnet_answer {
  // A number for each class; softmax makes probabilities of them.
  RESNET_ANSWER_LOGITS = 0,
  // A probability for each class.
  RESNET_ANSWER_PROBABILITIES = 1,
  // Activations, in channel, row, column order.
  RESNET_ANSWER_FEATURES = 2,
} resnet_answer;

// A table of layers.
typedef struct resnet_model resnet_model;

// A compiled network with its weights.
typedef struct resnet_network resnet_network;

// What runs a network: the memory of one run at a time.
typedef struct resnet_session resnet_session;

// Trained weights.
typedef struct resnet_weights resnet_weights;

// How to compile. All zero, as in `resnet_options options = {0};`, and a NULL in its place are the defaults.
typedef struct resnet_options {
  // Images that a session is to be given at a time, and may compute together; 0: 1. Any number may be given whatever
  // stands here.
  size_t batch;
  // Threads that pack the weights; 0: 1.
  size_t threads;
  // Bytes that the network and a session on one thread may need, for which leaner algorithms are taken; 0: any
  // number.
  size_t memory;
  // Rules out algorithms that compute a convolution's sums in another way than they are defined.
  bool exact;
  // The instruction set, such as "avx2"; NULL: the best one of this CPU.
  const char *isa;
  // What activations are stored as and convolutions multiply, of weights that are not quantised: "f32" or "bf16";
  // NULL: f32, or what packed weights are packed for.
  const char *precision;
} resnet_options;

// Facts about a network. Texts are the network's.
typedef struct resnet_info {
  // The network's name.
  const char *name;
  // Channels of an image.
  size_t channels;
  // Height of an image.
  size_t height;
  // Width of an image.
  size_t width;
  // Floats of an image: `channels * height * width`.
  size_t input_len;
  // Floats of the output for an image: the classes, or the elements of the features.
  size_t output_len;
  // What they are.
  enum resnet_answer answer;
  // Weighted layers, projections not counted.
  size_t depth;
  // Parameters.
  uint64_t params;
  // Multiply-adds for an image.
  uint64_t macs;
  // Bytes of memory for activations of a session on one thread.
  size_t arena_bytes;
  // The instruction set whose kernels it calls.
  const char *isa;
  // Layers whose weights are in 8-bit integers; 0: all are in f32.
  size_t quantised_layers;
} resnet_info;

// A class of an output.
typedef struct resnet_class {
  // Its index.
  size_t index;
  // Its probability.
  double probability;
  // Its name, a text of the network's; NULL if the table names no classes.
  const char *label;
} resnet_class;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Why the last function that failed on this thread did, in UTF-8, perhaps several lines; "" if none has. The text
// is the thread's, and stays until another function fails on it or it ends.
const char *resnet_last_error(void);

// The library's version, such as "0.1.0": a constant.
const char *resnet_version(void);

// Reads a table from a file, or takes a network that the library carries, such as "resnet50", by its name. A file
// of labels that the table names lies beside it.
//
// NULL if it cannot be read or contradicts itself, which `resnet_last_error` draws at its place.
struct resnet_model *resnet_model_open(const char *table);

// Reads a table from memory, YAML in UTF-8. NULL if it contradicts itself.
struct resnet_model *resnet_model_text(const char *table);

// What is legal in the table and nearly always a mistake, a text of the model's; NULL if there is nothing.
const char *resnet_model_warnings(const struct resnet_model *model);

// Frees a model; networks that were compiled of it stay. NULL is ignored.
void resnet_model_free(struct resnet_model *model);

// Opens weights: a safetensors file, in f32, f16, bf16 or quantised, or what `resnet pack` made of one, which is
// mapped and must not be changed in its place before weights and networks are freed. NULL if it cannot be read.
struct resnet_weights *resnet_weights_open(const char *file);

// Takes weights from memory: `len` bytes of such a file, which are copied. NULL if they are none.
struct resnet_weights *resnet_weights_bytes(const uint8_t *bytes, size_t len);

// Frees weights; networks that were compiled with them stay. NULL is ignored.
void resnet_weights_free(struct resnet_weights *weights);

// Compiles a model and packs its weights: milliseconds, and some more for each ten million parameters. NULL if weights
// do not fit the model, the CPU lacks the instruction set, or there is no memory.
struct resnet_network *resnet_compile(const struct resnet_model *model,
                                      const struct resnet_weights *weights,
                                      const struct resnet_options *options);

// Tells shapes and counts.
enum resnet_status resnet_network_info(const struct resnet_network *network,
                                       struct resnet_info *info);

// Tells the `classes_len` likeliest classes of the output for one image, the likeliest first; of equally likely
// ones the lower index. `classes_len` is at most the number of classes.
enum resnet_status resnet_top_classes(const struct resnet_network *network,
                                      const float *output,
                                      size_t output_len,
                                      struct resnet_class *classes,
                                      size_t classes_len);

// Frees a network; sessions that it has stay. NULL is ignored.
void resnet_network_free(struct resnet_network *network);

// Decodes a JPEG, PNG, WebP, GIF, BMP, TIFF or PNM file's `len` bytes, and prepares them as the table's
// `preprocess` says: resized, cropped, normalised, as `input_len` floats of one image.
enum resnet_status resnet_prepare_encoded(const struct resnet_network *network,
                                          const uint8_t *bytes,
                                          size_t len,
                                          float *input,
                                          size_t input_len);

// Prepares pixels in memory, bytes in row, column, channel order without gaps, RGB (3 `channels`) or grey (1),
// likewise.
enum resnet_status resnet_prepare_pixels(const struct resnet_network *network,
                                         const uint8_t *pixels,
                                         size_t height,
                                         size_t width,
                                         size_t channels,
                                         float *input,
                                         size_t input_len);

// Makes a session that runs on the thread that calls it and `threads - 1` of its own, which sleep between runs; 1
// starts none. Outputs have the same bits for any number. NULL if there is no memory or no such thread.
struct resnet_session *resnet_session_new(const struct resnet_network *network,
                                          size_t threads);

// Runs a batch of images: `images_len` floats, one image after the other, each planar in channel, row, column
// order. The outputs, one after the other, are `outputs_len` floats. Both are whole numbers of what
// `resnet_network_info` calls `input_len` and `output_len`, for as many images; neither overlaps the other. A run
// allocates nothing.
enum resnet_status resnet_run(struct resnet_session *session,
                              const float *images,
                              size_t images_len,
                              float *outputs,
                              size_t outputs_len);

// Frees a session, and ends its threads. NULL is ignored.
void resnet_session_free(struct resnet_session *session);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RESNET_H */
