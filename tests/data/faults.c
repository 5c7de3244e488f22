/* Fails a chosen call to the file system below a folder. LD_PRELOAD it.

RETHINK_FAULT="CALL:ERRNO:LASTING:FOLDER", or arm(...) from within: call number
CALL (from 0) fails with ERRNO, and all later ones if LASTING. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long left = -1;
static int number, lasting;
static char folder[4096];

void arm(long call, int error, int stays, const char *where) {
  number = error;
  lasting = stays;
  snprintf(folder, sizeof folder, "%s", where);
  left = call;
}

long remaining(void) { return left; }

__attribute__((constructor)) static void from_environment(void) {
  const char *text = getenv("RETHINK_FAULT");
  long call;
  int error, stays;
  char where[4096];
  if (text && sscanf(text, "%ld:%d:%d:%4095s", &call, &error, &stays, where) == 4)
    arm(call, error, stays, where);
}

static int due(const char *path) {
  if (left < 0 || !path || strncmp(path, folder, strlen(folder))) return 0;
  if (left > 0) {
    left--;
    return 0;
  }
  if (!lasting) left = -1;
  errno = number;
  return 1;
}

static int due_at(int fd) {
  char name[64], path[4096];
  if (left < 0) return 0;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(name, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return due(path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define OPEN(name)                                       \
  int name(const char *path, int flags, ...) {           \
    va_list more;                                        \
    va_start(more, flags);                               \
    int mode = va_arg(more, int);                        \
    va_end(more);                                        \
    return due(path) ? -1 : NEXT(name)(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                               \
  int name(int at, const char *path, int flags, ...) {             \
    va_list more;                                                  \
    va_start(more, flags);                                         \
    int mode = va_arg(more, int);                                  \
    va_end(more);                                                  \
    return due(path) ? -1 : NEXT(name)(at, path, flags, mode);     \
  }
OPENAT(openat)
OPENAT(openat64)
ssize_t write(int fd, const void *data, size_t n) {
  return due_at(fd) ? -1 : NEXT(write)(fd, data, n);
}
ssize_t read(int fd, void *data, size_t n) {
  return due_at(fd) ? -1 : NEXT(read)(fd, data, n);
}
int fsync(int fd) { return due_at(fd) ? -1 : NEXT(fsync)(fd); }
int rename(const char *a, const char *b) {
  return due(a) ? -1 : NEXT(rename)(a, b);
}
int renameat(int x, const char *a, int y, const char *b) {
  return due(a) ? -1 : NEXT(renameat)(x, a, y, b);
}
int link(const char *a, const char *b) { return due(a) ? -1 : NEXT(link)(a, b); }
int linkat(int x, const char *a, int y, const char *b, int flags) {
  return due(a) ? -1 : NEXT(linkat)(x, a, y, b, flags);
}
int unlink(const char *a) { return due(a) ? -1 : NEXT(unlink)(a); }
int rmdir(const char *a) { return due(a) ? -1 : NEXT(rmdir)(a); }
int mkdir(const char *a, mode_t mode) {
  return due(a) ? -1 : NEXT(mkdir)(a, mode);
}
