// What no file system does on request: LD_PRELOAD for a collector, told by a shared control file (shim.ts) what to do to
// the files below FAULTS_LOG. It fails syncs and writes, forgets what a failed sync was about, slows syncs down, moves the
// clock, and keeps a table of what is really on disk, so that a power loss can be played after kill -9.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILES 65536
#define FDS 65536

struct file {
  _Atomic uint64_t inode;
  _Atomic uint64_t synced;  // bytes that power may not take
  _Atomic uint64_t parent;  // inode of its directory
  _Atomic uint64_t unnamed; // 1: created, 2: renamed, and the directory was not synced since
};

// The same layout is in shim.ts.
struct control {
  _Atomic uint32_t sync_one_in;  // 0: never; 1: every sync fails; n: one in n
  _Atomic uint32_t sync_forgets; // what a failed sync was about reads as zeros afterwards
  _Atomic uint32_t write_one_in;
  _Atomic uint32_t write_errno;
  _Atomic uint32_t sync_delay_us;
  _Atomic uint32_t padding;
  _Atomic int64_t clock_ns;
  _Atomic uint64_t failed_syncs;
  _Atomic uint64_t failed_writes;
  _Atomic uint64_t reserved[2];
  struct file files[FILES];
};

static struct control *control;
static char prefix[PATH_MAX];
static size_t prefix_length;
static char graves[PATH_MAX];
static struct {
  char *path; // NULL: none of ours
  uint64_t low, high;
} fds[FDS];
static _Atomic uint32_t dice = 2463534242u;

__attribute__((constructor)) static void setup(void) {
  const char *file = getenv("FAULTS_CONTROL"), *log = getenv("FAULTS_LOG"), *grave = getenv("FAULTS_GRAVES");
  if (file == NULL || log == NULL || grave == NULL) return;
  snprintf(prefix, sizeof prefix, "%s", log);
  snprintf(graves, sizeof graves, "%s", grave);
  prefix_length = strlen(prefix);
  int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (at != MAP_FAILED) control = at;
}

static int ours(const char *path) { return control != NULL && path != NULL && strncmp(path, prefix, prefix_length) == 0; }

static int one_in(uint32_t n) {
  if (n == 0) return 0;
  uint32_t x = dice;
  x ^= x << 13, x ^= x >> 17, x ^= x << 5;
  dice = x;
  return x % n == 0;
}

static struct file *entry(uint64_t inode) {
  for (uint32_t i = inode * 2654435761u % FILES, n = 0; n < FILES; i = (i + 1) % FILES, n++) {
    uint64_t empty = 0;
    struct file *file = &control->files[i];
    if (file->inode == inode || atomic_compare_exchange_strong(&file->inode, &empty, inode) || empty == inode) return file;
  }
  return NULL;
}

static uint64_t inode_of(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 ? s.st_ino : 0;
}

static uint64_t parent_of(const char *path) {
  char parent[PATH_MAX];
  snprintf(parent, sizeof parent, "%s", path);
  char *slash = strrchr(parent, '/');
  if (slash == NULL) return 0;
  *slash = 0;
  return inode_of(parent);
}

static void opened(int fd, const char *path, int flags) {
  if (fd < 0 || fd >= FDS || control == NULL) return;
  free(fds[fd].path);
  fds[fd].path = ours(path) ? strdup(path) : NULL;
  fds[fd].low = fds[fd].high = 0;
  struct stat s;
  if (fds[fd].path == NULL || fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) return;
  struct file *file = entry(s.st_ino);
  if (file == NULL || !(flags & O_CREAT) || s.st_size != 0) return;
  file->synced = 0;
  file->parent = parent_of(path);
  file->unnamed = 1;
}

#define MODE(flags, last) \
  mode_t mode = 0;        \
  if (flags & (O_CREAT | O_TMPFILE)) {  \
    va_list list;         \
    va_start(list, last); \
    mode = va_arg(list, int); \
    va_end(list);         \
  }
#define OPEN(name)                                             \
  int name(const char *path, int flags, ...) {                 \
    MODE(flags, flags)                                         \
    int fd = syscall(SYS_openat, AT_FDCWD, path, flags, mode); \
    opened(fd, path, flags);                                   \
    return fd;                                                 \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  if (fd >= 0 && fd < FDS && control != NULL && fds[fd].path != NULL) {
    free(fds[fd].path);
    fds[fd].path = NULL;
  }
  return syscall(SYS_close, fd);
}

/** A descriptor of ours, and not a socket that came to have its number. */
static int tracked(int fd) {
  if (control == NULL || fd < 0 || fd >= FDS || fds[fd].path == NULL) return 0;
  struct stat s;
  return fstat(fd, &s) == 0 && (S_ISREG(s.st_mode) || S_ISDIR(s.st_mode));
}

static int write_fails(int fd) {
  if (!tracked(fd) || !one_in(control->write_one_in)) return 0;
  control->failed_writes++;
  errno = control->write_errno;
  return 1;
}

static void wrote(int fd, off_t at, ssize_t count) {
  if (count <= 0 || !tracked(fd)) return;
  if (fds[fd].high == fds[fd].low) fds[fd].low = fds[fd].high = at;
  if ((uint64_t)at < fds[fd].low) fds[fd].low = at;
  if ((uint64_t)(at + count) > fds[fd].high) fds[fd].high = at + count;
}

#define PWRITE(name)                                                  \
  ssize_t name(int fd, const void *bytes, size_t length, off_t at) {  \
    if (write_fails(fd)) {                                            \
      if (length > 1) syscall(SYS_pwrite64, fd, bytes, length / 2, at); \
      return -1;                                                      \
    }                                                                 \
    ssize_t count = syscall(SYS_pwrite64, fd, bytes, length, at);     \
    wrote(fd, at, count);                                             \
    return count;                                                     \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                          \
  ssize_t name(int fd, const struct iovec *parts, int n, off_t at) {           \
    if (write_fails(fd)) return -1;                                            \
    ssize_t count = syscall(SYS_pwritev, fd, parts, n, at, 0);                 \
    wrote(fd, at, count);                                                      \
    return count;                                                              \
  }
PWRITEV(pwritev)
PWRITEV(pwritev64)

/** Names in a directory are on disk now: what was created, renamed and removed in it. */
static void directory_synced(int fd) {
  struct stat s;
  if (fstat(fd, &s) != 0) return;
  for (int i = 0; i < FILES; i++) {
    if (control->files[i].parent == s.st_ino) control->files[i].unnamed = 0;
  }
  const char *slash = strrchr(fds[fd].path, '/');
  char start[NAME_MAX + 3], path[PATH_MAX + NAME_MAX + 2];
  int length = snprintf(start, sizeof start, "%s__", slash == NULL ? fds[fd].path : slash + 1);
  DIR *directory = opendir(graves);
  if (directory == NULL) return;
  for (struct dirent *one; (one = readdir(directory)) != NULL;) {
    if (strncmp(one->d_name, start, length) != 0) continue;
    snprintf(path, sizeof path, "%s/%s", graves, one->d_name);
    syscall(SYS_unlink, path);
  }
  closedir(directory);
}

static int sync_file(int fd, long call) {
  if (!tracked(fd)) return syscall(call, fd);
  if (control->sync_delay_us > 0) usleep(control->sync_delay_us);
  struct stat s;
  fstat(fd, &s);
  if (one_in(control->sync_one_in)) {
    control->failed_syncs++;
    static const char zeros[4096];
    if (control->sync_forgets && S_ISREG(s.st_mode)) {
      for (uint64_t at = fds[fd].low; at < fds[fd].high; at += sizeof zeros) {
        uint64_t rest = fds[fd].high - at;
        syscall(SYS_pwrite64, fd, zeros, rest < sizeof zeros ? rest : sizeof zeros, at);
      }
    }
    errno = EIO;
    return -1;
  }
  uint64_t size = s.st_size;
  int result = syscall(call, fd);
  if (result != 0) return result;
  if (S_ISDIR(s.st_mode)) {
    directory_synced(fd);
    return 0;
  }
  fds[fd].low = fds[fd].high = 0;
  struct file *file = entry(s.st_ino);
  if (file != NULL) file->synced = size;
  return 0;
}
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }
int fsync(int fd) { return sync_file(fd, SYS_fsync); }

int rename(const char *from, const char *to) {
  int result = syscall(SYS_rename, from, to);
  if (result != 0 || !ours(to)) return result;
  struct file *file = entry(inode_of(to));
  // A name that was never on disk cannot come back.
  if (file == NULL || file->unnamed != 0) return result;
  file->parent = parent_of(to);
  file->unnamed = 2;
  return result;
}

int unlink(const char *path) {
  struct file *file = ours(path) ? entry(inode_of(path)) : NULL;
  if (file != NULL && file->unnamed == 0) {
    char parent[PATH_MAX], grave[3 * PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *name = strrchr(parent, '/');
    if (name != NULL) {
      *name++ = 0;
      char *stream = strrchr(parent, '/');
      snprintf(grave, sizeof grave, "%s/%s__%s", graves, stream == NULL ? parent : stream + 1, name);
      syscall(SYS_link, path, grave);
    }
  }
  return syscall(SYS_unlink, path);
}

static int real_clock(clockid_t id, struct timespec *out) {
  static int (*real)(clockid_t, struct timespec *);
  if (real == NULL) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  return real(id, out);
}

int clock_gettime(clockid_t id, struct timespec *out) {
  int result = real_clock(id, out);
  if (result != 0 || control == NULL || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return result;
  int64_t ns = out->tv_sec * 1000000000ll + out->tv_nsec + control->clock_ns;
  out->tv_sec = ns / 1000000000ll, out->tv_nsec = ns % 1000000000ll;
  return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  out->tv_sec = now.tv_sec, out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != NULL) *out = now.tv_sec;
  return now.tv_sec;
}
