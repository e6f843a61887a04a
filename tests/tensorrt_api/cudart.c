/* The CUDA runtime's functions that the engine program and polygraphy call, over the machine's own memory. */
#include <stdlib.h>
#include <string.h>

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}
static int fault(void) { return (int)number("RECORDED_CUDA_ERROR", 0); }

int cudaGetDeviceCount(int *count) { *count = fault() ? 0 : 1; return fault(); }
const char *cudaGetErrorString(int code) { return code == 100 ? "no CUDA-capable device is detected" : "an error"; }
int cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    *free_bytes = (size_t)number("RECORDED_CUDA_FREE", 4L << 30);
    *total_bytes = 8UL << 30;
    return 0;
}
int cudaRuntimeGetVersion(int *version) { *version = (int)number("RECORDED_CUDA_VERSION", 12060); return 0; }
int cudaGetDeviceProperties(void *properties, int device) { (void)device; strcpy(properties, "Orin"); return 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : -1;
    return 0;
}
int cudaMalloc(void **memory, size_t size) {
    if (size > (size_t)number("RECORDED_CUDA_FREE", 4L << 30)) return 2;
    *memory = malloc(size ? size : 1);
    return 0;
}
int cudaFree(void *memory) { free(memory); return 0; }
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { (void)kind; memcpy(to, from, size); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    (void)stream;
    return cudaMemcpy(to, from, size, kind);
}
int cudaStreamCreate(void **stream) { *stream = malloc(1); return 0; }
int cudaStreamSynchronize(void *stream) { (void)stream; return 0; }
int cudaStreamDestroy(void *stream) { free(stream); return 0; }
