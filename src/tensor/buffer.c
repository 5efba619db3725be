/* tensor/buffer.c - counted bytes: heap, pages of its own, a piece of a stretch of large pages, file map, or memory of
 * another owner. */
#include "tensor/tensor.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { HEAP, PAGES, MAP, FOREIGN };

/* From here on pages of its own: the heap keeps what was freed for a long time. Under a sanitizer all is heap, where it
 * sees what is read beyond an end. */
#ifdef PITH_SANITIZED
#define PAGED UINT64_MAX
#else
enum { PAGED = 256 << 10 };
#endif

struct pith_buffer {
    atomic_int references;
    enum kind kind;
    void *data;
    uint64_t size;
    void (*release)(void *user);
    void *user;
};

static pith_status new_buffer(pith_buffer **out, enum kind kind, void *data, uint64_t size, pith_error *err) {
    pith_buffer *b = memory_zero(1, sizeof *b);
    if (!b) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "out of memory");
    atomic_init(&b->references, 1);
    b->kind = kind;
    b->data = data;
    b->size = size;
    *out = b;
    return PITH_OK;
}

static void *new_pages(uint64_t size) {
    void *data = size <= SIZE_MAX / 2
                     ? mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                     : MAP_FAILED;
    return data == MAP_FAILED ? NULL : data;
}

static void free_data(enum kind kind, void *data, uint64_t size) {
    if (kind == HEAP) memory_free(data);
    else if (data) munmap(data, (size_t)size);
}

pith_status pith_buffer_new(pith_buffer **b, uint64_t size, pith_error *err) {
    enum kind kind = size < PAGED ? HEAP : PAGES;
    void *data = kind == HEAP ? memory_aligned((size_t)size) : new_pages(size);
    if (!data) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %llu bytes", (unsigned long long)size);
    if (kind == HEAP) memset(data, 0, (size_t)size);
    pith_status s = new_buffer(b, kind, data, size, err);
    if (s != PITH_OK) free_data(kind, data, size);
    return s;
}

/* A matrix of a few hundred kilobytes fills no large page of its own: many share a stretch, one after the other. A
 * stretch too full for the next is left to its buffers. Small buffers stay on the heap, where tools watch their ends.
 */
enum { STRETCH = 64 << 20, LARGE_PAGE = 2 << 20, LASTING = 64 << 10 };

typedef struct stretch {
    void *map;
    uint8_t *data; /* in it, at the first large page */
    uint64_t size, used;
    int64_t buffers;
} stretch;

static struct {
    pthread_mutex_t lock;
    stretch *open;
} stretches = {.lock = PTHREAD_MUTEX_INITIALIZER};

static stretch *new_stretch(uint64_t size) {
    if (size > INT64_MAX / 2) return NULL;
    stretch *s = memory_zero(1, sizeof *s);
    if (!s) return NULL;
    s->size = size < STRETCH ? STRETCH : (size + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    s->map = mmap(NULL, s->size + LARGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->map == MAP_FAILED) {
        memory_free(s);
        return NULL;
    }
    s->data = (uint8_t *)(((uintptr_t)s->map + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE);
    madvise(s->data, s->size, MADV_HUGEPAGE); /* a wish: small pages do as well, slower */
    return s;
}

static void leave_stretch(void *user) {
    stretch *s = user;
    pthread_mutex_lock(&stretches.lock);
    bool last = --s->buffers == 0;
    if (last && stretches.open == s) stretches.open = NULL;
    pthread_mutex_unlock(&stretches.lock);
    if (!last) return;
    munmap(s->map, s->size + LARGE_PAGE);
    memory_free(s);
}

pith_status pith_buffer_new_lasting(pith_buffer **b, uint64_t size, pith_error *err) {
    if (size < LASTING) return pith_buffer_new(b, size, err);
    pthread_mutex_lock(&stretches.lock);
    stretch *s = stretches.open;
    if (!s || s->size - s->used < size) s = new_stretch(size);
    uint8_t *data = NULL;
    if (s) {
        stretches.open = s;
        data = s->data + s->used;
        s->used = (s->used + size + 63) / 64 * 64;
        s->buffers++;
    }
    pthread_mutex_unlock(&stretches.lock);
    if (!data) return pith_fail(err, PITH_NO_MEMORY, NULL, -1, "no memory for %llu bytes", (unsigned long long)size);
    pith_status status = pith_buffer_wrap(b, data, size, leave_stretch, s, err);
    if (status != PITH_OK) leave_stretch(s);
    return status;
}

pith_status pith_buffer_wrap(pith_buffer **b, void *data, uint64_t size, void (*release)(void *user), void *user,
                             pith_error *err) {
    pith_status s = new_buffer(b, FOREIGN, data, size, err);
    if (s != PITH_OK) return s;
    (*b)->release = release;
    (*b)->user = user;
    return PITH_OK;
}

pith_status pith_buffer_map(pith_buffer **b, const char *path, pith_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return pith_fail_errno(err, path, errno, "cannot open");
    struct stat st;
    pith_status s = PITH_OK;
    if (fstat(fd, &st) != 0) s = pith_fail_errno(err, path, errno, "cannot stat");
    else if (S_ISDIR(st.st_mode)) s = pith_fail(err, PITH_USAGE, path, -1, "expected a file, found a folder");
    else if (!S_ISREG(st.st_mode)) s = pith_fail(err, PITH_USAGE, path, -1, "expected an ordinary file");
    void *data = NULL;
    if (s == PITH_OK && st.st_size > 0) {
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) s = pith_fail_errno(err, path, errno, "cannot map");
    }
    close(fd);
    if (s != PITH_OK) return s;
    s = new_buffer(b, MAP, data, (uint64_t)st.st_size, err);
    if (s != PITH_OK && data) munmap(data, (size_t)st.st_size);
    return s;
}

void pith_buffer_forget(const pith_buffer *b, const void *data, uint64_t size) {
    if (!b || b->kind != MAP) return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)data + page - 1) / page * page,
              end = ((uintptr_t)data + size) / page * page;
    if (end > begin) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void pith_buffer_retain(pith_buffer *b) {
    if (b) atomic_fetch_add(&b->references, 1);
}

void pith_buffer_release(pith_buffer *b) {
    if (!b || atomic_fetch_sub(&b->references, 1) != 1) return;
    if (b->kind != FOREIGN) free_data(b->kind, b->data, b->size);
    else if (b->release) b->release(b->user);
    memory_free(b);
}

void *pith_buffer_data(const pith_buffer *b) { return b->data; }
uint64_t pith_buffer_size(const pith_buffer *b) { return b->size; }
