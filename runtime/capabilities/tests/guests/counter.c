// A counter in C: any language that compiles to wasm can be hosted.
//
//   clang --target=wasm32 -Os -nostdlib -ffreestanding -Wl,--no-entry -Wl,--strip-all \
//         -Wl,-z,stack-size=16384 -o counter.wasm counter.c

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("purlin.core.v1", "input") extern int input(void *out, u32 capacity);
IMPORT("purlin.core.v1", "output") extern void output(const void *bytes, u32 length);
IMPORT("purlin.core.v1", "fail")
extern void fail(u32 code, const char *message, u32 length, const void *data, u32 data_length);
IMPORT("purlin.storage.v1", "get")
extern int storage_get(const char *key, u32 length, void *out, u32 capacity);
IMPORT("purlin.storage.v1", "set")
extern void storage_set(const char *key, u32 length, const void *value, u32 value_length);
IMPORT("purlin.events.v1", "emit")
extern void emit(const char *topic, u32 length, const void *payload, u32 payload_length);

static const char KEY[] = "count";
static const char TOPIC[] = "incremented";
static const char OVERFLOW[] = "the count would overflow";

#define LENGTH(text) (sizeof(text) - 1)

static u64 count(void) {
    u64 value = 0;
    storage_get(KEY, LENGTH(KEY), &value, sizeof value);
    return value;
}

EXPORT("increment") void increment(void) {
    u64 by = 0;
    input(&by, sizeof by);
    u64 before = count();
    u64 after = before + by;
    if (after < before) {
        fail(1, OVERFLOW, LENGTH(OVERFLOW), 0, 0);
    }
    storage_set(KEY, LENGTH(KEY), &after, sizeof after);
    emit(TOPIC, LENGTH(TOPIC), &after, sizeof after);
    output(&after, sizeof after);
}

EXPORT("query_count") void query_count(void) {
    u64 value = count();
    output(&value, sizeof value);
}
