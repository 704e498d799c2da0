/*
 * A library for LD_PRELOAD that records the calls of a program on the files below a directory, in
 * order. From the record a test counts flushes and builds the state after a power cut.
 *
 *   RECORD_DIR      the directory, absolute
 *   RECORD_LOG      the file to which records are appended
 *   RECORD_BOOT_ID  a file that is read instead of /proc/sys/kernel/random/boot_id
 *
 * A record is: kind (1 byte), flushed (1: the write was on a descriptor opened with O_DSYNC), length
 * of the path (2 bytes), offset (8), length of the data (8), path below the directory, data. Numbers
 * are little endian. Kinds:
 *
 *   c  the file was created        w  written at offset          t  truncated or extended to offset
 *   r  renamed; data: new path     u  unlinked                   m  msync (no path)
 *   d  fdatasync                   s  fsync
 *
 * One lock is held over each call and its record: the order of the record is the order of the calls,
 * and a flush in it covers exactly the writes before it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 1024
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

struct file {
    char *path; /* below the directory; NULL for other files */
    int flushes;
    int appends;
};

static struct file files[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *dir;
static size_t dir_len;
static int log_fd = -1;

/* ISO C has no cast from an object's address to a function's */
#define REAL(type, name, parameters)                                                               \
    static type(*real_##name) parameters;                                                          \
    if (!real_##name)                                                                              \
        *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("RECORD_LOG");
    REAL(int, open, (const char *, int, ...));
    dir = getenv("RECORD_DIR");
    if (!dir || !path)
        return;
    dir_len = strlen(dir);
    log_fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The path below the directory, or NULL. */
static const char *below(const char *path)
{
    if (log_fd < 0 || strncmp(path, dir, dir_len) != 0)
        return NULL;
    if (path[dir_len] == '/')
        return path + dir_len + 1;
    return path[dir_len] == 0 ? path + dir_len : NULL;
}

static struct file *of(int fd)
{
    return fd >= 0 && fd < FDS && files[fd].path ? &files[fd] : NULL;
}

static void number(unsigned char *out, uint64_t n, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (unsigned char)(n >> 8 * i);
}

static void all(const void *data, size_t len)
{
    REAL(ssize_t, write, (int, const void *, size_t));
    const char *at = data;
    while (len > 0) {
        ssize_t n = real_write(log_fd, at, len);
        if (n <= 0) {
            perror("cannot write the record");
            abort();
        }
        at += n;
        len -= (size_t)n;
    }
}

/* Appends a record. Only the first len bytes of the buffers are its data. */
static void record(char kind, int flushed, const char *path, uint64_t offset, const struct iovec *iov,
                   size_t len)
{
    unsigned char head[20];
    size_t path_len = strlen(path);
    head[0] = (unsigned char)kind;
    head[1] = (unsigned char)flushed;
    number(head + 2, path_len, 2);
    number(head + 4, offset, 8);
    number(head + 12, len, 8);
    all(head, sizeof head);
    all(path, path_len);
    for (; len > 0; iov++) {
        size_t n = iov->iov_len < len ? iov->iov_len : len;
        all(iov->iov_base, n);
        len -= n;
    }
}

static void opened(int fd, const char *path, int flags, int was_there)
{
    const char *rest = below(path);
    if (fd < 0 || fd >= FDS || !rest)
        return;
    free(files[fd].path);
    files[fd].path = strdup(rest);
    files[fd].flushes = (flags & O_DSYNC) != 0;
    files[fd].appends = (flags & O_APPEND) != 0;
    if (!was_there)
        record('c', 0, rest, 0, NULL, 0);
    else if (flags & O_TRUNC)
        record('t', 0, rest, 0, NULL, 0);
}

static const char *redirected(const char *path)
{
    const char *other = strcmp(path, BOOT_ID) == 0 ? getenv("RECORD_BOOT_ID") : NULL;
    return other ? other : path;
}

#define OPEN(name, parameters, arguments)                                                          \
    int name parameters                                                                            \
    {                                                                                              \
        REAL(int, name, parameters);                                                               \
        mode_t mode = 0;                                                                           \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                       \
            va_list more;                                                                          \
            va_start(more, flags);                                                                 \
            mode = va_arg(more, mode_t);                                                           \
            va_end(more);                                                                          \
        }                                                                                          \
        path = redirected(path);                                                                   \
        pthread_mutex_lock(&lock);                                                                 \
        int was_there = access(path, F_OK) == 0;                                                   \
        int fd = real_##name arguments;                                                            \
        opened(fd, path, flags, was_there);                                                        \
        pthread_mutex_unlock(&lock);                                                               \
        return fd;                                                                                 \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
/* relative paths are not recorded */
OPEN(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))

int close(int fd)
{
    REAL(int, close, (int));
    pthread_mutex_lock(&lock);
    if (of(fd)) {
        free(files[fd].path);
        files[fd].path = NULL;
    }
    int rc = real_close(fd);
    pthread_mutex_unlock(&lock);
    return rc;
}

static ssize_t written(int fd, off_t offset, const struct iovec *iov, ssize_t n)
{
    struct file *file = of(fd);
    if (file && n > 0)
        record('w', file->flushes, file->path, (uint64_t)offset, iov, (size_t)n);
    return n;
}

#define PWRITE(name, offset_type)                                                                  \
    ssize_t name(int fd, const void *data, size_t len, offset_type offset)                         \
    {                                                                                              \
        REAL(ssize_t, name, (int, const void *, size_t, offset_type));                             \
        struct iovec iov = {(void *)data, len};                                                    \
        pthread_mutex_lock(&lock);                                                                 \
        ssize_t n = written(fd, offset, &iov, real_##name(fd, data, len, offset));                 \
        pthread_mutex_unlock(&lock);                                                               \
        return n;                                                                                  \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PWRITEV(name, offset_type)                                                                 \
    ssize_t name(int fd, const struct iovec *iov, int count, offset_type offset)                   \
    {                                                                                              \
        REAL(ssize_t, name, (int, const struct iovec *, int, offset_type));                        \
        pthread_mutex_lock(&lock);                                                                 \
        ssize_t n = written(fd, offset, iov, real_##name(fd, iov, count, offset));                 \
        pthread_mutex_unlock(&lock);                                                               \
        return n;                                                                                  \
    }

PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

/* The position of the next write, from the kernel, so that lseek need not be intercepted. */
static off_t position(int fd)
{
    struct file *file = of(fd);
    struct stat stat;
    if (!file)
        return 0;
    if (file->appends)
        return fstat(fd, &stat) == 0 ? stat.st_size : 0;
    return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *data, size_t len)
{
    REAL(ssize_t, write, (int, const void *, size_t));
    struct iovec iov = {(void *)data, len};
    pthread_mutex_lock(&lock);
    off_t offset = position(fd);
    ssize_t n = written(fd, offset, &iov, real_write(fd, data, len));
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    REAL(ssize_t, writev, (int, const struct iovec *, int));
    pthread_mutex_lock(&lock);
    off_t offset = position(fd);
    ssize_t n = written(fd, offset, iov, real_writev(fd, iov, count));
    pthread_mutex_unlock(&lock);
    return n;
}

/* A call on a descriptor that is recorded with this kind if it succeeds. */
#define NOTED(name, parameters, arguments, kind, length)                                           \
    int name parameters                                                                            \
    {                                                                                              \
        REAL(int, name, parameters);                                                               \
        pthread_mutex_lock(&lock);                                                                 \
        int rc = real_##name arguments;                                                            \
        struct file *file = of(fd);                                                                \
        if (rc == 0 && file)                                                                       \
            record(kind, 0, file->path, (uint64_t)(length), NULL, 0);                              \
        pthread_mutex_unlock(&lock);                                                               \
        return rc;                                                                                 \
    }

static off_t size_of(int fd)
{
    struct stat stat;
    return fstat(fd, &stat) == 0 ? stat.st_size : 0;
}

NOTED(fsync, (int fd), (fd), 's', 0)
NOTED(fdatasync, (int fd), (fd), 'd', 0)
NOTED(ftruncate, (int fd, off_t length), (fd, length), 't', length)
NOTED(ftruncate64, (int fd, off64_t length), (fd, length), 't', length)
NOTED(fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len), 't', size_of(fd))
NOTED(fallocate64, (int fd, int mode, off64_t at, off64_t len), (fd, mode, at, len), 't', size_of(fd))
NOTED(posix_fallocate, (int fd, off_t at, off_t len), (fd, at, len), 't', size_of(fd))
NOTED(posix_fallocate64, (int fd, off64_t at, off64_t len), (fd, at, len), 't', size_of(fd))

int msync(void *at, size_t len, int flags)
{
    REAL(int, msync, (void *, size_t, int));
    pthread_mutex_lock(&lock);
    int rc = real_msync(at, len, flags);
    if (rc == 0 && log_fd >= 0)
        record('m', 0, "", 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return rc;
}

int rename(const char *from, const char *to)
{
    REAL(int, rename, (const char *, const char *));
    const char *from_below = below(from), *to_below = below(to);
    pthread_mutex_lock(&lock);
    int rc = real_rename(from, to);
    if (rc == 0 && from_below && to_below) {
        struct iovec iov = {(void *)to_below, strlen(to_below)};
        record('r', 0, from_below, 0, &iov, iov.iov_len);
        for (int fd = 0; fd < FDS; fd++) {
            if (files[fd].path && strcmp(files[fd].path, from_below) == 0) {
                free(files[fd].path);
                files[fd].path = strdup(to_below);
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int unlink(const char *path)
{
    REAL(int, unlink, (const char *));
    const char *rest = below(path);
    pthread_mutex_lock(&lock);
    int rc = real_unlink(path);
    if (rc == 0 && rest)
        record('u', 0, rest, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return rc;
}
