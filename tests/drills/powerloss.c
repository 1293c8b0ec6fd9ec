/* A power loss for one process: undoes what it has written and not yet synced, and kills it.
 *
 * Preloaded (LD_PRELOAD), and idle until powerloss_arm() names a directory. From then on every write, truncation, unlink
 * and rename of a file in it is remembered with what was there before, until the file (for names: the directory) is
 * synced. A strike undoes what is remembered, newest first, then does some of it again, as the mode says, and ends the
 * process with SIGKILL. It comes
 *   - at the n-th step (a write or a sync) after arming, before that step,
 *   - after so many microseconds, or
 *   - when the process sends SIGKILL to itself, which is how failpoints kill.
 *
 * What it does not model: that a file's creation is lost. Ordinary file systems make it durable with the file's first
 * sync. Files whose names end in -shm are left out: SQLite maps them, and makes them anew after a crash.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum mode { LOSE_ALL, LOSE_SOME, TEAR_LAST };
enum kind { WRITE, TRUNCATE, UNLINK, RENAME };

#define MAX_FILES 256

struct change {
    enum kind kind;
    int fd;                    /* of a data change: our own descriptor of the file */
    off_t offset, size_before; /* WRITE; for TRUNCATE, `offset` is the new size */
    size_t old_length, new_length;
    char *old_bytes, *new_bytes;
    char *from, *to, *kept; /* of a change of names: `kept` is another name of what was unlinked or replaced */
    struct change *before;
};

/* Descriptors are never closed: that would release the process's own locks on the file. */
static struct { dev_t device; ino_t inode; int fd; } files[MAX_FILES];
static int file_count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct change *newest;
static char directory[PATH_MAX];
static size_t directory_length;
static enum mode mode;
static uint64_t chance;
static long steps_left = -1;
static int is_armed;
static unsigned kept_count;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

static uint64_t draw(void) { /* xorshift64* */
    chance ^= chance >> 12, chance ^= chance << 25, chance ^= chance >> 27;
    return (chance * 2685821657736338717ULL) >> 33;
}

static _Noreturn void fail(const char *what) { /* a drill that does not model the disk must not pass */
    fprintf(stderr, "powerloss: %s: %s\n", what, strerror(errno));
    abort();
}

static int is_inside(const char *path) {
    size_t length = strlen(path);
    if (strncmp(path, directory, directory_length) != 0) return 0;
    if (path[directory_length] != '/' && path[directory_length] != 0) return 0;
    return length < 4 || strcmp(path + length - 4, "-shm") != 0;
}

static int path_of(int fd, char *path) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    char *deleted = strstr(path, " (deleted)");
    if (deleted && deleted[10] == 0) *deleted = 0;
    return 1;
}

/* Our descriptor of the regular file behind `fd`, or -1 when it is not in the directory. */
static int tracked(int fd) {
    char path[PATH_MAX];
    struct stat info;
    if (!is_armed || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return -1;
    if (!path_of(fd, path) || !is_inside(path)) return -1;
    for (int i = 0; i < file_count; i++)
        if (files[i].device == info.st_dev && files[i].inode == info.st_ino) return files[i].fd;
    if (file_count == MAX_FILES) fail("more files than it can keep");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_RDWR | O_CLOEXEC);
    if (own < 0) fail("open");
    files[file_count].device = info.st_dev, files[file_count].inode = info.st_ino, files[file_count].fd = own;
    return files[file_count++].fd;
}

static struct change *remember(enum kind kind) {
    struct change *change = calloc(1, sizeof *change);
    if (!change) fail("memory");
    change->kind = kind, change->before = newest, newest = change;
    return change;
}

static off_t size_of(int fd) {
    struct stat info;
    if (fstat(fd, &info) != 0) fail("fstat");
    return info.st_size;
}

static char *read_bytes(int fd, off_t offset, size_t length) {
    char *bytes = malloc(length ? length : 1);
    if (!bytes || pread(fd, bytes, length, offset) != (ssize_t)length) fail("read");
    return bytes;
}

static void remember_write(int fd, const void *bytes, size_t length, off_t offset) {
    struct change *change = remember(WRITE);
    change->fd = fd, change->offset = offset, change->size_before = size_of(fd), change->new_length = length;
    off_t overlap = change->size_before - offset;
    change->old_length = overlap <= 0 ? 0 : (size_t)overlap < length ? (size_t)overlap : length;
    change->old_bytes = read_bytes(fd, offset, change->old_length);
    change->new_bytes = malloc(length ? length : 1);
    if (!change->new_bytes) fail("memory");
    memcpy(change->new_bytes, bytes, length);
}

static void remember_truncation(int fd, off_t size) {
    struct change *change = remember(TRUNCATE);
    change->fd = fd, change->offset = size, change->size_before = size_of(fd);
    change->old_length = change->size_before > size ? (size_t)(change->size_before - size) : 0;
    change->old_bytes = read_bytes(fd, size, change->old_length);
}

static void forget(int fd, int is_directory) {
    for (struct change **link = &newest; *link;) {
        struct change *change = *link;
        int is_name = change->kind == UNLINK || change->kind == RENAME;
        if (is_directory ? !is_name : (is_name || change->fd != fd)) {
            link = &change->before;
            continue;
        }
        *link = change->before;
        if (change->kept) REAL(unlink)(change->kept);
        free(change->old_bytes), free(change->new_bytes), free(change->from), free(change->to), free(change->kept);
        free(change);
    }
}

static void put(int fd, const char *bytes, size_t length, off_t offset) {
    if (REAL(pwrite)(fd, bytes, length, offset) != (ssize_t)length) fail("write back");
}

static void undo(struct change *change) {
    switch (change->kind) {
    case WRITE:
        put(change->fd, change->old_bytes, change->old_length, change->offset);
        if (REAL(ftruncate)(change->fd, change->size_before) != 0) fail("truncate back");
        break;
    case TRUNCATE:
        if (REAL(ftruncate)(change->fd, change->size_before) != 0) fail("truncate back");
        put(change->fd, change->old_bytes, change->old_length, change->offset);
        break;
    case RENAME:
        REAL(rename)(change->to, change->from); /* fall through */
    case UNLINK:
        if (change->kept) REAL(rename)(change->kept, change->kind == RENAME ? change->to : change->from);
        break;
    }
}

static void redo(const struct change *change, int is_torn) {
    size_t length = is_torn ? change->new_length / 2 : change->new_length;
    if (change->kind == WRITE) put(change->fd, change->new_bytes, length, change->offset);
    if (change->kind == TRUNCATE && !is_torn && REAL(ftruncate)(change->fd, change->offset) != 0) fail("truncate");
    if (change->kind == UNLINK) REAL(unlink)(change->from);
    if (change->kind == RENAME) REAL(rename)(change->from, change->to);
}

static struct change *reversed(struct change *change) {
    struct change *oldest = NULL;
    while (change) {
        struct change *next = change->before;
        change->before = oldest, oldest = change, change = next;
    }
    return oldest;
}

/* Call with the lock, which stays taken: nobody writes any more. */
static _Noreturn void strike(void) {
    size_t count = 0;
    is_armed = 0;
    for (struct change *change = newest; change; change = change->before) undo(change), count++;
    if (count && mode != LOSE_ALL) {
        /* The disk has done some of it. Torn: the first few in their order, the last of them by half. */
        size_t until = draw() % count;
        struct change *change = reversed(newest);
        for (size_t i = 0; change; i++, change = change->before) {
            if (mode == LOSE_SOME && draw() % 2) redo(change, 0);
            if (mode == TEAR_LAST && i <= until) redo(change, i == until);
        }
    }
    for (;;) REAL(kill)(getpid(), SIGKILL);
}

static void step(void) {
    if (steps_left > 0 && --steps_left == 0) strike();
}

static void *strike_later(void *microseconds) {
    usleep((useconds_t)(uintptr_t)microseconds);
    pthread_mutex_lock(&lock);
    strike();
}

/* Begin. `at_step` and `at_microseconds`: when to strike, 0 for never. Modes: 0 all is lost, 1 some, 2 the last is torn. */
void powerloss_arm(const char *path, int how, unsigned long seed, long at_step, unsigned long at_microseconds) {
    pthread_t thread;
    pthread_mutex_lock(&lock);
    if (!realpath(path, directory)) fail(path);
    directory_length = strlen(directory);
    mode = (enum mode)how, chance = seed * 0x9E3779B97F4A7C15ULL + 1, steps_left = at_step ? at_step : -1;
    is_armed = 1;
    if (at_microseconds && pthread_create(&thread, NULL, strike_later, (void *)(uintptr_t)at_microseconds) != 0)
        fail("thread");
    pthread_mutex_unlock(&lock);
}

/* ---- what the process calls ---- */

static ssize_t guarded_pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    pthread_mutex_lock(&lock);
    int own = tracked(fd);
    if (own >= 0) step(), remember_write(own, bytes, length, offset);
    ssize_t written = REAL(pwrite)(fd, bytes, length, offset);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return is_armed ? guarded_pwrite(fd, bytes, length, offset) : REAL(pwrite)(fd, bytes, length, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite(fd, bytes, length, offset);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!is_armed) return REAL(write)(fd, bytes, length);
    pthread_mutex_lock(&lock);
    int own = tracked(fd);
    if (own < 0) { /* perhaps a pipe that blocks: not under the lock */
        pthread_mutex_unlock(&lock);
        return REAL(write)(fd, bytes, length);
    }
    off_t offset = fcntl(fd, F_GETFL) & O_APPEND ? size_of(own) : lseek(fd, 0, SEEK_CUR);
    step(), remember_write(own, bytes, length, offset);
    ssize_t written = REAL(write)(fd, bytes, length);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

int ftruncate(int fd, off_t size) {
    pthread_mutex_lock(&lock);
    int own = tracked(fd);
    if (own >= 0) step(), remember_truncation(own, size);
    int result = REAL(ftruncate)(fd, size), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int ftruncate64(int fd, off_t size) {
    return ftruncate(fd, size);
}

/* Nothing but this library loses anything, so that a sync of what it tracks needs no disk: it is done at once. */
static int is_synced(int fd) {
    char path[PATH_MAX];
    struct stat info;
    pthread_mutex_lock(&lock);
    int own = tracked(fd);
    int is_directory = is_armed && own < 0 && fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
    is_directory = is_directory && path_of(fd, path) && is_inside(path);
    if (own >= 0 || is_directory) step(), forget(own, is_directory);
    pthread_mutex_unlock(&lock);
    return own >= 0 || is_directory;
}

int fsync(int fd) {
    return is_synced(fd) ? 0 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    return is_synced(fd) ? 0 : REAL(fdatasync)(fd);
}

static char *absolute(const char *path) {
    char parent[PATH_MAX], resolved[PATH_MAX], *whole;
    const char *name = strrchr(path, '/');
    snprintf(parent, sizeof parent, "%.*s", name ? (int)(name - path) : 1, name ? path : ".");
    if (!realpath(*parent ? parent : "/", resolved)) return NULL;
    if (asprintf(&whole, "%s/%s", resolved, name ? name + 1 : path) < 0) fail("memory");
    return whole;
}

static char *keep(const char *path) {
    char *kept;
    if (asprintf(&kept, "%s.kept-%d-%u", path, getpid(), kept_count++) < 0) fail("memory");
    if (link(path, kept) == 0) return kept;
    free(kept);
    return NULL;
}

int unlink(const char *path) {
    if (!is_armed) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    char *whole = absolute(path);
    if (is_armed && whole && is_inside(whole)) {
        step();
        struct change *change = remember(UNLINK);
        change->kept = keep(whole), change->from = whole;
    }
    int result = REAL(unlink)(path), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int rename(const char *from, const char *to) {
    if (!is_armed) return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    char *source = absolute(from), *target = absolute(to);
    if (is_armed && source && target && is_inside(target)) {
        step();
        struct change *change = remember(RENAME);
        change->kept = keep(target), change->from = source, change->to = target;
    }
    int result = REAL(rename)(from, to), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int kill(pid_t process, int number) {
    if (is_armed && process == getpid() && number == SIGKILL) {
        pthread_mutex_lock(&lock);
        strike();
    }
    return REAL(kill)(process, number);
}
