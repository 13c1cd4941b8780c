/* Fails one call of the system, chosen by kind and number, on files below chosen folders.

   In place of an error, INTERRUPT has Ctrl-C come at the call, and GARBLE spoils what it reads.
   Loaded before the C library (LD_PRELOAD), so that Python, DuckDB and FAISS all meet it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, READ, WRITE, SYNC, STAT, RENAME, MAKE, REMOVE, LINK, LIST, LOCK, RESIZE, MAP, KINDS };
enum { INTERRUPT = -1, GARBLE = -2 };

static char folder[PATH_MAX] = "";
static long seen[KINDS];
static int armed = -1, failure, sticky;
static long at;

void fault_folder(const char *path) { snprintf(folder, sizeof folder, "%s", path); }
long fault_seen(int kind) { return seen[kind]; }
void fault_arm(int kind, long number, int error, int is_sticky) {
    memset(seen, 0, sizeof seen);
    at = number; failure = error; sticky = is_sticky; armed = kind;
}

static int hit(int kind) {
    long number = __sync_add_and_fetch(&seen[kind], 1);
    if (armed != kind || !(number == at || (sticky && number >= at))) return 0;
    if (failure == INTERRUPT) { kill(getpid(), SIGINT); return 0; }
    if (failure == GARBLE) return 0;
    errno = failure;
    return 1;
}
/* Puts bytes that no encoding of text has into the middle of what was read. */
static ssize_t garbled(ssize_t n, unsigned char *to) {
    if (failure != GARBLE || armed != READ || n < 1 || seen[READ] != at) return n;
    to[n / 2] = 0xff;
    return n;
}
static int ours(const char *path) {
    if (!folder[0] || !path) return 0;
    return path[0] != '/' || !strncmp(path, folder, strlen(folder));
}
static int ours_fd(int fd) {
    char name[64], path[PATH_MAX];
    if (!folder[0] || fd < 0) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return path[0] == '/' && ours(path);
}

#define REAL(type, name) static __typeof__(type (*)()) real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name); va_list list; va_start(list, flags); \
        mode_t mode = va_arg(list, mode_t); va_end(list); \
        return ours(path) && hit(OPEN) ? -1 : real(path, flags, mode); }
#define OPENING_AT(name) \
    int name(int where, const char *path, int flags, ...) { \
        REAL(int, name); va_list list; va_start(list, flags); \
        mode_t mode = va_arg(list, mode_t); va_end(list); \
        return ours(path) && hit(OPEN) ? -1 : real(where, path, flags, mode); }
OPENING(open) OPENING(open64) OPENING_AT(openat) OPENING_AT(openat64)
FILE *fopen(const char *path, const char *mode) {
    REAL(FILE *, fopen); return ours(path) && hit(OPEN) ? NULL : real(path, mode); }
FILE *fopen64(const char *path, const char *mode) {
    REAL(FILE *, fopen64); return ours(path) && hit(OPEN) ? NULL : real(path, mode); }

#define ON_FD(kind, type, name, parameters, arguments) \
    type name parameters { REAL(type, name); return ours_fd(fd) && hit(kind) ? -1 : real arguments; }
#define READING(name, parameters, arguments) \
    ssize_t name parameters { REAL(ssize_t, name); \
        if (!ours_fd(fd)) return real arguments; \
        return hit(READ) ? -1 : garbled(real arguments, to); }
READING(read, (int fd, void *to, size_t n), (fd, to, n))
READING(pread, (int fd, void *to, size_t n, off_t o), (fd, to, n, o))
READING(pread64, (int fd, void *to, size_t n, off64_t o), (fd, to, n, o))
ON_FD(WRITE, ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n))
ON_FD(WRITE, ssize_t, pwrite, (int fd, const void *from, size_t n, off_t o), (fd, from, n, o))
ON_FD(WRITE, ssize_t, pwrite64, (int fd, const void *from, size_t n, off64_t o), (fd, from, n, o))
ON_FD(WRITE, ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
ON_FD(SYNC, int, fsync, (int fd), (fd))
ON_FD(SYNC, int, fdatasync, (int fd), (fd))
ON_FD(LOCK, int, flock, (int fd, int how), (fd, how))
ON_FD(RESIZE, int, ftruncate, (int fd, off_t n), (fd, n))
ON_FD(RESIZE, int, ftruncate64, (int fd, off64_t n), (fd, n))
ON_FD(STAT, int, fstat, (int fd, struct stat *to), (fd, to))
ON_FD(STAT, int, fstat64, (int fd, struct stat64 *to), (fd, to))

#define ON_PATH(kind, type, bad, name, parameters, arguments) \
    type name parameters { REAL(type, name); return ours(path) && hit(kind) ? bad : real arguments; }
ON_PATH(STAT, int, -1, stat, (const char *path, struct stat *to), (path, to))
ON_PATH(STAT, int, -1, stat64, (const char *path, struct stat64 *to), (path, to))
ON_PATH(STAT, int, -1, lstat, (const char *path, struct stat *to), (path, to))
ON_PATH(STAT, int, -1, lstat64, (const char *path, struct stat64 *to), (path, to))
ON_PATH(STAT, int, -1, fstatat, (int d, const char *path, struct stat *to, int f), (d, path, to, f))
ON_PATH(STAT, int, -1, fstatat64, (int d, const char *path, struct stat64 *to, int f),
        (d, path, to, f))
ON_PATH(RENAME, int, -1, rename, (const char *path, const char *to), (path, to))
ON_PATH(RENAME, int, -1, renameat, (int d, const char *path, int e, const char *to),
        (d, path, e, to))
ON_PATH(MAKE, int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH(MAKE, int, -1, mkdirat, (int d, const char *path, mode_t mode), (d, path, mode))
ON_PATH(REMOVE, int, -1, unlink, (const char *path), (path))
ON_PATH(REMOVE, int, -1, unlinkat, (int d, const char *path, int f), (d, path, f))
ON_PATH(REMOVE, int, -1, rmdir, (const char *path), (path))
ON_PATH(LINK, int, -1, link, (const char *path, const char *to), (path, to))
ON_PATH(LINK, int, -1, linkat, (int d, const char *path, int e, const char *to, int f),
        (d, path, e, to, f))
ON_PATH(LIST, DIR *, NULL, opendir, (const char *path), (path))
void *mmap(void *where, size_t n, int p, int f, int fd, off_t o) {
    REAL(void *, mmap); return ours_fd(fd) && hit(MAP) ? MAP_FAILED : real(where, n, p, f, fd, o); }
void *mmap64(void *where, size_t n, int p, int f, int fd, off64_t o) {
    REAL(void *, mmap64); return ours_fd(fd) && hit(MAP) ? MAP_FAILED : real(where, n, p, f, fd, o); }
